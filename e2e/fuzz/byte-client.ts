import type { Socket } from 'node:net';
import { connectSocket, cstring, type Frame, int32, message, type RawTarget } from '../leaks/raw-client.ts';

/** A session that sends any bytes and keeps every frame that comes, without judging them. */
export interface ByteClient {
  readonly socket: Socket;
  readonly frames: readonly Frame[];
  readonly closed: boolean;
  /** Resolves when `until` is true of what has come, when the peer has closed, or (false) when the time is over. */
  wait(until: (frames: readonly Frame[]) => boolean, limitMs: number): Promise<boolean>;
  destroy(): void;
}

/** Connects, logs in and waits for the first ReadyForQuery (or the end). */
export async function openByteClient(target: RawTarget, limitMs = 20_000): Promise<ByteClient> {
  const client = readFrames(await connectSocket(target));
  const pairs = { user: target.user, database: target.database, client_encoding: 'UTF8', ...target.parameters };
  const body = Buffer.concat([Buffer.from([0, 3, 0, 0]), ...Object.entries(pairs).map(([name, value]) => Buffer.from(`${name}\0${value}\0`)), Buffer.of(0)]);
  client.socket.write(Buffer.concat([int32(body.length + 4), body]));
  await client.wait((frames) => frames.some(({ type }) => type === 'R' || type === 'E'), limitMs);
  const asked = client.frames.find(({ type }) => type === 'R');
  if (asked?.body.readInt32BE(0) === 3) client.socket.write(message('p', cstring(target.password)));
  if (!(await client.wait((frames) => frames.some(({ type }) => type === 'Z'), limitMs)) || client.closed) throw new Error(`no session: ${client.frames.map(({ type, body: bytes }) => `${type} ${bytes.toString('latin1')}`).join(' ')}`);
  return client;
}

/** Cuts what a socket receives into frames. */
export function readFrames(socket: Socket): ByteClient {
  const frames: Frame[] = [];
  let pending: Buffer = Buffer.alloc(0);
  let closed = false;
  let wake: () => void = () => undefined;
  socket.on('data', (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (pending.length >= 5) {
      const length = pending.readUInt32BE(1);
      if (pending.length < length + 1) break;
      frames.push({ type: String.fromCharCode(pending[0] as number), body: Buffer.from(pending.subarray(5, length + 1)) });
      pending = pending.subarray(length + 1);
    }
    wake();
  });
  socket.on('error', () => undefined);
  const end = (): void => {
    closed = true;
    wake();
  };
  socket.once('end', end);
  socket.once('close', end);
  return {
    socket, frames,
    get closed() { return closed; },
    wait: async (until, limitMs) => {
      const deadline = performance.now() + limitMs;
      for (;;) {
        if (closed || until(frames)) return true;
        const left = deadline - performance.now();
        if (left <= 0) return false;
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, left);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    },
    destroy: () => { socket.destroy(); },
  };
}
