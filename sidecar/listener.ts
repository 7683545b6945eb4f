import { createServer, type Server, type Socket } from 'node:net';

import { SallyportError } from './core/errors.ts';
import type { Logger } from './core/ports.ts';
import type { Admission } from './core/session/admission.ts';

/** What a listener counts; labels stay few. */
export interface ListenerMetrics {
  connection(outcome: 'accepted' | 'refused_process' | 'refused_address'): void;
}

export interface ListenerOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Shared by all listeners of the process. */
  readonly limit: UnauthenticatedLimit;
  /** Accept to ready; 60 s by default. */
  readonly loginMs?: number;
  /** How long a connection over the limit of its address waits for a place; 10 s by default. */
  readonly waitMs?: number;
  readonly log: Logger;
  readonly metrics?: ListenerMetrics;
  /** Serves one connection to its end. Never awaited by the accept loop; if it rejects the socket is destroyed and the failure logged. */
  readonly onConnection: (socket: Socket, admission: Admission) => Promise<void>;
}

export interface Listener extends AsyncDisposable {
  readonly port: number;
  /** Ends the logins in progress (`DRAINING`); new ones are still accepted, for the owner to refuse. */
  endLogins(): void;
  /** Stops accepting and ends the logins in progress; sessions that are admitted live on, their owner ends them. */
  close(): Promise<void>;
}

const keepAliveMs = 30_000;
const defaultLoginMs = 60_000;

/**
 * Opens a port and hands each connection on at once: a peer that says nothing delays nobody of another address.
 *
 * Over the limit of its address a new connection waits, unread, until another login of that address is complete: a pool of an application, or many people behind
 * one address, may come at once. Beyond what may wait, or after ten seconds, it is closed without a word. Dead peers are found by TCP keepalive.
 *
 * @throws the system's error when the port cannot be opened.
 */
export async function startListener(options: ListenerOptions): Promise<Listener> {
  const logins = new Set<LoginDeadline>();
  const server = createServer({ keepAlive: true, keepAliveInitialDelay: keepAliveMs, noDelay: true }, (socket) => accept(socket, options, logins));
  await listen(server, options);
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : options.port;
  server.on('error', (error) => options.log.error('listener failed', { port, error: error.message }));
  const endLogins = (): void => {
    for (const login of logins) login.abort(new SallyportError('DRAINING'));
  };
  const close = (): Promise<void> => {
    // Not awaited to the end: the callback waits for every session.
    server.close();
    endLogins();
    return Promise.resolve();
  };
  return { port, endLogins, close, [Symbol.asyncDispose]: close };
}

function accept(socket: Socket, options: ListenerOptions, logins: Set<LoginDeadline>): void {
  // From here on the socket is never without an error listener; what broke shows as its end.
  socket.on('error', () => undefined);
  options.limit.enterOrWait(socket.remoteAddress ?? '', (entry) => {
    options.metrics?.connection(entry.outcome);
    if (entry.outcome !== 'accepted') return void socket.destroy();
    // It may have gone while it waited.
    if (socket.destroyed) return entry.leave();
    return serve(socket, entry.leave, options, logins);
  }, options.waitMs);
}

function serve(socket: Socket, leave: () => void, options: ListenerOptions, logins: Set<LoginDeadline>): void {
  const login: LoginDeadline = new LoginDeadline(options.loginMs ?? defaultLoginMs, leave, () => logins.delete(login));
  logins.add(login);
  socket.once('close', () => login.admitted());
  options.onConnection(socket, login).catch((error: unknown) => {
    options.log.error('connection failed', { code: error instanceof SallyportError ? error.code : 'INTERNAL', error: error instanceof Error ? error.message : 'not an error' });
    socket.destroy();
  }).finally(() => login.admitted());
}

