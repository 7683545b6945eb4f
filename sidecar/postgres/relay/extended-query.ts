import type { ApprovalRecord, ParameterRecord } from '../../../contract/audit.ts';
import { type Denial, deny } from '../../core/errors.ts';
import type { Decision } from '../../core/policy/decision.ts';
import type { ApprovedRule } from '../../core/policy/review-command.ts';
import { maxShownBytes } from '../../core/session/approval-hold.ts';
import { readQueryText } from '../../core/sql/query-text.ts';
import type { InspectedQuery, StatementFacts } from '../../core/sql/statement-facts.ts';
import { type BindMessage, readBind } from '../wire/bind.ts';
import * as write from '../wire/frame-writer.ts';
import { type NamedMessage, readExecute, readNamed } from '../wire/named.ts';
import { type ParseMessage, readParse } from '../wire/parse.ts';
import { isSkipped, type RelayContext } from './context.ts';
import { waitForCopy } from './copy-in.ts';
import { sendEffect, undoSent } from './effects.ts';
import { startExecution } from './execution.ts';
import { changedMeanwhile, holdStatement, type Reviewed } from './hold-statement.ts';
import { intentOf, type Origin, recordAttempt } from './intents.ts';
import { keepMessage, releaseKept, sendMessage } from './kept-messages.ts';
import { judge, judgeApproved, resolveIndirection, spendEquality, type Verdict } from './judge.ts';
import { freshSearchPath } from './own-question.ts';
import { meansTheSame, portalFacts, refreshNamed, refreshStatement } from './refresh.ts';
import { endsSession, refuseExtended } from './refuse.ts';
import { settled, startSegment } from './settle.ts';
import type { Portal, PreparedStatement } from './statements.ts';

/** Parse: the text is read and judged; a statement that will need an approval is prepared, not yet run. */
export function handleParse(context: RelayContext, buffer: Buffer, start: number, end: number): void | Promise<void> {
  if (context.discarding !== 'no') return undefined;
  releaseKept(context);
  const message = readParse(buffer, start, end);
  const read = readQueryText(Buffer.concat([message.text, Buffer.of(0)]));
  if (read.outcome === 'refused') return refuseText(context, message, '', '', read.denial);
  if (context.statements.size >= context.limits.preparedStatements || context.statements.bytesWith(message.name, message.text.length) > context.limits.namedBytes) return refuseText(context, message, '', '', deny('TOO_MANY_STATEMENTS'));
  const frame = buffer.subarray(start, end);
  return inspectParse(context, message, read.text, frame);
}

function inspectParse(context: RelayContext, message: ParseMessage, text: string, frame: Buffer): void | Promise<void> {
  const inspected = context.inspector.inspect(text);
  if (inspected instanceof Promise) return inspected.then((done) => judgeParse(context, message, text, done, frame));
  return judgeParse(context, message, text, inspected, frame);
}

function judgeParse(context: RelayContext, message: ParseMessage, text: string, inspected: InspectedQuery, frame: Buffer): void | Promise<void> {
  // While the text was read, the server may have failed the pipeline: a question of ours would be skipped there and never be answered.
  if (isSkipped(context)) return undefined;
  const path = pathBefore(context, inspected);
  if (path) return path.then(() => readAgain(context, message, text, frame));
  return judgeRead(context, message, text, inspected, frame);
}

/** The path that the reading lacks, when it lacks one. */
function pathBefore(context: RelayContext, inspected: InspectedQuery): void | Promise<void> {
  return inspected.outcome === 'read' && inspected.statements.length === 1 ? freshSearchPath(context, 'pipeline', inspected.statements[0]) : undefined;
}

function readAgain(context: RelayContext, message: ParseMessage, text: string, frame: Buffer): void | Promise<void> {
  if (isSkipped(context)) return undefined;
  const inspected = context.inspector.inspect(text);
  if (inspected instanceof Promise) return inspected.then((done) => judgeRead(context, message, text, done, frame));
  return judgeRead(context, message, text, inspected, frame);
}

