import type { Writable } from 'node:stream';
import type { PseudoTtyInfo, ServerChannel, Session, SetEnvInfo, X11Info } from 'ssh2';
import { type Denial, deny } from '../core/errors.ts';
import { environmentLimits, levelVariable, passesEnvironment, recordedName } from './environment.ts';
import type { ChannelListener, SessionChannel, Terminal } from './session-channel.ts';

/** What the client starts in its session channel. */
export type Started =
  | { readonly kind: 'exec'; readonly text: string }
  | { readonly kind: 'shell' }
  | { readonly kind: 'subsystem'; readonly name: string };

/** What a session channel asks its connection. */
export interface ClientSessionOwner {
  /** The channel was accepted, in the tick of its request; once. */
  started(channel: ClientSession, what: Started): void;
  refused(request: string, denial: Denial, channel: number): void;
  /** Whether a subsystem is served at all: others are refused. */
  serves(subsystem: string): boolean;
  /** Whether some rule of the Target could grant agent or X11 forwarding: the answer must come in the tick of the request, before there is a decision. */
  mayGrant(what: 'agent' | 'x11'): boolean;
  /** The decision. A refusal is recorded and told. */
  grants(what: 'agent' | 'x11', channel: number, display: X11Info | null): Promise<boolean>;
  fail(error: unknown): void;
  gone(channel: ClientSession): void;
}

/**
 * One session channel of the client: collects what comes before the start (terminal, environment), accepts exec, shell or a subsystem in the event itself, and hands signals and resizes on.
 * Every other request on it is refused. State, because a channel is one.
 */
export class ClientSession implements SessionChannel {
  readonly number: number;
  readonly environment: (readonly [name: string, value: string])[] = [];
  readonly droppedEnvironment: string[] = [];
  readonly forwards: { agent: boolean; x11: boolean } = { agent: false, x11: false };
  readonly #closed: AbortController = new AbortController();
  readonly #owner: ClientSessionOwner;
  #terminal: Terminal | null = null;
  #stream: ServerChannel | null = null;
  #listener: ChannelListener = {};
  #variables = 0;
  #wantsRawShell = false;
  readonly #granting: Promise<void>[] = [];
  /** Asked for: each is decided once for a channel, so a flood of requests is no flood of decisions. */
  readonly #askedFor = new Set<'agent' | 'x11'>();
  /** Signals that came while nobody listened yet: a hold takes the first. */
  #pendingSignal: string | null = null;

