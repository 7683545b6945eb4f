import { deny } from '../../core/errors.ts';
import type { InspectedQuery, StatementFacts } from '../../core/sql/statement-facts.ts';
import type { RelayContext } from './context.ts';
import { settled } from './settle.ts';
import type { Portal, PreparedStatement } from './statements.ts';

/**
 * Reads a prepared statement's text again, and that of the one that it names (EXECUTE, FETCH), when the catalog, the search path or the masking rules changed
 * since: a view replaced by another session must not let an old judgement pass (postgres.md 10.2).
 */
export function refreshStatement(context: RelayContext, statement: PreparedStatement): void | Promise<void> {
  const wait = refreshOne(context, statement);
  if (wait) return wait.then(() => (statement.facts ? refreshNamed(context, [statement.facts]) : undefined));
  return statement.facts ? refreshNamed(context, [statement.facts]) : undefined;
}

function refreshOne(context: RelayContext, statement: PreparedStatement): void | Promise<void> {
  const wait = context.inspector.refresh();
  if (wait) return wait.then(() => readAgain(context, statement));
  return readAgain(context, statement);
}

function readAgain(context: RelayContext, statement: PreparedStatement): void | Promise<void> {
  const key = context.inspector.key();
  if (statement.inspectionKey === key) return undefined;
  const inspected = context.inspector.inspect(statement.text);
  if (inspected instanceof Promise) return inspected.then((done) => replaceFacts(statement, done, key));
  return replaceFacts(statement, inspected, key);
}

/**
 * What a portal or cursor runs: the facts of now, as long as they mean what they meant when it was made. A search path or a table that came since gives the
 * text another meaning, but the portal runs what it was planned for: then it is refused.
 */
export function portalFacts({ bound, statement: { facts } }: Portal): StatementFacts | null {
  if (!facts || !bound || meansTheSame(bound, facts)) return facts;
  return { ...facts, refusal: deny('STATEMENT_INVALIDATED', { message: 'the names in the statement mean something else than when its portal was made', hint: 'bind (or declare) it again' }) };
}

/** Whether both readings of a text touch the same things. */
export function meansTheSame(a: StatementFacts, b: StatementFacts): boolean {
  return a === b || JSON.stringify([a.pairs, a.objects, a.calls]) === JSON.stringify([b.pairs, b.objects, b.calls]);
}

/** The statements that EXECUTE and FETCH name: found as the server will find them, then read again if need be. */
export function refreshNamed(context: RelayContext, statements: readonly StatementFacts[]): void | Promise<void> {
  const named = statements.flatMap(({ effect }) => (effect?.kind === 'execute' || effect?.kind === 'fetch' ? [effect] : []));
  if (named.length === 0) return undefined;
  const open = settled(context, { statements: named.filter(({ kind }) => kind === 'execute').map(({ name }) => name), portals: named.filter(({ kind }) => kind === 'fetch').map(({ name }) => name) });
  if (open) return open.then(() => refreshFound(context, statements));
  return refreshFound(context, statements);
}

function refreshFound(context: RelayContext, statements: readonly StatementFacts[]): void | Promise<void> {
  const waits: Promise<void>[] = [];
  for (const { effect } of statements) {
    if (effect === null) continue;
    const named = effect.kind === 'execute' ? context.statements.get(effect.name) : effect.kind === 'fetch' ? context.portals.get(effect.name)?.statement : null;
    const wait = named ? refreshOne(context, named) : undefined;
    if (wait) waits.push(wait);
  }
  return waits.length > 0 ? Promise.all(waits).then(() => undefined) : undefined;
}

function replaceFacts(statement: PreparedStatement, inspected: InspectedQuery, key: string): void {
  statement.inspectionKey = key;
  statement.plans.clear();
  const fresh = inspected.outcome === 'read' ? ownFacts(statement, inspected.statements) : null;
  if (fresh) statement.facts = fresh;
  else if (statement.facts) statement.facts = { ...statement.facts, refusal: deny('STATEMENT_INVALIDATED') };
}

/** For a statement made by PREPARE or DECLARE the facts are those of the inner query of that name. */
function ownFacts(statement: PreparedStatement, statements: readonly StatementFacts[]): StatementFacts | null {
  if (!statement.bySql) return statements[0] ?? null;
  for (const { effect } of statements) {
    if (effect?.kind === 'prepare' && effect.name === statement.name) return effect.query;
    if (effect?.kind === 'declare') return effect.query;
  }
  return null;
}
