import { lookup } from 'node:dns/promises';
import { connect, isIP, type Socket } from 'node:net';

/** A name that does not resolve, or addresses of which none answers; `reason` is for a log and names neither. */
export class DialError extends Error {
  readonly reason: string;

  constructor(reason: string, options: ErrorOptions) {
    super(reason, options);
    this.name = 'DialError';
    this.reason = reason;
  }
}

/** Addresses of one name that are tried. */
const limitAddresses = 8;
const keepAliveMs = 30_000;
const perAddressMs = 3_000;

/**
 * Connects to the first address of a host that answers. TCP keepalive 30 s, no delay. The socket has an error listener: what breaks later shows as its end.
 *
 * @returns the socket and the address that it reached.
 * @throws DialError; the signal's reason when that is one.
 */
export async function dialHost(host: string, port: number, signal: AbortSignal): Promise<{ readonly socket: Socket; readonly address: string }> {
  return dialAddresses(await resolveHost(host, signal), port, signal);
}

/** Like `dialHost`, for addresses that are known. */
export async function dialAddresses(addresses: readonly string[], port: number, signal: AbortSignal): Promise<{ readonly socket: Socket; readonly address: string }> {
  let last: unknown = null;
  for (const [i, address] of addresses.entries()) {
    try {
      // A silent address must leave time for the next ones; the last one has until the deadline.
      const limit = i < addresses.length - 1 ? AbortSignal.any([signal, AbortSignal.timeout(perAddressMs)]) : signal;
      return { socket: await connectTo(address, port, limit), address };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      last = error;
    }
  }
  throw new DialError('no address answers', { cause: last });
}

async function resolveHost(host: string, signal: AbortSignal): Promise<readonly string[]> {
  if (isIP(host)) return [host];
  try {
    const found = await untilAborted(lookup(host, { all: true }), signal);
    return found.slice(0, limitAddresses).map((entry) => entry.address);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw new DialError('the name does not resolve', { cause: error });
  }
}

function connectTo(host: string, port: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs });
    const settle = (error: unknown): void => {
      signal.removeEventListener('abort', onAbort);
      if (error === null) return resolve(socket);
      socket.destroy();
      reject(error as Error);
    };
    const onAbort = (): void => settle(signal.reason);
    socket.once('connect', () => settle(null));
    // Stays: an error after the connection stands shows as its end.
    socket.on('error', settle);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
