import { PassThrough, type Readable } from 'node:stream';

/** What comes from the user's terminal, and who gets it now: the prompt, a watcher while a command runs, or a program that has the terminal. */
export interface TypedInput {
  /** The next bytes, in order; null once the input is at its end or `signal` aborted. */
  read(signal: AbortSignal): Promise<Uint8Array | null>;
  /** Gives back what was read too much. */
  unread(bytes: Uint8Array): void;
  /** From now on the watcher sees each chunk as it comes; what it returns is kept for the prompt. Ends with the returned function. */
  watch(watcher: (chunk: Uint8Array) => Uint8Array): () => void;
  /** From now on all bytes are the program's, those that wait included; nothing is kept for the prompt. `end` gives the input back. `tap` sees each chunk too. */
  lend(tap?: (chunk: Uint8Array) => void): { readonly stream: Readable; readonly end: () => void };
  /** Forgets what waits. `paste`: a bracketed paste is open, and what still comes of it is forgotten too. */
  drop(paste: boolean): void;
}

/** Most bytes that wait for the prompt; above, reading stops and the window stalls the client. */
const limitBytes = 64 * 1024;
const pasteEnd = Buffer.from('\x1b[201~');

/** Takes over a channel's input. `fail` hears of a fault of ours: a listener never throws into the connection. */
export function openTypedInput(source: Readable, fail: (error: unknown) => void): TypedInput {
  let waiting: Buffer = Buffer.alloc(0);
  let ended = false;
  let skipping: Buffer | null = null;
  let watcher: ((chunk: Uint8Array) => Uint8Array) | null = null;
  let lent: PassThrough | null = null;
  let lentTap: (chunk: Uint8Array) => void = () => undefined;
  let wake: () => void = () => undefined;

  const keep = (bytes: Uint8Array): void => {
    if (bytes.length > 0) waiting = Buffer.concat([waiting, bytes]);
    // While a command runs, Ctrl-C must still be seen: reading goes on, and what is too much is forgotten.
    if (watcher !== null && waiting.length > limitBytes) waiting = waiting.subarray(0, limitBytes);
    else if (waiting.length > limitBytes) source.pause();
    wake();
  };
  const take = (data: Uint8Array): void => {
    let chunk: Buffer = Buffer.from(data);
    if (skipping !== null) {
      const seen: Buffer = Buffer.concat([skipping, chunk]);
      const end = seen.indexOf(pasteEnd);
      skipping = end === -1 ? Buffer.from(seen.subarray(-(pasteEnd.length - 1))) : null;
      if (end === -1) return;
      chunk = seen.subarray(end + pasteEnd.length);
    }
    if (lent !== null) {
      lentTap(chunk);
      if (!lent.write(chunk)) source.pause();
      return;
    }
    keep(watcher === null ? chunk : watcher(chunk));
  };
  const guard = (run: () => void) => (): void => {
    try {
      run();
    } catch (error) {
      fail(error);
    }
  };
  source.on('data', (data: Uint8Array) => guard(() => take(data))());
  const finish = guard(() => {
    ended = true;
    lent?.end();
    wake();
  });
  source.on('end', finish);
  source.on('close', finish);

  return {
    read: async (signal) => {
      while (waiting.length === 0 && !ended && !signal.aborted) {
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
        await promise;
      }
      if (signal.aborted || waiting.length === 0) return null;
      const bytes = waiting;
      waiting = Buffer.alloc(0);
      source.resume();
      return bytes;
    },
    unread: (bytes) => {
      if (bytes.length > 0) waiting = Buffer.concat([bytes, waiting]);
    },
    watch: (next) => {
      watcher = next;
      source.resume();
      return () => {
        watcher = null;
      };
    },
    lend: (tap = () => undefined) => {
      const stream = new PassThrough();
      lent = stream;
      lentTap = tap;
      stream.on('drain', () => source.resume());
      stream.on('error', () => undefined);
      if (waiting.length > 0) {
        tap(waiting);
        stream.write(waiting);
      }
      waiting = Buffer.alloc(0);
      source.resume();
      if (ended) stream.end();
      return {
        stream,
        end: () => {
          lent = null;
          stream.destroy();
          source.resume();
        },
      };
    },
    drop: (paste) => {
      const end = paste ? waiting.indexOf(pasteEnd) : -1;
      if (paste) skipping = end === -1 ? Buffer.from(waiting.subarray(-(pasteEnd.length - 1))) : null;
      waiting = end === -1 ? Buffer.alloc(0) : waiting.subarray(end + pasteEnd.length);
      source.resume();
    },
  };
}
