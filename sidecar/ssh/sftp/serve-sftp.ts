import type { ClientChannel } from 'ssh2';
import { SallyportError } from '../../core/errors.ts';
import { pump, writeTo } from '../channel-pump.ts';
import type { SshContext } from '../context.ts';
import { finishChannel, stderrTeller } from '../finish-channel.ts';
import type { SessionChannel } from '../session-channel.ts';
import { openOnTarget } from '../target-channel.ts';
import { ChannelProblem } from './channel-problem.ts';
import { createFileJudge } from './judge-files.ts';
import { createSftpRelay, type SftpRelay } from './sftp-relay.ts';

/**
 * Serves subsystem `sftp`: the target's own, packet by packet, as policy says (ssh.md 12). Resolves when the channel is over.
 *
 * A malformed packet, an id in use or a packet over 257 KiB ends this channel and no other.
 *
 * @throws SallyportError when a record cannot be written: then the session ends.
 */
export async function serveSftp(context: SshContext, channel: SessionChannel): Promise<void> {
  const { stream } = channel;
  const tell = stderrTeller(stream);
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, channel.closed, context.ended]);
  const opened = await openOnTarget(context, (done) => context.target.subsys('sftp', done));
  if (opened.outcome === 'failed') return finishChannel(stream, { status: 255, lines: ['sallyport: the target does not offer sftp [TARGET_UNSUPPORTED]'] });
  const target: ClientChannel = opened.channel;
  let failure: unknown = null;
  const fail = (error: unknown): void => {
    failure ??= error;
    stop.abort();
  };
  const relay = createSftpRelay({
    toTarget: (bytes) => writeTo(target, bytes), toClient: (bytes) => writeTo(stream, bytes), digestKey: context.digestKey, fail,
    judge: createFileJudge(context, channel.number, { tell, cancelled: signal }),
  });
  // An open channel is idle while nothing is asked.
  const used = (): void => { context.session.lastActivityMs = context.clock.monotonicMs(); };
  try {
    // What the server says beside its packets is for the user.
    const beside = pump(target.stderr, signal, (bytes) => writeTo(stream.stderr, bytes)).catch(() => 'ended' as const);
    const up = upwards(relay, channel, target, signal, used).catch(fail);
    const down = pump(target, signal, (bytes) => {
      used();
      return relay.fromTarget(bytes);
    }).catch(fail);
    // The target's end is the end: what the client still sends has nobody to go to.
    await down;
    await beside;
    stop.abort();
    await up;
  } finally {
    relay.end();
    target.close();
  }
  if (failure instanceof ChannelProblem) {
    context.log.info('sftp channel ended', { sessionId: context.session.id, channel: channel.number, peer: failure.peer, problem: failure.message });
    context.recorder.note({ code: 'channel.refused', channel: channel.number, operation: null, decision: null, approvals: [], request: null, reason: failure.peer === 'client' ? 'PROTOCOL_VIOLATION' : 'TARGET_PROTOCOL_VIOLATION', facts: { type: 'sftp', problem: failure.message } });
    return finishChannel(stream, { status: 255, lines: [`sallyport: ${failure.peer === 'client' ? 'the client' : 'the target'} broke the SFTP protocol: ${failure.message}`] });
  }
  finishChannel(stream, { status: failure === null ? (opened.exitStatus() ?? 0) : 255, lines: [] });
  if (failure !== null) throw failure instanceof SallyportError ? failure : new SallyportError('INTERNAL', {}, { cause: failure });
}

async function upwards(relay: SftpRelay, channel: SessionChannel, target: ClientChannel, signal: AbortSignal, used: () => void): Promise<void> {
  const how = await pump(channel.stream, signal, (bytes) => {
    used();
    return relay.fromClient(bytes);
  });
  if (how === 'ended') target.end();
}