function judgeRead(context: RelayContext, message: ParseMessage, text: string, inspected: InspectedQuery, frame: Buffer): void | Promise<void> {
  if (inspected.outcome === 'unreadable') return refuseText(context, message, text, inspected.redactedText, inspected.denial, inspected.position);
  const { statements } = inspected;
  if (statements.length > 1) return refuseText(context, message, text, '', deny('SYNTAX_ERROR', { message: 'cannot insert multiple commands into a prepared statement' }));
  const stale = refreshNamed(context, statements);
  if (stale) return stale.then(() => forwardParse(context, message, text, statements[0] ?? null, frame));
  return forwardParse(context, message, text, statements[0] ?? null, frame);
}

function forwardParse(context: RelayContext, message: ParseMessage, text: string, facts: StatementFacts | null, frame: Buffer): void | Promise<void> {
  // While something was waited for, the server may have failed the pipeline: it skips to Sync, and so do we.
  if (context.discarding !== 'no') return undefined;
  const verdict = facts ? judgePrepared(context, facts) : null;
  if (facts && verdict?.outcome === 'refuse') return refuseRecorded(context, facts, { ...originOfText(text), statementName: message.name }, verdict, message.name === '');
  const statement: PreparedStatement = {
    name: message.name, text, exactText: Buffer.from(message.text), parameterTypes: message.parameterTypes, facts, inspectionKey: context.inspector.key(), bySql: false, fields: undefined, plans: new Map(),
  };
  context.statements.send(message.name, statement);
  const send = verdict?.outcome === 'hold' ? keepMessage : sendMessage;
  send(context, frame, { kind: 'parse', statement, own: null });
  // Rows may come without any description (Bind and Execute alone): under masking we ask for it ourselves.
  if (context.inspector.masked && facts?.returnsRows) send(context, write.describe('S', message.name), { kind: 'describe', statement, portal: null, own: 'description' });
  return undefined;
}

/** Nothing runs at Parse: EXECUTE of a name that is not there (yet) is judged when it is executed, as the server looks it up then. */
function judgePrepared(context: RelayContext, facts: StatementFacts): Verdict | null {
  const { effect } = facts;
  // In a masked session our own Describe would fail on it.
  if (effect?.kind === 'execute' && !context.inspector.masked && !context.statements.get(effect.name)?.facts) return null;
  return judge(context, resolveIndirection(context, facts));
}

/** Bind: remembers the parameters; kept back while the statement needs an approval. */
export function handleBind(context: RelayContext, buffer: Buffer, start: number, end: number): void | Promise<void> {
  if (context.discarding !== 'no') return undefined;
  if (context.kept.some(({ reply }) => reply.kind === 'bind')) releaseKept(context);
  const message = readBind(buffer, start, end);
  const frame = buffer.subarray(start, end);
  const open = settled(context, { statements: [message.statement] });
  if (open) return open.then(() => findStatement(context, message, frame));
  return findStatement(context, message, frame);
}

function findStatement(context: RelayContext, message: BindMessage, frame: Buffer): void | Promise<void> {
  if (isSkipped(context)) return undefined;
  const statement = context.statements.get(message.statement);
  if (!statement) return refuseInOrder(context, unknownStatement(message.statement));
  if (context.portals.size >= context.limits.portals || context.portals.bytesWith(message.portal, frame.length) > context.limits.namedBytes) return refuseInOrder(context, deny('TOO_MANY_STATEMENTS'));
  // The server plans the statement anew under the search path of now, so it is judged under that one too.
  const path = freshSearchPath(context, 'pipeline', statement.facts);
  const stale = path ? path.then(() => refreshStatement(context, statement)) : refreshStatement(context, statement);
  if (stale) return stale.then(() => bindPortal(context, message, statement, frame));
  return bindPortal(context, message, statement, frame);
}

