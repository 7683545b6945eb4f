import type { Duplex } from 'node:stream';
import { endOutput, pump, writeTo } from '../channel-pump.ts';
import type { SshCommand } from '../../core/policy/decision.ts';
import type { SshContext } from '../context.ts';
import { masksText } from '../masks-text.ts';

/** Bytes that went each way. */
export interface RelayedBytes {
  readonly up: number;
  readonly down: number;
}

/** How often an open forward looks whether policy still grants it. */
const lookMs = 500;

/**
 * Relays two streams into each other, unchanged, until both have ended, one is gone, the session ends, or policy denies what was granted. Half-closed streams stay open the other way.
 * Never rejects.
 *
 * @param granted what was judged when it was opened.
 */
export async function relayStreams(context: SshContext, granted: SshCommand, user: Duplex, target: Duplex): Promise<RelayedBytes> {
  let [up, down] = [0, 0];
  const gone = new AbortController();
  const onGone = (): void => gone.abort();
  const stop = AbortSignal.any([gone.signal, context.ended]);
  let version = context.session.permitVersion;
  const look = setInterval(() => {
    if (version === context.session.permitVersion) return;
    version = context.session.permitVersion;
    if (isDenied(context, granted)) gone.abort();
  }, lookMs);
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
  clearInterval(look);
  // An SSH channel is over when both sides have said so; whoever was cut is told now.
  for (const stream of [user, target]) closeStream(stream);
  return { up, down };
}

/** Whether policy denies by now what it granted. An approval covered this very forward: what asks for one now does not end it. */
export function isDenied(context: SshContext, granted: SshCommand): boolean {
  const { session } = context;
  const decision = session.decide(granted, context.clock.now(), context.approver.grants(session.subject, session.permit.target.name, session.identity));
  return decision.effect === 'Deny' || (decision.effect === 'Allow' && decision.terms?.unmasked !== true && masksText(session.permit));
}

/** Ends a stream; an SSH channel is closed, which ends it for the other side too. */
export function closeStream(stream: Duplex): void {
  const channel = stream as Duplex & { close?(): void };
  if (typeof channel.close === 'function') channel.close();
  else stream.destroy();
}