function listen(server: Server, options: ListenerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: options.host, port: options.port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** The deadline of one login, and its place among the unauthenticated. State, because the time that is left stands still while it is paused. */
export class LoginDeadline implements Admission {
  readonly #abort = new AbortController();
  readonly #leave: () => void;
  #timer: NodeJS.Timeout | null = null;
  #leftMs: number;
  #runningSince = 0;
  #pauses = 0;
  #over = false;

  readonly #ended: () => void;
  #counted = false;

  constructor(deadlineMs: number, leave: () => void, over: () => void = () => undefined) {
    this.#leave = leave;
    this.#ended = over;
    this.#leftMs = deadlineMs;
    this.#run();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  abort(reason: SallyportError): void {
    if (!this.#over) this.#abort.abort(reason);
  }

  pause(): () => void {
    this.#pauses++;
    this.#stop();
    let resumed = false;
    return () => {
      if (resumed) return;
      resumed = true;
      this.#pauses--;
      this.#run();
    };
  }

  counted(): void {
    if (this.#counted) return;
    this.#counted = true;
    this.#leave();
  }

  admitted(): void {
    if (this.#over) return;
    this.#over = true;
    this.#stop();
    this.#ended();
    this.counted();
  }

  #run(): void {
    if (this.#over || this.#pauses > 0 || this.#timer) return;
    this.#runningSince = performance.now();
    this.#timer = setTimeout(() => this.abort(new SallyportError('STARTUP_TIMEOUT')), this.#leftMs);
  }

  #stop(): void {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#leftMs = Math.max(0, this.#leftMs - (performance.now() - this.#runningSince));
  }
}

/** What `UnauthenticatedLimit.enter` answers. */
export type Entry = { readonly outcome: 'accepted'; /** Gives the place back; call once. */ leave(): void } | { readonly outcome: 'refused_process' | 'refused_address' };

/** Places for logins in progress, for connections that wait for one, and how long they do. */
export interface UnauthenticatedLimits {
  readonly perProcess: number;
  readonly perAddress: number;
  readonly waiting: number;
  readonly waitingPerAddress: number;
  readonly waitMs: number;
}

const defaultLimits: UnauthenticatedLimits = { perProcess: 100, perAddress: 10, waiting: 400, waitingPerAddress: 100, waitMs: 10_000 };

interface Waiter {
  readonly address: string;
  readonly take: (entry: Entry) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * Counts the connections whose login is not complete, and lets more of them wait: one instance per process. State, because it is a count.
 *
 * A login that waits for an approval keeps its place: it is not admitted yet.
 */
export class UnauthenticatedLimit {
  readonly #limits: UnauthenticatedLimits;
  readonly #byAddress = new Map<string, number>();
  readonly #waiters = new Set<Waiter>();
  readonly #waitingByAddress = new Map<string, number>();
  #total = 0;

  constructor(limits: Partial<UnauthenticatedLimits> = {}) {
    this.#limits = { ...defaultLimits, ...limits };
  }

  /** Connections counted now. */
  get total(): number {
    return this.#total;
  }

  /** Connections that wait for a place. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** Calls `take` once: at once where there is a place or no room to wait, else when a place is free or the time to wait is over. First come, first served, per address. */
  enterOrWait(address: string, take: (entry: Entry) => void, waitMs: number = this.#limits.waitMs): void {
    const entry = this.enter(address);
    const waiting = this.#waitingByAddress.get(address) ?? 0;
    if (entry.outcome === 'accepted' || this.#waiters.size >= this.#limits.waiting || waiting >= this.#limits.waitingPerAddress) return take(entry);
    const waiter: Waiter = { address, take, timer: setTimeout(() => this.#answer(waiter, entry), waitMs) };
    this.#waiters.add(waiter);
    this.#waitingByAddress.set(address, waiting + 1);
  }

  enter(address: string): Entry {
    if (this.#total >= this.#limits.perProcess) return { outcome: 'refused_process' };
    const count = this.#byAddress.get(address) ?? 0;
    if (count >= this.#limits.perAddress) return { outcome: 'refused_address' };
    this.#byAddress.set(address, count + 1);
    this.#total++;
    return { outcome: 'accepted', leave: () => this.#leave(address) };
  }

  #leave(address: string): void {
    this.#total--;
    lower(this.#byAddress, address);
    for (const waiter of this.#waiters) {
      const entry = this.enter(waiter.address);
      if (entry.outcome === 'accepted') return this.#answer(waiter, entry);
      if (entry.outcome === 'refused_process') return;
    }
  }

  #answer(waiter: Waiter, entry: Entry): void {
    clearTimeout(waiter.timer);
    this.#waiters.delete(waiter);
    lower(this.#waitingByAddress, waiter.address);
    waiter.take(entry);
  }
}

function lower(counts: Map<string, number>, key: string): void {
  const count = (counts.get(key) ?? 1) - 1;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