function bindPortal(context: RelayContext, message: BindMessage, statement: PreparedStatement, frame: Buffer): void | Promise<void> {
  if (context.discarding !== 'no') return undefined;
  const { facts } = statement;
  const portal: Portal = { name: message.portal, statement, bound: facts, parameters: ownedParameters(message), resultFormats: message.resultFormats, hold: false, execution: null, fields: undefined };
  const verdict = facts ? judgePrepared(context, facts) : null;
  if (facts && verdict?.outcome === 'refuse') return refuseRecorded(context, facts, originOf(context, portal), verdict);
  context.portals.send(portal.name, portal);
  const reply = { kind: 'bind', portal, own: null } as const;
  if (verdict?.outcome === 'hold' && keepMessage(context, frame, reply)) return undefined;
  releaseKept(context);
  sendMessage(context, frame, reply);
  return undefined;
}

function ownedParameters(message: BindMessage): Portal['parameters'] {
  return message.parameters.map((parameter) => ({ format: parameter.format, value: parameter.value === null ? null : Buffer.from(parameter.value) }));
}

/** Describe of a statement or portal; behind a message that is kept, kept too. */
export function handleDescribe(context: RelayContext, buffer: Buffer, start: number, end: number): void | Promise<void> {
  if (context.discarding !== 'no') return undefined;
  const message = readNamed(buffer, start, end);
  const frame = buffer.subarray(start, end);
  // A Parse that we refused has ended the unnamed statement for the client; on the server it is still there.
  const open = message.kind === 'statement' && message.name === '' ? settled(context, { statements: [''] }) : undefined;
  if (open) return open.then(() => describeFound(context, message, frame));
  return describeFound(context, message, frame);
}

function describeFound(context: RelayContext, message: NamedMessage, frame: Buffer): void {
  if (isSkipped(context)) return;
  const statement = message.kind === 'statement' ? context.statements.get(message.name) : null;
  const portal = message.kind === 'portal' ? context.portals.get(message.name) : null;
  if (message.kind === 'statement' && message.name === '' && !statement) return refuseInOrder(context, unknownStatement(''));
  const reply = { kind: 'describe', statement, portal, own: null } as const;
  if (context.kept.length > 0 && keepMessage(context, frame, reply)) return;
  sendMessage(context, frame, reply);
}

/** Close of a statement or portal. */
export function handleClose(context: RelayContext, buffer: Buffer, start: number, end: number): void {
  if (context.discarding !== 'no') return;
  const message = readNamed(buffer, start, end);
  releaseKept(context);
  (message.kind === 'statement' ? context.statements : context.portals).send(message.name, null);
  context.batch.bytes.keep(buffer, start, end);
  context.queue.push({ kind: 'close', what: message.kind, name: message.name, own: null });
  context.sentSinceSync = true;
}

/** Execute: text and parameters are both known, so this is where a statement is decided, held and recorded. */
export function handleExecute(context: RelayContext, buffer: Buffer, start: number, end: number): void | Promise<void> {
  if (context.discarding !== 'no') return undefined;
  const { portal: name } = readExecute(buffer, start, end);
  const frame = buffer.subarray(start, end);
  const open = settled(context, { portals: [name] });
  if (open) return open.then(() => findPortal(context, name, frame));
  return findPortal(context, name, frame);
}

function findPortal(context: RelayContext, name: string, frame: Buffer): void | Promise<void> {
  if (isSkipped(context)) return undefined;
  const portal = context.portals.get(name);
  if (!portal) return refuseInOrder(context, deny('PORTAL_UNKNOWN', { message: `portal "${name}" does not exist` }));
  const path = isPlannedAtBind(portal.statement.facts) ? undefined : freshSearchPath(context, 'pipeline', portal.statement.facts);
  const stale = path ? path.then(() => refreshStatement(context, portal.statement)) : refreshStatement(context, portal.statement);
  if (stale) return stale.then(() => followNames(context, portal, frame));
  return followNames(context, portal, frame);
}

/** An Execute of EXECUTE or FETCH runs what that name means now. */
function followNames(context: RelayContext, portal: Portal, frame: Buffer): void | Promise<void> {
  const stale = portal.statement.facts ? refreshNamed(context, [portal.statement.facts]) : undefined;
  if (stale) return stale.then(() => judgeExecute(context, portal, frame));
  return judgeExecute(context, portal, frame);
}

const plannedKinds: ReadonlySet<StatementFacts['kind']> = new Set(['Select', 'Insert', 'Update', 'Delete', 'Merge']);