  constructor(number: number, session: Session, owner: ClientSessionOwner) {
    this.number = number;
    this.#owner = owner;
    session.on('pty', (accept, reject, info) => this.#pty(accept, reject, info));
    session.on('env', (accept, reject, info) => this.#env(accept, reject, info));
    session.on('window-change', (accept, _reject, info) => {
      accept?.();
      this.#resize(info);
    });
    session.on('signal', (accept, _reject, info) => {
      accept?.();
      this.#signal(recordedName(info.name).replace(/^SIG/, ''));
    });
    session.on('auth-agent', (accept, reject) => this.#forward('agent', accept, reject));
    session.on('x11', (accept, reject, info) => this.#forward('x11', accept, reject, info));
    session.on('exec', (accept, _reject, info) => this.#start(accept, { kind: 'exec', text: info.command }));
    session.on('shell', (accept) => this.#start(accept, { kind: 'shell' }));
    session.on('subsystem', (accept, reject, info) => {
      if (this.#owner.serves(info.name)) return this.#start(accept, { kind: 'subsystem', name: info.name });
      this.#owner.refused(`subsystem:${recordedName(info.name)}`, deny('CHANNEL_REFUSED'), this.number);
      reject();
    });
    session.on('close', () => this.#gone());
  }

  get stream(): ServerChannel {
    if (this.#stream === null) throw new TypeError('the channel has not been started');
    return this.#stream;
  }

  get isStarted(): boolean {
    return this.#stream !== null;
  }

  get terminal(): Terminal | null {
    return this.#terminal;
  }

  get wantsRawShell(): boolean {
    return this.#wantsRawShell;
  }

  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  listen(listener: ChannelListener): void {
    this.#listener = listener;
    const signal = this.#pendingSignal;
    this.#pendingSignal = null;
    if (signal !== null) listener.signal?.(signal);
  }

  /** Resolves when what was asked for besides is decided. */
  async settled(): Promise<void> {
    await Promise.all(this.#granting);
  }

  /** The connection is over. */
  end(): void {
    this.#gone();
  }

  /** Shows lines on stderr, as long as the channel is open. */
  tell(lines: readonly string[]): void {
    const stream = this.#stream;
    if (stream === null || !stream.writable || stream.writableEnded || this.closed.aborted) return;
    const lineEnd = this.#terminal === null ? '\n' : '\r\n';
    stream.stderr.write(lines.map((line) => `${line}${lineEnd}`).join(''));
  }

  /** Lines on stderr, the exit status, end of data, close. Does nothing on one that is closed. */
  finish(lines: readonly string[], status: number): void {
    const stream = this.#stream;
    // Stderr ends first: whoever served the channel may have finished it, and a second exit status would replace theirs.
    if (stream === null || !stream.writable || stream.writableEnded || (stream.stderr as Writable).writableEnded || this.closed.aborted) return;
    this.tell(lines);
    stream.exit(status);
    stream.stderr.end();
    stream.end();
  }

  #start(accept: () => ServerChannel, what: Started): void {
    // Undefined once the client has closed the channel.
    const stream = accept() as ServerChannel | undefined;
    if (stream === undefined) return;
    this.#stream = stream;
    for (const side of [stream, stream.stderr]) side.on('error', () => this.#gone());
    stream.on('close', () => this.#gone());
    this.#owner.started(this, what);
  }

  #pty(accept: (() => void) | undefined, reject: (() => void) | undefined, info: PseudoTtyInfo & { readonly term?: string }): void {
    if (this.isStarted || this.#terminal !== null) return void reject?.();
    const type = info.term ?? '';
    this.#terminal = {
      type: /^[A-Za-z0-9._+-]{1,64}$/.test(type) ? type : 'dumb', columns: bounded(info.cols), rows: bounded(info.rows), widthPixels: info.width, heightPixels: info.height,
      modes: { ...(info.modes as unknown as Record<string, number>) },
    };
    accept?.();
  }

  #env(accept: (() => void) | undefined, reject: (() => void) | undefined, { key, val }: SetEnvInfo): void {
    this.#variables += 1;
    if (this.isStarted || this.#variables > environmentLimits.variables || Buffer.byteLength(key) + Buffer.byteLength(val) > environmentLimits.bytes) return void reject?.();
    if (key === levelVariable) this.#wantsRawShell = val === 'RawShell';
    else if (passesEnvironment(key, val)) this.environment.push([key, val]);
    else this.droppedEnvironment.push(recordedName(key));
    accept?.();
  }

  #resize(info: { readonly cols: number; readonly rows: number; readonly width: number; readonly height: number }): void {
    const terminal = this.#terminal;
    if (terminal === null) return;
    Object.assign(terminal, { columns: bounded(info.cols), rows: bounded(info.rows), widthPixels: info.width, heightPixels: info.height });
    this.#listener.resize?.(terminal);
  }

  #signal(name: string): void {
    if (this.#listener.signal === undefined) this.#pendingSignal ??= name;
    else this.#listener.signal(name);
  }

  #forward(what: 'agent' | 'x11', accept: (() => void) | undefined, reject: (() => void) | undefined, display: X11Info | null = null): void {
    if (this.isStarted || !this.#owner.mayGrant(what)) {
      this.#owner.refused(what, deny('FORWARD_DENIED'), this.number);
      return void reject?.();
    }
    if (this.#askedFor.has(what)) return void reject?.();
    this.#askedFor.add(what);
    accept?.();
    this.#granting.push(this.#owner.grants(what, this.number, display).then((granted) => { this.forwards[what] ||= granted; }, (error: unknown) => this.#owner.fail(error)));
  }

  #gone(): void {
    if (this.closed.aborted) return;
    this.#closed.abort(deny('CONNECTION_LOST'));
    this.#owner.gone(this);
  }
}

/** A terminal that a recording can show and a target can make. */
function bounded(size: number): number {
  return Math.min(Math.max(1, size || 80), 1_000);
}
