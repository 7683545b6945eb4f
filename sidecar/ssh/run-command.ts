import type { Readable, Writable } from 'node:stream';
import type { ClientChannel, ExecOptions, ShellOptions } from 'ssh2';
import type { CastRecorder, SshEvent } from '../../contract/audit.ts';
import { type Denial, deny } from '../core/errors.ts';
import { createTerminalFilter } from '../core/terminal/terminal-filter.ts';
import type { SshContext, TextMask } from './context.ts';
import { createCrlf } from './crlf.ts';
import { type ForwardingOptions, forwardingOptions } from './forwarding/forwarding-options.ts';
import { relayOutput, type OutputRelay } from './relay-output.ts';
import { sendSignal } from './send-signal.ts';
import type { SessionChannel, Terminal } from './session-channel.ts';
import { stopCommand } from './stop-command.ts';
import { openOnTarget } from './target-channel.ts';

/** A permitted command. */
export interface CommandRun {
  /** Exactly what the target gets; null: the account's login shell, whose end is recorded as `shell.end`. */
  readonly text: string | null;
  /** What `gateCommand` answered: its result is recorded under it. */
  readonly operation: number;
  /** Of the record. */
  readonly channel: number;
  /** The target gives it a terminal. */
  readonly terminal: Terminal | null;
  readonly environment: readonly (readonly [name: string, value: string])[];
  /** Binary is neither masked nor stored. */
  readonly output: 'Text' | 'Binary';
  /** Lines end with CRLF for the user's terminal, though the command has none. */
  readonly crlf: boolean;
}

/** Where its bytes go and come from. */
export interface CommandIo {
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Null: end of input at once. */
  readonly input: Readable | null;
  /** Null for Binary. */
  readonly cast: CastRecorder | null;
  /** Takes signals and resizes while the command runs. */
  readonly listen: SessionChannel['listen'];
  /** Aborted: the command is stopped (TERM, 2 s, KILL, close). */
  readonly stop: AbortSignal;
  /** A signal of the client that comes while the command runs; true when it is dealt with. Otherwise it is sent on. */
  readonly onSignal?: (name: string) => boolean;
}

/** How a command ended. */
export interface CommandEnd {
  /** Null: no exit was seen. */
  readonly exit: { readonly status: number } | { readonly signal: string; readonly coreDumped: boolean; readonly message: string } | null;
  readonly stopRequested: boolean;
  /** Why it was not run, or its output was cut, for the user. */
  readonly denial: Denial | null;
}

/** Of terminals: text waits no longer than this for what could make it a value that is masked. */
const idleMs = 25;

/**
 * Runs a permitted command on the target and relays it: target -> mask -> record -> user. Resolves when its channel is closed and both streams are at their end and handed on; records the result.
 *
 * @throws SallyportError when the recording cannot go on: the command is being stopped then.
 */
export async function runCommand(context: SshContext, run: CommandRun, io: CommandIo): Promise<CommandEnd> {
  const startedMs = context.clock.monotonicMs();
  context.activity.running += 1;
  try {
    const forwarding = forwardingOptions(context, run.channel);
    let opened = await openOnTarget(context, (done) => open(context, run, forwarding, done));
    if (opened.outcome === 'failed' && Object.keys(forwarding).length > 0 && !context.ended.aborted) {
      // A target that refuses a forward has not run the command yet; stock ssh goes on without it, too.
      opened = await openOnTarget(context, (done) => open(context, run, {}, done));
    }
    if (opened.outcome === 'failed') {
      // The session ended while the target opened its channel: it may have the command, and is told to stop it.
      note(context, run, { outcome: context.ended.aborted ? 'Unknown' : 'Failed', duration_ms: Math.round(context.clock.monotonicMs() - startedMs) }, 'TARGET_UNREACHABLE');
      return { exit: null, stopRequested: false, denial: context.session.ended?.denial ?? deny('TARGET_UNREACHABLE', { message: 'the target did not run the command' }) };
    }
    return await new RunningCommand(context, run, io, opened.channel, startedMs).finish();
  } finally {
    context.activity.running -= 1;
    context.session.lastActivityMs = context.clock.monotonicMs();
  }
}

function open({ target }: SshContext, run: CommandRun, forwarding: ForwardingOptions, done: (error: Error | undefined, channel: ClientChannel) => void): void {
  const { env, pty } = execOptions(run);
  if (run.text === null) target.shell(pty ?? false, { env, ...forwarding } as ShellOptions, done);
  else target.exec(run.text, { env, ...(pty === undefined ? {} : { pty }), ...forwarding } as ExecOptions, done);
}

