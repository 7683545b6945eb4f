import type { RelayContext } from './context.ts';
import type { Reply } from './reply-queue.ts';

/** A message that was not forwarded yet, and what its answer will be matched with. */
export interface KeptMessage {
  readonly frame: Buffer;
  readonly reply: Reply;
}

/** A Parse, its Describes, a Bind, the portal's Describes: more of one statement has no reason. */
const mostKept = 8;

/**
 * Keeps a message back until the Execute that it leads to: a Parse or a Bind alone takes the statement's locks in an open implicit transaction,
 * and a statement that waits for an approval must hold none.
 *
 * @returns false when nothing may be kept any more: then everything was forwarded, and so must this message be.
 */
export function keepMessage(context: RelayContext, frame: Buffer, reply: Reply): boolean {
  if (context.kept.length >= mostKept) {
    releaseKept(context);
    return false;
  }
  // The chunk may be long gone when the message goes on.
  context.kept.push({ frame: Buffer.from(frame), reply });
  return true;
}

/** Forwards a message of the extended protocol whose answer is matched with `reply`. */
export function sendMessage(context: RelayContext, frame: Buffer, reply: Reply): void {
  context.batch.bytes.add(frame);
  context.queue.push(reply);
  context.sentSinceSync = true;
}

/** Forwards what was kept, in its order: the client needs its answer now (Flush, Sync), or something else goes first. */
export function releaseKept(context: RelayContext): void {
  if (context.kept.length === 0) return;
  for (const { frame, reply } of context.kept.splice(0)) sendMessage(context, frame, reply);
}
