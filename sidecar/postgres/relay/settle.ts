import * as write from '../wire/frame-writer.ts';
import type { RelayContext } from './context.ts';

/**
 * Waits until the server has answered everything when one of the names depends on an answer that is still to come.
 *
 * A statement is judged as what its name means on the server. A client may send Parse of a name that exists (it fails, the old statement stays),
 * Sync, and Bind and Execute of that name in one write: judged by what was sent last, the old statement would run unjudged.
 *
 * @returns nothing when all names are settled, which is the rule: within one pipeline nothing waits.
 */
export function settled(context: RelayContext, names: { readonly statements?: readonly string[]; readonly portals?: readonly string[] }): void | Promise<void> {
  if (context.queue.length === 0) return undefined;
  const open = names.statements?.some((name) => context.statements.isUnsettled(name)) || names.portals?.some((name) => context.portals.isUnsettled(name));
  if (!open) return undefined;
  const { promise, resolve } = Promise.withResolvers<void>();
  context.allAnswered = resolve;
  // What was sent since the last Sync is answered only when the server is asked to.
  context.batch.bytes.add(write.flush());
  const committed = context.commit();
  return committed ? committed.then(() => promise) : promise;
}

/** Called after each chunk from the server. */
export function tellAllAnswered(context: RelayContext): void {
  if (!context.allAnswered || context.queue.length > 0) return;
  const tell = context.allAnswered;
  context.allAnswered = null;
  tell();
}

/** A Sync, Query or FunctionCall goes to the server: what was sent before is settled with its answer. */
export function startSegment(context: RelayContext): void {
  context.statements.startSegment();
  context.portals.startSegment();
}
