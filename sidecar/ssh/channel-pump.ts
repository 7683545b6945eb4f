import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';

/** How often a writer that waits for room looks whether the other side is still there. */
const lookMs = 500;

/**
 * Writes bytes and waits until there is room for more, or the stream is over. Never rejects: what is written to a closed stream is lost, as it is on a wire.
 */
export async function writeTo(stream: Writable, bytes: Uint8Array): Promise<void> {
  if (!isOpen(stream)) return;
  const socket = (stream as Writable & { readonly _client?: { readonly _sock?: Socket } })._client?._sock;
  // ssh2 writes each packet by itself: those of one call go out together.
  socket?.cork();
  const hasRoom = stream.write(bytes);
  if (socket !== undefined) process.nextTick(() => socket.uncork());
  if (!hasRoom) await roomOrEnd(stream);
}

/** Waits until everything that was written has been sent, or the stream is over. */
export async function flushed(stream: Writable): Promise<void> {
  const empty = (): boolean => stream.writableLength === 0;
  while (isOpen(stream) && !empty()) {
    const sent = Promise.withResolvers<void>();
    stream.write(Buffer.alloc(0), () => sent.resolve());
    await Promise.race([sent.promise, roomOrEnd(stream)]);
  }
}

/** Says that no more comes, once all is sent; the other direction stays open. ssh2 closes a channel of its server side when it ends, so there only the end of data is said. */
export async function endOutput(stream: Writable): Promise<void> {
  await flushed(stream);
  const channel = stream as Writable & { readonly server?: boolean; eof?(): void };
  if (channel.server === true) channel.eof?.();
  else stream.end();
}

/** ssh2 neither destroys a closed channel nor calls back what was written to it. */
function isOpen(stream: Writable): boolean {
  const channel = stream as Writable & { readonly outgoing?: { readonly state: string }; readonly _channel?: { readonly outgoing: { readonly state: string } } };
  const state = (channel.outgoing ?? channel._channel?.outgoing)?.state;
  return !stream.destroyed && !stream.writableEnded && (state === undefined || state === 'open');
}

function roomOrEnd(stream: Writable): Promise<void> {
  return new Promise<void>((resolve) => {
    const events = ['drain', 'close', 'error', 'finish'] as const;
    const done = (): void => {
      clearInterval(timer);
      for (const event of events) stream.off(event, done);
      resolve();
    };
    // A channel that its peer closed raises `close` only after everything that it sent was read, and whoever should read may be waiting here.
    const timer = setInterval(() => { if (!isOpen(stream)) done(); }, lookMs);
    for (const event of events) stream.on(event, done);
  });
}

/**
 * Hands each chunk of a stream to `take`, one at a time, until the stream ends, closes or `stop` is aborted; the stream's window fills while `take` works. Resolves with whether it saw the
 * end of the data. Rejects with what `take` throws.
 */
export async function pump(stream: Readable, stop: AbortSignal, take: (chunk: Uint8Array) => Promise<void> | void): Promise<'ended' | 'stopped'> {
  let isEnded = stream.readableEnded || stream.destroyed;
  let wake = (): void => undefined;
  const onReadable = (): void => wake();
  const onEnd = (): void => {
    isEnded = true;
    wake();
  };
  stream.on('readable', onReadable).on('end', onEnd).on('close', onEnd).on('error', onEnd);
  stop.addEventListener('abort', onReadable);
  try {
    for (;;) {
      if (stop.aborted) return 'stopped';
      const more = new Promise<void>((resolve) => { wake = resolve; });
      const chunk = stream.read() as Uint8Array | null;
      if (chunk !== null) await take(chunk);
      else if (isEnded) return 'ended';
      else {
        await more;
        // What one turn of the event loop brings is taken together: fewer and fuller packets leave.
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  } finally {
    stop.removeEventListener('abort', onReadable);
    stream.off('readable', onReadable).off('end', onEnd).off('close', onEnd).off('error', onEnd);
  }
}