function execOptions({ environment, terminal }: CommandRun): { env: NodeJS.ProcessEnv; pty?: { rows: number; cols: number; width: number; height: number; term: string; modes: Record<string, number> } } {
  const env = Object.fromEntries(environment);
  if (terminal === null) return { env };
  return { env, pty: { rows: terminal.rows, cols: terminal.columns, width: terminal.widthPixels, height: terminal.heightPixels, term: terminal.type, modes: { ...terminal.modes } } };
}

function note(context: SshContext, { operation, channel, text }: CommandRun, facts: SshEvent['facts'], reason: string | null): void {
  context.recorder.note({ code: text === null ? 'shell.end' : 'exec.result', channel, operation, decision: null, approvals: [], request: null, reason, facts });
}

/** One command that runs. State: what went which way, and how it ends. */
class RunningCommand {
  readonly #context: SshContext;
  readonly #run: CommandRun;
  readonly #io: CommandIo;
  readonly #channel: ClientChannel;
  readonly #startedMs: number;
  /** Aborted once an exit was seen or the channel is closed. */
  readonly #exited = new AbortController();
  /** Resolves when nobody waits for the target any more. */
  readonly #released = Promise.withResolvers<void>();
  readonly #relays: readonly OutputRelay[];
  readonly #masks: readonly (TextMask | null)[];
  readonly #timers: (NodeJS.Timeout | null)[] = [null, null];
  #exit: CommandEnd['exit'] = null;
  #denial: Denial | null = null;
  #stopRequested = false;
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(context: SshContext, run: CommandRun, io: CommandIo, channel: ClientChannel, startedMs: number) {
    this.#context = context;
    this.#run = run;
    this.#io = io;
    this.#channel = channel;
    this.#startedMs = startedMs;
    const mode = run.terminal === null ? 'exec' : 'pty';
    this.#masks = [0, 1].map(() => (run.output === 'Text' ? context.textMask(mode) : null));
    this.#relays = [this.#relay(0, channel, io.stdout), this.#relay(1, channel.stderr, io.stderr)];
  }