/** Names of other statements are looked up when they run: a search path that was set since the Bind counts. */
function isPlannedAtBind(facts: StatementFacts | null): boolean {
  return facts === null || (plannedKinds.has(facts.kind) && (facts.effect === null || facts.effect.kind === 'set'));
}

function judgeExecute(context: RelayContext, portal: Portal, frame: Buffer): void | Promise<void> {
  if (isSkipped(context)) return undefined;
  const own = portalFacts(portal);
  if (!own) return forwardExecute(context, portal, frame, emptyFacts, { effect: 'Allow', by: [] }, []);
  const facts = resolveIndirection(context, own);
  // A suspended portal goes on: it was judged (and approved) when it started.
  const verdict = judge(context, facts);
  if (verdict.outcome === 'refuse') return refuseRecorded(context, facts, originOf(context, portal), verdict);
  const spent = spendEquality(context, facts);
  if (spent) return refuseRecorded(context, facts, originOf(context, portal), { outcome: 'refuse', decision: null, denial: spent });
  if (verdict.outcome === 'hold' && !portal.execution) return holdExecute(context, portal, frame, facts, verdict.decision);
  return forwardExecute(context, portal, frame, facts, verdict.decision, []);
}

async function holdExecute(context: RelayContext, portal: Portal, frame: Buffer, facts: StatementFacts, decision: Extract<Decision, { effect: 'RequireApproval' }>): Promise<void> {
  const { statement } = portal;
  // The server keeps the end of earlier answers until it is asked: the user must see them, and the notice behind them, before the wait.
  if (context.sentSinceSync) context.batch.bytes.add(write.flush());
  const outcome = await holdStatement(
    context,
    {
      facts, decision, origin: originOf(context, portal), exactText: statement.exactText, shownText: facts.redactedText, inTransaction: context.status === 'T' || context.sentSinceSync,
      shownParameters: parametersOf(context, portal, maxShownBytes),
      exactParameters: portal.parameters.map((parameter, index) => ({ ...parameter, type: statement.parameterTypes[index] ?? 0 })),
    },
    (approved) => judgeAgain(context, portal, facts, approved),
  );
  // While it waited, the server may have failed an earlier statement of the pipeline: it skips to Sync, and so do we.
  if (isSkipped(context)) return undefined;
  if (outcome.outcome === 'refused') {
    dropKept(context);
    return refuseExtended(context, outcome.denial);
  }
  return forwardExecute(context, portal, frame, outcome.result.facts, outcome.result.decision, outcome.approvals);
}

/** Under the catalog and policies of now; it may touch nothing else than what the approver was shown. */
async function judgeAgain(context: RelayContext, portal: Portal, shown: StatementFacts, approved: readonly ApprovedRule[]): Promise<Reviewed<{ readonly facts: StatementFacts; readonly decision: Decision }>> {
  await refreshStatement(context, portal.statement);
  const own = portalFacts(portal);
  const facts = own && resolveIndirection(context, own);
  if (!facts || !meansTheSame(shown, facts)) return { outcome: 'refuse', denial: changedMeanwhile() };
  const verdict = judgeApproved(context, facts, approved);
  if (verdict.outcome === 'refuse') return verdict;
  return verdict.outcome === 'hold' ? { ...verdict, facts } : { outcome: 'forward', result: { facts, decision: verdict.decision } };
}

function forwardExecute(context: RelayContext, portal: Portal, frame: Buffer, facts: StatementFacts, decision: Decision, approvals: readonly ApprovalRecord[]): void | Promise<void> {
  releaseKept(context);
  describeUnknown(context, portal, facts);
  const execution = startExecution(facts, portal.statement.text, context.clock.monotonicMs());
  context.batch.addIntent(execution, intentOf(context, facts, originOf(context, portal), decision, approvals));
  portal.execution = execution;
  sendEffect(context, facts, portal.statement.text);
  context.inspector.sent(facts);
  sendMessage(context, frame, { kind: 'execute', portal, execution, effect: facts.effect, own: null });
  return waitForCopy(context, [execution]);
}

