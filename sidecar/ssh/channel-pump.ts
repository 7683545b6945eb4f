import type { Readable, Writable } from 'node:stream';

/**
 * Writes bytes and waits until there is room for more, or the stream is over. Never rejects: what is written to a closed stream is lost, as it is on a wire.
 */
export async function writeTo(stream: Writable, bytes: Uint8Array): Promise<void> {
  if (stream.destroyed || stream.writableEnded || stream.write(bytes)) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      for (const event of ['drain', 'close', 'error', 'finish']) stream.off(event, done);
      resolve();
    };
    for (const event of ['drain', 'close', 'error', 'finish']) stream.on(event, done);
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
      else await more;
    }
  } finally {
    stop.removeEventListener('abort', onReadable);
    stream.off('readable', onReadable).off('end', onEnd).off('close', onEnd).off('error', onEnd);
  }
}
