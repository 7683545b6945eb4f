import { randomBytes } from 'node:crypto';
import type { StatementFacts } from '../../core/sql/statement-facts.ts';
import * as write from '../wire/frame-writer.ts';
import type { RelayContext } from './context.ts';
import type { OwnQuestion } from './reply-queue.ts';

/**
 * Asks the server for the session's search path when it is not known for sure, between the client's statements or behind those of an open pipeline.
 *
 * Impossible inside a failed transaction, and before a simple Query in an open pipeline: there our Execute would open a transaction block
 * that the Query does not end. Then unqualified names are refused until it can be asked.
 * A statement that names nothing needs no path: asking for it would open that block for no reason.
 * The question uses a named statement and portal: the client's unnamed ones stay.
 */
export function freshSearchPath(context: RelayContext, asksFor: 'query' | 'pipeline', facts: StatementFacts | null = null): void | Promise<void> {
  if (!context.inspector.searchPathUnknown() || (facts && namesNothing(facts))) return undefined;
  if (context.status === 'E' || context.copyIn || (asksFor === 'query' && context.sentSinceSync)) {
    context.inspector.setSearchPath(null);
    return undefined;
  }
  return askServer(context, 'select s from pg_catalog.unnest(pg_catalog.current_schemas(true)) s').then((rows) => {
    context.inspector.setSearchPath(rows ? rows.flatMap((row) => (typeof row[0] === 'string' ? [row[0]] : [])) : null);
  });
}

/** True when the search path cannot change what the statement means. EXECUTE names nothing itself, but what it runs is planned under the path of now. */
function namesNothing(facts: StatementFacts): boolean {
  return facts.objects.length === 0 && facts.calls.length === 0 && facts.refusal === null && facts.effect?.kind !== 'execute';
}

/** Runs one read-only text of our own in the session's connection; null when the server refused it. Our own texts only, never the client's. */
async function askServer(context: RelayContext, text: string): Promise<readonly (string | null)[][] | null> {
  const name = `sallyport_own_${randomBytes(6).toString('hex')}`;
  const { promise, resolve } = Promise.withResolvers<void>();
  const question: OwnQuestion = { rows: [], failed: false, done: resolve };
  const statement = { name, text, exactText: Buffer.from(text), parameterTypes: [], facts: null, inspectionKey: '', bySql: false, fields: null, plans: new Map() };
  const { bytes } = context.batch;
  const isOpen = context.sentSinceSync;
  for (const frame of [write.parse(name, text), write.bind(name, name), write.execute(name), write.close('P', name), write.close('S', name), isOpen ? write.flush() : write.sync()]) bytes.add(frame);
  context.queue.push({ kind: 'parse', statement, own: question });
  context.queue.push({ kind: 'bind', portal: null, own: question });
  context.queue.push({ kind: 'execute', portal: null, execution: null, effect: null, own: question });
  context.queue.push({ kind: 'close', what: 'portal', name, own: question });
  context.queue.push({ kind: 'close', what: 'statement', name, own: question });
  // A Sync of ours would end the client's pipeline, and commit it.
  if (!isOpen) context.queue.push({ kind: 'sync', own: question });
  await context.commit();
  await promise;
  return question.failed ? null : question.rows;
}