/** Masked rows need a description that neither the client nor we have asked for: of a statement made by SQL, or from before the session was masked. */
function describeUnknown(context: RelayContext, portal: Portal, facts: StatementFacts): void {
  if (!context.inspector.masked || !facts.returnsRows || portal.fields !== undefined || portal.statement.fields !== undefined) return;
  const asked = context.queue.all().some((reply) => reply.kind === 'describe' && (reply.portal === portal || reply.statement === portal.statement));
  if (!asked) sendMessage(context, write.describe('P', portal.name), { kind: 'describe', statement: null, portal, own: 'description' });
}

/** Sync ends the pipeline; after a refusal of ours that the server does not know, it is answered here. */
export function handleSync(context: RelayContext, buffer: Buffer, start: number, end: number): void {
  releaseKept(context);
  const discarding = context.discarding;
  context.discarding = 'no';
  context.sentSinceSync = false;
  if (discarding === 'locally') {
    context.toClient.add(write.readyForQuery(context.status));
    context.flushToClient();
    return;
  }
  context.batch.bytes.keep(buffer, start, end);
  context.queue.push({ kind: 'sync', own: null });
  startSegment(context);
}

/** Flush passes. */
export function handleFlush(context: RelayContext, buffer: Buffer, start: number, end: number): void {
  if (context.discarding !== 'no') return;
  releaseKept(context);
  context.batch.bytes.keep(buffer, start, end);
}

function refuseText(context: RelayContext, message: ParseMessage, text: string, redactedText: string, denial: Denial, position: number | null = null): Promise<void> {
  context.totals.denied++;
  return recordAttempt(context, 'statement.denied', { redactedText }, { ...originOfText(text), statementName: message.name }, { decision: null, denial, request: null }).then(() => {
    if (!endsSession(context, denial)) refuseExtended(context, denial, { dropsUnnamed: message.name === '', position });
  });
}

function refuseRecorded(context: RelayContext, facts: StatementFacts, origin: Origin, verdict: Extract<Verdict, { outcome: 'refuse' }>, dropsUnnamed = false): Promise<void> {
  context.totals.denied++;
  dropKept(context);
  return recordAttempt(context, 'statement.denied', facts, origin, { decision: verdict.decision, denial: verdict.denial, request: null }).then(() => refuseExtended(context, verdict.denial, { dropsUnnamed }));
}

/** What was kept stands before the refused message: the server gets it first. */
function refuseInOrder(context: RelayContext, denial: Denial): void {
  releaseKept(context);
  refuseExtended(context, denial);
}

/** The statement is refused: its Parse and Bind never go, and their names count no more. */
function dropKept(context: RelayContext): void {
  if (context.kept.length === 0) return;
  context.kept.length = 0;
  undoSent(context);
}

function originOfText(text: string): Origin {
  return { protocol: 'extended', statementName: '', portalName: '', text, parameters: [], continues: null };
}

function originOf(context: RelayContext, portal: Portal): Origin {
  const { statement } = portal;
  return {
    protocol: 'extended', statementName: statement.name, portalName: portal.name, text: statement.text, continues: portal.execution?.statement ?? null,
    parameters: parametersOf(context, portal),
  };
}

function parametersOf(context: RelayContext, portal: Portal, limitBytes?: number): readonly ParameterRecord[] {
  const { parameters, statement } = portal;
  return parameters.length === 0 ? [] : context.inspector.showParameters(parameters, statement.parameterTypes, statement.facts?.maskedParameters ?? [], limitBytes);
}

function unknownStatement(name: string): Denial {
  return deny('STATEMENT_INVALIDATED', { message: name === '' ? 'unnamed prepared statement does not exist' : `prepared statement "${name}" does not exist` });
}

/** An empty text: PostgreSQL answers EmptyQueryResponse. It is recorded like every execution. */
const emptyFacts: StatementFacts = {
  kind: 'Other', pairs: [], objects: [], calls: [], redactedText: '', fingerprint: '', range: { start: 0, end: 0 }, effect: null, copy: null, returnsRows: false, refusal: null,
  masking: { outcome: 'clear' }, maskedParameters: [],
};
