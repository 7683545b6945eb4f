import type { ServerChannel, Session, X11Info } from 'ssh2';
import { type Denial, deny, SallyportError } from '../core/errors.ts';
import { countDenial } from '../core/session/tally.ts';
import type { ChannelServers, ForwardListen, ForwardOpen } from './channel-servers.ts';
import { ClientSession, type Started } from './client-session.ts';
import type { SshContext } from './context.ts';
import { recordedName } from './environment.ts';
import { serveExec } from './exec.ts';
import { watchHeldInput } from './held-input.ts';
import type { ServedConnection } from './server.ts';
import { serveShell } from './shell.ts';
import { watchUnlisted } from './unlisted.ts';
import { denialLines } from './words.ts';

/** Bounds of one connection (ssh.md 3.6). */
export const channelLimits = { sessions: 10, forwards: 16, waiting: 32, refusals: 1_000 } as const;

/** What the channels of a connection need before there is a session. */
export interface ChannelsDeps {
  readonly servers: ChannelServers;
  /** Records and counts a refused channel or request while no session's record is open. */
  readonly refused: (facts: Readonly<Record<string, unknown>>, denial: Denial) => void;
  /** Whether some rule of the Target could grant it. */
  readonly mayGrant: (what: 'agent' | 'x11') => boolean;
}

/** What the user of a refused session reads, and the exit status of their channels. */
export interface Farewell {
  readonly lines: readonly string[];
  readonly status: number;
}

const sessionWaits = deny('CHANNEL_REFUSED', { message: 'this session waits for an approval, and opens nothing more until then' });

/** How long a client that was refused may take to open the channel that tells it why. */
const firstChannelMs = 10_000;

/**
 * The channels and requests of one authenticated client: the closed table of ssh.md 6. Session channels are accepted in the event itself and wait here until the session is admitted, so that
 * a reason can be told; nothing of theirs reaches the target before. State, because a connection is one.
 */
export class ClientChannels {
  readonly #served: ServedConnection;
  readonly #deps: ChannelsDeps;
  readonly #sessions = new Set<ClientSession>();
  readonly #opened = Promise.withResolvers<SshContext | null>();
  readonly #first = Promise.withResolvers<void>();
  /** Notices that came before anybody could read them. */
  #notices: readonly string[] = [];
  #context: SshContext | null = null;
  #held = false;
  #farewell: Farewell | null = null;
  #numbers = 0;
  #forwards = 0;
  #refusals = 0;
  #serving = 0;
  /** Forwards that came before the session was admitted. */
  readonly #waiting = new Set<() => void>();
  readonly #cancel = new AbortController();
  readonly #keyboards: (() => void)[] = [];

