import type { Socket } from 'node:net';
import { duplexPair } from 'node:stream';

/** Two ends of a connection in memory, with back-pressure like a socket's; both look like a socket from loopback. */
export function memorySockets(): readonly [Socket, Socket] {
  const [left, right] = duplexPair({ highWaterMark: 65_536 });
  for (const end of [left, right]) {
    Object.assign(end, { remoteAddress: '127.0.0.1', remotePort: 40_000 });
    end.on('error', () => undefined);
  }
  return [left as unknown as Socket, right as unknown as Socket];
}
