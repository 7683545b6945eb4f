import type { ClientChannel, ServerChannel } from 'ssh2';
import type { SshItem } from '../../core/policy/decision.ts';
import { destinationOf, socketOf } from '../../core/ssh-files/destination.ts';
import type { ForwardOpen } from '../channel-servers.ts';
import type { SshContext } from '../context.ts';
import { openOnTarget } from '../target-channel.ts';
import { admitForward, noteClosed, refuseForward } from './admit-forward.ts';
import { forwardsOf, takePlace } from './forward-state.ts';
import { closeStream, relayStreams } from './relay-streams.ts';

/**
 * Serves a channel towards the target's network (`-L`, `-W`, `-D`, and Unix sockets): to a destination that a rule names by its exact text, and to no other (ssh.md 13).
 *
 * @throws SallyportError when the record cannot be written: then the session ends.
 */
export async function serveForward(context: SshContext, asked: ForwardOpen, accept: () => ServerChannel, refuse: (text: string) => void): Promise<void> {
  const channel = context.nextChannel();
  const type = asked.type === 'tcpip' ? 'direct-tcpip' : 'direct-streamlocal';
  const destination = asked.type === 'tcpip' ? destinationOf(asked.info.destIP, asked.info.destPort) : socketOf(asked.info.socketPath);
  if (destination === null) return refuse(await refuseForward(context, { channel, type, destination: '', code: 'FORWARD_DENIED' }));
  const release = takePlace(context);
  if (release === null) return refuse(await refuseForward(context, { channel, type, destination, code: 'CHANNEL_LIMIT_REACHED' }));
  const state = forwardsOf(context);
  state.pending++;
  let isPending = true;
  const settled = (): void => {
    if (isPending) state.pending--;
    isPending = false;
  };
  try {
    const items: readonly SshItem[] = [{ kind: 'forward', direction: 'to', destination }];
    const admitted = await admitForward(context, { channel, type, destination, items, kind: 'Forward', text: `forward to ${destination}`, from: asked.type === 'tcpip' ? destinationOf(asked.info.srcIP, asked.info.srcPort) : null });
    if (admitted.outcome === 'refused') return refuse(admitted.text);
    const opened = await openOnTarget(context, (done) => openChannel(context, asked, done));
    settled();
    if (opened.outcome === 'failed') {
      noteClosed(context, channel, admitted.operation, { outcome: 'Failed', bytes_up: 0, bytes_down: 0 });
      return refuse('the target could not connect');
    }
    await relayTo(context, { channel, operation: admitted.operation, items }, opened.channel, accept);
  } finally {
    settled();
    release();
  }
}

function openChannel(context: SshContext, asked: ForwardOpen, done: (error: Error | undefined, channel: ClientChannel) => void): void {
  if (asked.type === 'streamlocal') context.target.openssh_forwardOutStreamLocal(asked.info.socketPath, done);
  // Where the user's program came from is for the target's log only.
  else context.target.forwardOut(asked.info.srcIP, asked.info.srcPort, asked.info.destIP, asked.info.destPort, done);
}

async function relayTo(context: SshContext, { channel, operation, items }: { readonly channel: number; readonly operation: number; readonly items: readonly SshItem[] }, target: ClientChannel, accept: () => ServerChannel): Promise<void> {
  const user = acceptOrNull(accept);
  if (user === null) {
    closeStream(target);
    return noteClosed(context, channel, operation, { outcome: 'Failed', bytes_up: 0, bytes_down: 0 });
  }
  const startedMs = context.clock.monotonicMs();
  const bytes = await relayStreams(context, { kind: 'Forward', account: context.account, items }, user, target);
  noteClosed(context, channel, operation, { outcome: 'Completed', bytes_up: bytes.up, bytes_down: bytes.down, duration_ms: Math.round(context.clock.monotonicMs() - startedMs) });
}

/** A client that is gone has nothing to accept. */
function acceptOrNull(accept: () => ServerChannel): ServerChannel | null {
  try {
    return accept() ?? null;
  } catch {
    return null;
  }
}