  /** Listens at once: whoever makes it does so before the client can open a channel. */
  constructor(served: ServedConnection, deps: ChannelsDeps) {
    this.#served = served;
    this.#deps = deps;
    const { connection } = served;
    watchUnlisted(connection, ({ what, type }) => this.#refuse(what, type, deny('CHANNEL_REFUSED'), 0));
    connection.on('session', (accept, reject) => this.#session(accept, reject as (text?: string) => void));
    connection.on('tcpip', (accept, reject, info) => this.#forward({ type: 'tcpip', info }, accept, reject as (text?: string) => void));
    connection.on('openssh.streamlocal', (accept, reject, info) => this.#forward({ type: 'streamlocal', info }, accept, reject as (text?: string) => void));
    connection.on('request', (accept: ((port?: number) => void) | undefined, reject: (() => void) | undefined, name: string, info: unknown) => this.#listen({ name, info } as ForwardListen, accept, reject));
    served.closed.addEventListener('abort', () => {
      for (const session of this.#sessions) session.end();
      this.#opened.resolve(null);
    }, { once: true });
  }

  /** Numbers channels and whatever else has a recording of its own. */
  nextChannel(): number {
    this.#numbers += 1;
    return this.#numbers;
  }

  /** Channels that somebody serves now. */
  get serving(): number {
    return this.#serving;
  }

  /** Aborted when the user gives up a session that waits: Ctrl-C on the first channel. */
  get cancelled(): AbortSignal {
    return this.#cancel.signal;
  }

  /** The session itself waits for an approval: only the channel that is there goes on; everything else is refused until it is over. */
  hold(held: boolean): void {
    this.#held = held;
    if (held) {
      for (const refuse of this.#waiting) refuse();
      for (const session of this.#sessions) {
        if (session.number === 1) this.#watchKeyboard(session);
        else this.#tooEarly(session);
      }
    } else for (const release of this.#keyboards.splice(0)) release();
  }

  /** Opened before the hold began, and not the first. */
  #tooEarly(session: ClientSession): void {
    if (!session.isStarted) return;
    this.#refuse('channel', 'session', sessionWaits, session.number);
    session.finish(denialLines(sessionWaits), 126);
  }

  #watchKeyboard(session: ClientSession): void {
    if (!this.#held || !session.isStarted) return;
    const { cancelled, release } = watchHeldInput(session);
    cancelled.addEventListener('abort', () => this.#cancel.abort(deny('HOLD_CANCELLED')), { once: true });
    this.#keyboards.push(release);
  }

  /** The session is admitted and its record open: what waits goes on. */
  open(context: SshContext): void {
    this.#context = context;
    this.#opened.resolve(context);
  }

  /** Shows lines on every channel that is there, or on the first one to come. */
  tell(lines: readonly string[]): void {
    const shown = this.#context === null ? lines : lines.map(this.#context.redact);
    const started = [...this.#sessions].filter((session) => session.isStarted);
    if (started.length === 0) this.#notices = [...this.#notices, ...shown].slice(-8);
    for (const session of started) session.tell(shown);
  }

  /** Ends every channel with a reason. New ones get the same. */
  end(farewell: Farewell): void {
    this.#farewell = farewell;
    this.#opened.resolve(null);
    for (const session of this.#sessions) this.#finish(session, farewell);
  }

  /** After `end`: resolves once the reason was told, or the client did not want to hear it. @param isRefusal waits for the first channel, which is told why there is no session. */
  async told(isRefusal: boolean): Promise<void> {
    if (this.#served.closed.aborted) return;
    if (isRefusal) await within(firstChannelMs, this.#first.promise, this.#served.closed);
    // The client closes its side; then nothing of what was told can be lost.
    const deadline = AbortSignal.any([this.#served.closed, AbortSignal.timeout(500)]);
    while (this.#sessions.size > 0 && !deadline.aborted) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  #session(accept: () => Session, reject: (text?: string) => void): void {
    const first = this.#numbers === 0;
    if (this.#held && !first) return this.#reject('channel', 'session', sessionWaits, reject);
    if (this.#sessions.size >= channelLimits.sessions) return this.#reject('channel', 'session', deny('CHANNEL_LIMIT_REACHED'), reject);
    const session = new ClientSession(this.nextChannel(), accept(), {
      started: (channel, what) => this.#started(channel, what),
      refused: (request, denial, channel) => this.#refuse('request', request, denial, channel),
      serves: (subsystem) => subsystem === 'sftp',
      mayGrant: (what) => this.#deps.mayGrant(what),
      grants: (what, channel, display) => this.#grants(what, channel, display),
      gone: (channel) => void this.#sessions.delete(channel),
      fail: (error) => this.#fail(error),
    });
    this.#sessions.add(session);
  }

  #started(session: ClientSession, what: Started): void {
    this.#first.resolve();
    if (this.#farewell !== null) return this.#finish(session, this.#farewell);
    if (this.#held && session.number !== 1) return this.#tooEarly(session);
    session.tell(this.#notices);
    this.#notices = [];
    this.#watchKeyboard(session);
    this.#serving += 1;
    this.#serve(session, what).catch((error: unknown) => this.#fail(error)).finally(() => {
      this.#serving -= 1;
      session.finish([], 255);
    });
  }

  async #serve(session: ClientSession, what: Started): Promise<void> {
    const context = await this.#opened.promise;
    if (context === null) {
      if (this.#farewell !== null) this.#finish(session, this.#farewell);
      return;
    }
    await session.settled();
    if (session.closed.aborted || context.ended.aborted) return;
    context.session.lastActivityMs = context.clock.monotonicMs();
    const { servers } = this.#deps;
    switch (what.kind) {
      case 'exec': return serveExec(context, session, what.text, servers);
      case 'shell': return serveShell(context, session, servers);
      case 'subsystem': return servers.sftp(context, session);
      default: return what satisfies never;
    }
  }

  #forward(asked: ForwardOpen, accept: () => ServerChannel, reject: (text?: string) => void): void {
    const type = asked.type === 'tcpip' ? 'direct-tcpip' : 'direct-streamlocal@openssh.com';
    const limited = this.#forwards >= channelLimits.forwards || (this.#context === null && this.#waiting.size >= channelLimits.waiting);
    if (this.#held || limited) return this.#reject('channel', type, this.#held ? sessionWaits : deny('CHANNEL_LIMIT_REACHED'), reject);
    this.#forwards += 1;
    void this.#whenOpen('channel', type, reject, (context) => this.#deps.servers.forward(context, asked, accept, reject)).finally(() => { this.#forwards -= 1; });
  }

  #listen(asked: ForwardListen, accept: ((port?: number) => void) | undefined, reject: (() => void) | undefined): void {
    if (this.#held || this.#waiting.size >= channelLimits.waiting) return this.#reject('global request', asked.name, this.#held ? sessionWaits : deny('CHANNEL_LIMIT_REACHED'), () => reject?.());
    // Each stands in the record by itself.
    const refuse = (): void => {
      if (this.#countRefusal()) reject?.();
    };
    void this.#whenOpen('global request', asked.name, () => reject?.(), (context) => this.#deps.servers.listen(context, asked, (port) => accept?.(port), refuse));
  }

  /** Waits for the session, and no longer than until a hold begins: what waits then is refused like what comes later. */
  async #whenOpen(what: string, type: string, reject: (text?: string) => void, serve: (context: SshContext) => Promise<void>): Promise<void> {
    try {
      const context = this.#context ?? (await this.#wait());
      if (context === 'held') return this.#reject(what, type, sessionWaits, reject);
      if (context === null || context.ended.aborted) return void reject(this.#farewell?.lines[0]);
      await serve(context);
    } catch (error) {
      reject();
      this.#fail(error);
    }
  }

  async #wait(): Promise<SshContext | 'held' | null> {
    const { promise, resolve } = Promise.withResolvers<'held'>();
    const onHold = (): void => resolve('held');
    this.#waiting.add(onHold);
    try {
      return await Promise.race([this.#opened.promise, promise]);
    } finally {
      this.#waiting.delete(onHold);
    }
  }

  async #grants(what: 'agent' | 'x11', channel: number, display: X11Info | null): Promise<boolean> {
    const context = await this.#opened.promise;
    if (context === null || context.ended.aborted) return false;
    if (what === 'agent') return this.#deps.servers.grantsAgent(context, channel);
    return display !== null && this.#deps.servers.grantsX11(context, channel, display);
  }

  #reject(what: string, type: string, denial: Denial, reject: (text?: string) => void): void {
    this.#refuse(what, type, denial, 0);
    reject(denialLines(denial)[0]);
  }

  /** Puts a refusal on record. A client that goes on and on is not worth a record each: it is cut. */
  #refuse(what: string, type: string, denial: Denial, channel: number): void {
    if (!this.#countRefusal()) return;
    const facts = { what, type: recordedName(type) };
    if (this.#context === null) return this.#deps.refused({ ...facts, channel }, denial);
    countDenial(this.#context.tally, denial.code);
    this.#context.recorder.note({ code: 'channel.refused', channel, operation: null, decision: null, approvals: [], request: null, reason: denial.code, facts });
  }

  /** False once it is too much. */
  #countRefusal(): boolean {
    this.#refusals += 1;
    const isBearable = this.#refusals <= channelLimits.refusals;
    if (!isBearable) this.#fail(new SallyportError('CHANNEL_LIMIT_REACHED'));
    return isBearable;
  }

  #finish(session: ClientSession, { lines, status }: Farewell): void {
    session.finish(lines, status);
  }

  #fail(error: unknown): void {
    if (this.#context === null) this.#served.fail(error);
    else this.#context.fail(error);
  }
}

async function within(limitMs: number, promise: Promise<void>, gone: AbortSignal): Promise<void> {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, limitMs);
  const end = (): void => resolve();
  gone.addEventListener('abort', end, { once: true });
  await Promise.race([promise, over]);
  clearTimeout(timer);
  gone.removeEventListener('abort', end);
}
