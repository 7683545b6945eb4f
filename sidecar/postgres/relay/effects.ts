import type { StatementEffect, StatementFacts } from '../../core/sql/statement-facts.ts';
import type { RelayContext } from './context.ts';
import { endsSegment, type Reply } from './reply-queue.ts';
import type { Portal, PreparedStatement } from './statements.ts';

/** A statement with an effect on names was forwarded: later messages of the same pipeline see it. */
export function sendEffect(context: RelayContext, facts: StatementFacts, text: string, earlier = false): void {
  const { effect } = facts;
  switch (effect?.kind) {
    case 'prepare':
      return context.statements.send(effect.name, preparedBySql(context, effect, text), earlier);
    case 'declare':
      return context.portals.send(effect.name, declaredBySql(context, effect, text), earlier);
    case 'deallocate':
      if (effect.name !== null) context.statements.send(effect.name, null, earlier);
      return undefined;
    case 'close':
      if (effect.name !== null) context.portals.send(effect.name, null, earlier);
      return undefined;
    default:
      return undefined;
  }
}

/** The statement completed: its effect counts. */
export function applyEffect(context: RelayContext, facts: StatementFacts, text: string): void {
  const { effect } = facts;
  switch (effect?.kind) {
    case 'prepare':
      context.statements.confirmMade(effect.name, preparedBySql(context, effect, text), (sent) => sent.bySql && sent.text === text);
      break;
    case 'declare':
      context.portals.confirmMade(effect.name, declaredBySql(context, effect, text), ({ statement }) => statement.bySql && statement.text === text);
      break;
    case 'deallocate':
      if (effect.name === null) context.statements.clear(isNamed);
      else context.statements.confirm(effect.name, null);
      break;
    case 'close':
      if (effect.name === null) context.portals.clear();
      else context.portals.confirm(effect.name, null);
      break;
    case 'discard':
      if (effect.what === 'ALL') {
        context.statements.clear(isNamed);
        context.portals.clear();
      }
      break;
    default:
      break;
  }
  context.inspector.ran(facts, true);
  // EXECUTE of a prepared set_config changes what the set_config changes.
  if (facts.runs && effect?.kind === 'execute') context.inspector.ran(facts.runs, true);
}

/** DEALLOCATE ALL and DISCARD ALL leave the unnamed statement. */
function isNamed({ name }: PreparedStatement): boolean {
  return name !== '';
}

/** After an error or a refusal: only what is still queued behind the next Sync, or kept for later, counts as sent. */
export function undoSent(context: RelayContext): void {
  context.statements.dropSent();
  context.portals.dropSent();
  const replies = context.queue.all();
  const boundary = replies.findLastIndex(endsSegment);
  for (const [index, reply] of replies.entries()) resend(context, reply, index <= boundary);
  for (const { reply } of context.kept) resend(context, reply, false);
}

function resend(context: RelayContext, reply: Reply, earlier: boolean): void {
  switch (reply.kind) {
    case 'parse':
      if (!reply.own) context.statements.send(reply.statement.name, reply.statement, earlier);
      break;
    case 'bind':
      if (reply.portal) context.portals.send(reply.portal.name, reply.portal, earlier);
      break;
    case 'close':
      if (!reply.own) (reply.what === 'statement' ? context.statements : context.portals).send(reply.name, null, earlier);
      break;
    case 'execute':
      if (reply.execution) sendEffect(context, reply.execution.facts, reply.execution.text, earlier);
      break;
    case 'poison':
      if (reply.dropsUnnamed) context.statements.send('', null, earlier);
      break;
    case 'query':
      for (const execution of reply.executions.slice(reply.current)) sendEffect(context, execution.facts, execution.text, earlier);
      context.statements.send('', null, earlier);
      if (reply.executions.length > 0) context.portals.send('', null, earlier);
      break;
    default:
      break;
  }
}

function preparedBySql(context: RelayContext, effect: Extract<StatementEffect, { kind: 'prepare' }>, text: string): PreparedStatement {
  return { name: effect.name, text, exactText: Buffer.from(text), parameterTypes: [], facts: effect.query, inspectionKey: context.inspector.key(), bySql: true, fields: undefined, plans: new Map() };
}

function declaredBySql(context: RelayContext, effect: Extract<StatementEffect, { kind: 'declare' }>, text: string): Portal {
  const statement: PreparedStatement = { name: '', text, exactText: Buffer.from(text), parameterTypes: [], facts: effect.query, inspectionKey: context.inspector.key(), bySql: true, fields: undefined, plans: new Map() };
  return { name: effect.name, statement, bound: effect.query, parameters: [], resultFormats: [], hold: effect.hold, execution: null, fields: undefined };
}
