import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { NegotiatedAlgorithms } from 'ssh2';

import { needsStrictKex } from './algorithms.ts';

/** When a leg changes its keys: after so many bytes in both directions together, or so long. */
export interface RekeyLimits {
  readonly bytes: number;
  readonly ms: number;
}

/** 1 GiB or 1 h, whichever comes first (RFC 4253, 9). */
export const defaultRekeyLimits: RekeyLimits = { bytes: 2 ** 30, ms: 3_600_000 };

/** Keepalive of both legs: a peer that says nothing for 45 s is gone. */
export const keepalive = { keepaliveInterval: 15_000, keepaliveCountMax: 3 } as const;

/** What ssh2 keeps to itself and a leg needs: the one place that knows. */
interface Internals extends EventEmitter {
  readonly _protocol: { readonly _strictMode?: boolean; /** Set while keys are exchanged. */ readonly _kexinit?: unknown; rekey(): void };
}

/**
 * Keeps what listeners of an ssh2 object throw from ending the process: `fail` gets it, and ends the connection. State, because it replaces the object's own `emit`.
 * Listeners that are async need `guarded` as well.
 */
export function containThrows(emitter: EventEmitter, fail: (error: unknown) => void): void {
  const emit = emitter.emit.bind(emitter);
  emitter.emit = (event: string | symbol, ...args: unknown[]): boolean => {
    try {
      return emit(event, ...args);
    } catch (error) {
      fail(error);
      return true;
    }
  };
}

/** A listener whose throw or rejection goes to `fail`: for events of channels, and for every async listener. */
export function guarded<A extends readonly unknown[]>(fail: (error: unknown) => void, listener: (...args: A) => void | Promise<void>): (...args: A) => void {
  return (...args) => {
    try {
      const done = listener(...args);
      if (done instanceof Promise) done.catch(fail);
    } catch (error) {
      fail(error);
    }
  };
}

/** Is the negotiated protection one that a man in the middle cannot shorten? */
export function isStrictEnough(leg: EventEmitter, negotiated: NegotiatedAlgorithms): boolean {
  return (leg as Internals)._protocol._strictMode === true || !(needsStrictKex(negotiated.cs.cipher) || needsStrictKex(negotiated.sc.cipher));
}

/**
 * Changes the keys of a leg as often as `limits` say, from its first key exchange to the end of its socket; a change that the peer began counts. A change that either side began and the peer
 * does not finish within `exchangeMs` ends the connection: what is to be sent waits for it.
 */
export function rekeyRegularly(leg: EventEmitter, socket: Socket, fail: (error: unknown) => void, limits: RekeyLimits = defaultRekeyLimits): void {
  // A client has none before it connects.
  const protocolOf = (): Internals['_protocol'] | undefined => (leg as Internals)._protocol;
  let exchanges = 0;
  let mark = 0;
  let timer: NodeJS.Timeout | null = null;
  let pending: { readonly exchange: number; readonly sinceMs: number } | null = null;
  const transferred = (): number => socket.bytesRead + socket.bytesWritten;
  const rekey = (): void => {
    mark = transferred();
    if (socket.writable) protocolOf()?.rekey();
  };
  const watchExchange = (): void => {
    const isExchanging = protocolOf()?._kexinit !== undefined;
    if (!isExchanging || pending?.exchange !== exchanges) pending = isExchanging ? { exchange: exchanges, sinceMs: performance.now() } : null;
    else if (performance.now() - pending.sinceMs > exchangeMs) fail(new Error('the peer does not finish a change of keys'));
  };
  const watch = setInterval(watchExchange, exchangeMs / 4).unref();
  leg.on('handshake', () => {
    exchanges++;
    mark = transferred();
    timer ??= setInterval(rekey, limits.ms).unref();
    timer.refresh();
  });
  // Reads suffice to see writes too: no peer takes 2 MiB without saying so.
  socket.on('data', () => {
    if (timer !== null && transferred() - mark >= limits.bytes) rekey();
  });
  socket.once('close', () => {
    clearInterval(watch);
    if (timer !== null) clearInterval(timer);
  });
}

const exchangeMs = 30_000;
