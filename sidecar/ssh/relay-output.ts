import type { Readable, Writable } from 'node:stream';

/** Bytes that may wait for the user before the target is no longer read. */
const highWater = 512 * 1024;
const lowWater = 128 * 1024;

/** One stream on its way from the target to the user. */
export interface OutputRelay {
  /** Settles once the source is at its end and everything was handed on, or `close` was called. Rejects with what `transform` throws. */
  readonly done: Promise<void>;
  /** Bytes that the user's side has been given. */
  bytes(): number;
  /** Adds bytes of its own accord: what `transform` held back. */
  push(bytes: Uint8Array): void;
  /** Nothing more goes to the user: what comes is read and dropped, so that the target is not stalled. */
  close(): void;
}

/**
 * Relays a stream: `transform` sees each chunk and answers what goes on; `last` what is left at the end. Back-pressure both ways with a bounded buffer.
 * Never waits for `drain`: ssh2's writers answer each chunk in its callback, once the window has taken it.
 */
export function relayOutput(source: Readable, sink: Writable, transform: (chunk: Uint8Array) => Uint8Array, last: () => Uint8Array): OutputRelay {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let [pending, sent] = [0, 0];
  let [ended, closed] = [false, false];
  const settle = (): void => {
    if (closed || (ended && pending === 0)) resolve();
  };
  const close = (): void => {
    closed = true;
    source.resume();
    resolve();
  };
  const fail = (error: unknown): void => {
    reject(error);
    close();
  };
  const write = (bytes: Uint8Array): void => {
    if (bytes.length === 0 || closed) return;
    if (sink.destroyed || sink.writableEnded) return close();
    pending += bytes.length;
    sent += bytes.length;
    if (pending > highWater) source.pause();
    sink.write(bytes, () => {
      pending -= bytes.length;
      if (pending < lowWater && source.isPaused()) source.resume();
      settle();
    });
  };
  source.on('data', (chunk: Uint8Array) => {
    if (closed) return;
    try {
      write(transform(chunk));
    } catch (error) {
      fail(error);
    }
  });
  source.once('end', () => {
    try {
      if (!closed) write(last());
    } catch (error) {
      return fail(error);
    }
    ended = true;
    settle();
  });
  return { done: promise, bytes: () => sent, push: write, close };
}
