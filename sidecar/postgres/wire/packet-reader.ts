import type { Duplex } from 'node:stream';

import { SallyportError } from '../../core/errors.ts';

/** Bytes read ahead while nobody asks: enough for any login message, small enough for 100 stalled logins. */
const readAheadBytes = 65_536;

/**
 * Reads a socket on demand during the login phase, before the relay takes over.
 *
 * At most 64 KiB are read ahead while nobody asks; past that the peer feels back-pressure. The caller checks every length against its cap before it
 * asks for that many bytes. One read at a time. `takeBuffered` ends the reader and hands over what it holds.
 */
export class SocketReader {
  readonly #socket: Duplex;
  readonly #gone = new AbortController();
  #chunks: Buffer[] = [];
  #length = 0;
  #wanted = 0;
  #wake: (() => void) | null = null;

  constructor(socket: Duplex) {
    this.#socket = socket;
    // Stays for good: an error that arrives after the hand-over must never be without a listener.
    socket.on('error', ignore);
    socket.on('readable', this.#pump);
    for (const event of ['end', 'close', 'error']) socket.on(event, this.#end);
    if (socket.destroyed || socket.readableEnded) this.#end();
  }

  /** Bytes that have arrived and were not asked for yet. */
  get buffered(): number {
    this.#pump();
    return this.#length;
  }

  /** Aborted when the peer has closed or the connection broke. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /**
   * The next `length` bytes; a view into what arrived where possible.
   *
   * @throws SallyportError `CONNECTION_LOST`; the signal's reason when that is a SallyportError, else `STARTUP_TIMEOUT`.
   */
  async readExactly(length: number, signal: AbortSignal): Promise<Buffer> {
    await this.#await(length, signal);
    return this.#take(length);
  }

  /** Like readExactly, into memory of its own; the bytes are wiped where they arrived, so the caller can wipe the last copy. */
  async readSecret(length: number, signal: AbortSignal): Promise<Buffer> {
    await this.#await(length, signal);
    const secret = Buffer.alloc(length);
    for (let filled = 0; filled < length;) {
      const piece = this.#take(Math.min(length - filled, this.#chunks[0]?.length ?? 0));
      piece.copy(secret, filled);
      piece.fill(0);
      filled += piece.length;
    }
    return secret;
  }

  /** The next byte, left in place. */
  async peekByte(signal: AbortSignal): Promise<number> {
    await this.#await(1, signal);
    return this.#chunks[0]?.[0] ?? 0;
  }

  /** Ends the reader: it touches the socket no more. @returns what was read ahead, in order. */
  takeBuffered(): Buffer {
    this.#socket.off('readable', this.#pump);
    for (const event of ['end', 'close', 'error']) this.#socket.off(event, this.#end);
    const rest = this.#length === 0 ? Buffer.alloc(0) : this.#take(this.#length);
    return rest;
  }

  async #await(length: number, signal: AbortSignal): Promise<void> {
    this.#wanted = length;
    for (;;) {
      this.#pump();
      if (this.#length >= length) return;
      if (signal.aborted) throw reasonOf(signal);
      if (this.#gone.signal.aborted) throw new SallyportError('CONNECTION_LOST');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener('abort', this.#wakeUp, { once: true });
      });
      signal.removeEventListener('abort', this.#wakeUp);
    }
  }

  readonly #pump = (): void => {
    const limit = Math.max(readAheadBytes, this.#wanted);
    while (this.#length < limit) {
      const chunk = this.#socket.read() as Buffer | null;
      if (chunk === null) break;
      this.#chunks.push(chunk);
      this.#length += chunk.length;
    }
    this.#wakeUp();
  };

  readonly #end = (): void => {
    this.#gone.abort();
    this.#wakeUp();
  };

  readonly #wakeUp = (): void => {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  };

  #take(length: number): Buffer {
    const head = this.#chunks[0];
    this.#length -= length;
    if (head && head.length > length) {
      this.#chunks[0] = head.subarray(length);
      return head.subarray(0, length);
    }
    if (head && head.length === length) {
      this.#chunks.shift();
      return head;
    }
    const whole = Buffer.concat(this.#chunks);
    this.#chunks = whole.length > length ? [whole.subarray(length)] : [];
    return whole.subarray(0, length);
  }
}

function reasonOf(signal: AbortSignal): SallyportError {
  return signal.reason instanceof SallyportError ? signal.reason : new SallyportError('STARTUP_TIMEOUT');
}

function ignore(): void {
  // The `error` event is also seen as `gone`; what broke is of no use to anyone here.
}