  async finish(): Promise<CommandEnd> {
    const { stop } = this.#io;
    const onStop = (): void => this.#stop();
    const closed = Promise.race([this.#watch(), this.#released.promise]);
    stop.addEventListener('abort', onStop, { once: true });
    if (stop.aborted) onStop();
    const input = this.#relayInput();
    try {
      await Promise.all([closed, ...this.#relays.map((relay) => relay.done)]);
    } catch (error) {
      // The record cannot go on: nothing more goes to the user, and the command must not go on unseen.
      this.#stop();
      await closed;
      throw error;
    } finally {
      stop.removeEventListener('abort', onStop);
      this.#io.listen({});
      input();
      for (const timer of this.#timers) if (timer !== null) clearTimeout(timer);
      this.#noteResult();
    }
    return { exit: this.#exit, stopRequested: this.#stopRequested, denial: this.#denial };
  }

  #watch(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const channel = this.#channel;
    channel.on('exit', (code: number | null, signal?: string, dump?: boolean, message?: string) => {
      this.#exit ??= code === null ? { signal: (signal ?? 'KILL').replace(/^SIG/, ''), coreDumped: dump === true, message: message ?? '' } : { status: code };
      this.#exited.abort();
    });
    channel.once('close', () => {
      this.#exited.abort();
      resolve();
    });
    this.#io.listen({
      signal: (name) => {
        if (this.#io.onSignal?.(name) !== true) sendSignal(channel, name);
      },
      resize: (terminal) => {
        if (this.#run.terminal === null) return;
        channel.setWindow(terminal.rows, terminal.columns, terminal.heightPixels, terminal.widthPixels);
        this.#io.cast?.resize(terminal.columns, terminal.rows);
      },
    });
    return promise;
  }

  #relay(index: 0 | 1, source: Readable, sink: Writable): OutputRelay {
    const mask = this.#masks[index] ?? null;
    const crlf = this.#run.crlf ? createCrlf() : null;
    // What a hostile target sends to a terminal could make it act for its user.
    const filter = this.#run.terminal !== null || this.#run.crlf ? createTerminalFilter() : null;
    const hand = (text: Uint8Array): Uint8Array => {
      const harmless = filter === null ? text : filter.push(text);
      const bytes = crlf === null ? harmless : crlf(harmless);
      if (bytes.length === 0) return bytes;
      const allowed = this.#withinLimit(bytes);
      const { cast } = this.#io;
      if (cast !== null) {
        cast.output(allowed, index === 0 ? 'stdout' : 'stderr');
        // Record, then forward.
        cast.flush();
      }
      return allowed;
    };
    const take = (chunk: Uint8Array): Uint8Array => {
      if (this.#denial !== null) return new Uint8Array();
      if (mask === null) return hand(chunk);
      const text = mask.push(chunk);
      if (mask.problem !== null && mask.problem !== undefined) this.#cut(deny('OUTPUT_NOT_TEXT'));
      else if (this.#run.terminal !== null) this.#idleSoon(index, mask, hand);
      return hand(text);
    };
    return relayOutput(source, sink, take, () => (mask === null || this.#denial !== null ? new Uint8Array() : hand(mask.end())));
  }

  #idleSoon(index: 0 | 1, mask: TextMask, hand: (text: Uint8Array) => Uint8Array): void {
    const timer = this.#timers[index];
    if (timer) return void timer.refresh();
    this.#timers[index] = setTimeout(() => {
      try {
        if (this.#denial === null) this.#relays[index]?.push(hand(mask.idle()));
      } catch (error) {
        this.#context.fail(error);
      }
    }, idleMs);
  }

  #withinLimit(bytes: Uint8Array): Uint8Array {
    const limit = this.#context.session.permit.limits.bytesPerStatement;
    const left = limit === null ? Infinity : Math.max(0, limit - this.#bytesOut);
    const allowed = bytes.length <= left ? bytes : bytes.subarray(0, left);
    this.#bytesOut += allowed.length;
    this.#context.totals.bytes += allowed.length;
    if (allowed.length < bytes.length) this.#cut(deny('BYTE_LIMIT_REACHED', { message: 'the command passed the byte limit of the policy', hint: 'ask for less output' }));
    return allowed;
  }

  /** The user gets no more of it, and the command is stopped. */
  #cut(denial: Denial): void {
    this.#denial ??= denial;
    this.#stop();
  }

  #stop(): void {
    if (this.#stopRequested || this.#exited.signal.aborted) return this.#letGo();
    this.#stopRequested = true;
    stopCommand(this.#channel, this.#exited.signal).then(() => this.#letGo(), (error: unknown) => this.#context.fail(error));
  }

  /**
   * A stopped command's user may be gone or stalled: nobody waits for them to take what is left. Nor for the target: sshd answers a close only once the command has ended, and for root it ignores
   * signals; then the record says that no exit was seen.
   */
  #letGo(): void {
    for (const relay of this.#relays) relay.close();
    this.#channel.close();
    this.#released.resolve();
  }

  /** @returns the function that ends the relay of input. */
  #relayInput(): () => void {
    const { input } = this.#io;
    const channel = this.#channel;
    if (input === null) {
      channel.end();
      return () => undefined;
    }
    const onData = (chunk: Uint8Array): void => {
      this.#bytesIn += chunk.length;
      if (!channel.writable || channel.writableEnded) return;
      let isTaken = false;
      channel.write(chunk, () => {
        isTaken = true;
        input.resume();
      });
      if (!isTaken && channel.writableLength > 256 * 1024) input.pause();
    };
    const onEnd = (): void => void channel.end();
    input.on('data', onData).on('end', onEnd);
    if (input.readableEnded) onEnd();
    input.resume();
    return () => {
      input.off('data', onData).off('end', onEnd);
      input.pause();
    };
  }

  #noteResult(): void {
    const exit = this.#exit;
    note(this.#context, this.#run, {
      ...(exit === null ? { outcome: 'Unknown' } : {}),
      exit_status: exit !== null && 'status' in exit ? exit.status : null, exit_signal: exit !== null && 'signal' in exit ? exit.signal : null,
      stop_requested: this.#stopRequested, exit_seen: exit !== null,
      bytes_in: this.#bytesIn, bytes_out: this.#relays[0]?.bytes() ?? 0, bytes_err: this.#relays[1]?.bytes() ?? 0, detector_hits: this.#masks.reduce((sum, mask) => sum + (mask?.hits ?? 0), 0),
      duration_ms: Math.round(this.#context.clock.monotonicMs() - this.#startedMs),
    }, this.#denial?.code ?? null);
  }
}
