import type { Duplex } from 'node:stream';
import { endOutput, pump, writeTo } from '../channel-pump.ts';
import type { SshContext } from '../context.ts';

/** Bytes that went each way. */
export interface RelayedBytes {
  readonly up: number;
  readonly down: number;
}

/** Relays two streams into each other, unchanged, until both have ended, one is gone, or the session ends. Half-closed streams stay open the other way. Never rejects. */
export async function relayStreams(context: SshContext, user: Duplex, target: Duplex): Promise<RelayedBytes> {
  let [up, down] = [0, 0];
  const gone = new AbortController();
  const onGone = (): void => gone.abort();
  const stop = AbortSignal.any([gone.signal, context.ended]);
  user.on('error', onGone);
  target.on('error', onGone);
  const used = (bytes: number): void => {
    context.totals.bytes += bytes;
    context.session.lastActivityMs = context.clock.monotonicMs();
  };
  const upward = pump(user, stop, (chunk) => {
    up += chunk.length;
    used(chunk.length);
    return writeTo(target, chunk);
  }).then((how) => (how === 'ended' ? endOutput(target) : onGone()), onGone);
  const downward = pump(target, stop, (chunk) => {
    down += chunk.length;
    used(chunk.length);
    return writeTo(user, chunk);
  }).then((how) => (how === 'ended' ? endOutput(user) : onGone()), onGone);
  await Promise.all([upward, downward]);
  // An SSH channel is over when both sides have said so; whoever was cut is told now.
  for (const stream of [user, target]) closeStream(stream);
  return { up, down };
}

/** Ends a stream; an SSH channel is closed, which ends it for the other side too. */
export function closeStream(stream: Duplex): void {
  const channel = stream as Duplex & { close?(): void };
  if (typeof channel.close === 'function') channel.close();
  else stream.destroy();
}
