import type { Duplex } from 'node:stream';
import type { ServerChannel } from 'ssh2';
import type { SshItem } from '../../core/policy/decision.ts';
import type { SshContext } from '../context.ts';
import { answerOrEnd } from '../target-channel.ts';
import { noteClosed, refuseForward } from './admit-forward.ts';
import { takePlace } from './forward-state.ts';
import { closeStream, isDenied, relayStreams } from './relay-streams.ts';

/** A connection that the target hands back to the client, under a grant that is on record. */
export interface BackConnection {
  readonly type: string;
  readonly destination: string;
  /** The grant that it belongs to. */
  readonly of: { readonly operation: number };
  /** What was granted: it is cut when policy denies that by now. */
  readonly item: SshItem;
  readonly from: string | null;
}

/** Both ends of it, not yet open. */
export interface BackEnds {
  readonly accept: () => Duplex;
  readonly reject: () => void;
  /** Opens the channel to the client. */
  readonly open: (done: (error: Error | undefined, channel: ServerChannel) => void) => unknown;
}

/** Records a connection from the target, opens it at the client, and relays it. A record that cannot be written ends the session. */
export function relayBack(context: SshContext, asked: BackConnection, ends: BackEnds): void {
  const release = takePlace(context);
  const channel = context.nextChannel();
  if (release === null) {
    ends.reject();
    refuseForward(context, { channel, type: asked.type, destination: asked.destination, code: 'CHANNEL_LIMIT_REACHED' }).catch(context.fail);
    return;
  }
  serve(context, channel, asked, ends).catch(context.fail).finally(release);
}

async function serve(context: SshContext, channel: number, asked: BackConnection, ends: BackEnds): Promise<void> {
  if (isDenied(context, { kind: 'Forward', account: context.account, items: [asked.item] })) {
    ends.reject();
    await refuseForward(context, { channel, type: asked.type, destination: asked.destination, code: 'FORWARD_DENIED' });
    return;
  }
  const operation = await context.recorder.record({
    code: 'forward.open', channel, operation: null, decision: null, approvals: [], request: null, reason: null, facts: { type: asked.type, to: asked.destination, granted_by_operation: asked.of.operation, ...(asked.from === null ? {} : { from: asked.from }) },
  });
  const user = await openAtClient(context, ends.open);
  if (user === null) {
    ends.reject();
    return noteClosed(context, channel, operation, { outcome: 'Failed', bytes_up: 0, bytes_down: 0 });
  }
  const target = acceptOrNull(ends.accept);
  if (target === null) {
    closeStream(user);
    return noteClosed(context, channel, operation, { outcome: 'Failed', bytes_up: 0, bytes_down: 0 });
  }
  const bytes = await relayStreams(context, { kind: 'Forward', account: context.account, items: [asked.item] }, user, target);
  noteClosed(context, channel, operation, { outcome: 'Completed', bytes_up: bytes.up, bytes_down: bytes.down });
}

/** A channel to the client, or null when it refuses one or is gone. */
export function openAtClient(context: SshContext, open: BackEnds['open']): Promise<ServerChannel | null> {
  return answerOrEnd<ServerChannel>(context, (resolve) => open((error, channel) => resolve(error ? null : channel)));
}

function acceptOrNull(accept: () => Duplex): Duplex | null {
  try {
    return accept() ?? null;
  } catch {
    return null;
  }
}
