import type { ClientChannel } from 'ssh2';
import { deny } from '../../core/errors.ts';
import { createContentDigest } from '../../core/ssh-files/content-digest.ts';
import { pump, writeTo } from '../channel-pump.ts';
import { sendSignal } from '../send-signal.ts';
import type { SshContext } from '../context.ts';
import { finishChannel } from '../finish-channel.ts';
import type { SessionChannel } from '../session-channel.ts';
import { stopCommand } from '../stop-command.ts';
import { openOnTarget } from '../target-channel.ts';
import { denialLines } from '../words.ts';

/** Reads both directions of a transfer, and may answer in one's stead. */
export interface TransferRelay {
  /** Sends nothing by itself: what goes on is what it returns. */
  fromUser(chunk: Uint8Array): Promise<void>;
  fromTarget(chunk: Uint8Array): Promise<void>;
  /** Why the transfer must end; null while it goes on. */
  readonly problem: () => string | null;
  end(): void;
}

/** Both ends, for a relay. */
export interface TransferEnds {
  readonly toTarget: (bytes: Uint8Array) => Promise<void>;
  readonly toUser: (bytes: Uint8Array) => Promise<void>;
}

/** A permitted transfer. */
export interface TransferRun {
  /** Exactly what the target gets. */
  readonly text: string;
  /** Its intent. */
  readonly operation: number;
  /** Null: byte for byte. */
  readonly relay: ((ends: TransferEnds) => TransferRelay) | null;
}

/** Runs a transfer program on the target and relays it; records its result with bytes, digests and exit. Rejects when a record of the relay cannot be written. */
export async function runTransfer(context: SshContext, channel: SessionChannel, run: TransferRun): Promise<void> {
  const startedMs = context.clock.monotonicMs();
  const { stream } = channel;
  const note = (facts: Readonly<Record<string, unknown>>, reason: string | null): void => context.recorder.note({ code: 'file.result', channel: channel.number, operation: run.operation, decision: null, approvals: [], request: null, reason, facts });
  // No variables: none was judged, shown or recorded.
  const opened = await openOnTarget(context, (done) => context.target.exec(run.text, done));
  if (opened.outcome === 'failed') {
    note({ outcome: 'Failed' }, 'TARGET_UNREACHABLE');
    return finishChannel(stream, { status: 255, lines: denialLines(deny('TARGET_UNREACHABLE', { message: 'the target did not run the command' })) });
  }
  const running = watch(opened.channel);
  const target = opened.channel;
  const [up, down] = [createContentDigest(context.digestKey), createContentDigest(context.digestKey)];
  const moved = (bytes: number): void => {
    context.totals.bytes += bytes;
    context.session.lastActivityMs = context.clock.monotonicMs();
  };
  const ends: TransferEnds = {
    toTarget: (bytes) => { up.append(bytes); moved(bytes.length); return writeTo(target, bytes); },
    toUser: (bytes) => { down.append(bytes); moved(bytes.length); return writeTo(stream, bytes); },
  };
  const relay = run.relay?.(ends) ?? plainRelay(ends);
  const halt = new AbortController();
  const stop = AbortSignal.any([halt.signal, channel.closed, context.ended]);
  let failure: unknown = null;
  const fail = (error: unknown): void => {
    failure ??= error;
    halt.abort();
  };
  const guard = (take: (chunk: Uint8Array) => Promise<void>) => async (chunk: Uint8Array): Promise<void> => {
    await take(chunk);
    if (relay.problem() !== null) halt.abort();
  };
  context.activity.running++;
  let stopRequested = false;
  stop.addEventListener('abort', () => {
    stopRequested = !running.exited.aborted;
    stopCommand(target, running.exited).finally(() => target.close()).catch(fail);
  }, { once: true });
  try {
    const upward = pump(stream, AbortSignal.any([stop, running.exited]), guard((chunk) => relay.fromUser(chunk))).then((how) => { if (how === 'ended') target.end(); }, fail);
    const downward = pump(target, stop, guard((chunk) => relay.fromTarget(chunk))).catch(fail);
    const beside = pump(target.stderr, stop, (chunk) => writeTo(stream.stderr, chunk)).catch(fail);
    channel.listen({ signal: (name) => sendSignal(target, name) });
    await Promise.all([downward, beside]);
    await running.closed;
    halt.abort();
    await upward;
  } finally {
    context.activity.running--;
    channel.listen({});
    relay.end();
  }
  const { exit } = running;
  const problem = relay.problem();
  note({
    ...(exit() === null ? { outcome: 'Unknown' } : { outcome: exit()?.status === 0 && problem === null ? 'Completed' : 'Failed' }), exit_status: exit()?.status ?? null, exit_signal: exit()?.signal ?? null, stop_requested: stopRequested, exit_seen: exit() !== null,
    bytes_up: up.bytes(), bytes_down: down.bytes(), digest_up: up.value(), digest_down: down.value(), duration_ms: Math.round(context.clock.monotonicMs() - startedMs), ...(problem === null ? {} : { problem }),
  }, problem === null ? null : 'PROTOCOL_VIOLATION');
  const ended = context.session.ended;
  finishChannel(stream, { status: problem !== null || ended !== null ? 255 : (exit()?.status ?? 255), lines: problem !== null ? [`sallyport: the transfer was stopped: ${problem}`] : ended !== null ? denialLines(ended.denial) : [] });
  if (failure !== null) throw failure;
}

function plainRelay(ends: TransferEnds): TransferRelay {
  return { fromUser: ends.toTarget, fromTarget: ends.toUser, problem: () => null, end: () => undefined };
}

interface Watched {
  readonly exit: () => { readonly status: number | null; readonly signal: string | null } | null;
  /** Aborted once an exit was seen or the channel is closed. */
  readonly exited: AbortSignal;
  readonly closed: Promise<void>;
}

function watch(target: ClientChannel): Watched {
  const exited = new AbortController();
  const closed = Promise.withResolvers<void>();
  let exit: ReturnType<Watched['exit']> = null;
  target.on('exit', (status: number | null, signal?: string) => {
    exit ??= { status, signal: status === null ? (signal ?? null) : null };
  });
  target.once('close', () => {
    exited.abort();
    closed.resolve();
  });
  return { exit: () => exit, exited: exited.signal, closed: closed.promise };
}
