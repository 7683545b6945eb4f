import { randomBytes } from 'node:crypto';
import { connect as connectTcp, createServer as createTcpServer, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, expect, test } from '@jest/globals';
import { createPeerClient, type PeerOptions, type PeerServer, peerLimits, servePeers } from '../../sidecar/adapters/cluster/peers.ts';
import { systemClock } from '../../runtime/clock.ts';
import { freePort } from '../hosts/postgres.ts';

const key = randomBytes(32);
const silent = { error: () => {}, info: () => {}, debug: () => {} };
const cancelKey = randomBytes(32);
const open: { close(): unknown }[] = [];

afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

/** A replica at a loopback address that holds the session of pid 7. */
async function replica(host: string, port: number, over: Partial<PeerOptions> = {}): Promise<{ readonly server: PeerServer; readonly asked: number[] }> {
  const asked: number[] = [];
  const server = await servePeers({
    ...options(port), ...over, host, port,
    onCancel: (pid, given) => {
      asked.push(pid);
      return pid === 7 && given.equals(cancelKey) ? 'cancelled' : 'unknown';
    },
  });
  open.push({ close: () => server[Symbol.asyncDispose]() });
  return { server, asked };
}

function options(port: number, addresses: readonly string[] = []): PeerOptions {
  return { namespace: 'payments', key, port, clock: systemClock(), log: silent, resolve: async () => addresses, own: () => new Set(['127.0.0.1']) };
}

async function timed(run: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await run();
  return performance.now() - startMs;
}

test('every other replica is asked once, this one is not, and the one that holds the session cancels it', async () => {
  const port = await freePort();
  const own = await replica('127.0.0.1', port);
  const others = [await replica('127.0.0.2', port), await replica('127.0.0.3', port)];
  const client = createPeerClient(options(port, ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.3']));
  await client.cancel(7, cancelKey);
  expect([own.asked, ...others.map(({ asked }) => asked)]).toEqual([[], [7], [7]]);
});

test('nobody without the key of the namespace is answered, and nobody without it is believed', async () => {
  const port = await freePort();
  const { asked } = await replica('127.0.0.2', port);
  await createPeerClient({ ...options(port, ['127.0.0.2']), key: randomBytes(32) }).cancel(7, cancelKey);
  await createPeerClient({ ...options(port, ['127.0.0.2']), namespace: 'billing' }).cancel(7, cancelKey);
  const plain = await new Promise<string>((resolve) => {
    const socket = connectTls({ host: '127.0.0.2', port, rejectUnauthorized: false }, () => resolve('connected'));
    socket.on('error', () => resolve('refused'));
  });
  expect([asked, plain]).toEqual([[], 'refused']);
});

test('what was recorded of one connection cancels nothing when it is sent again', async () => {
  const port = await freePort();
  const { asked } = await replica('127.0.0.2', port);
  const recorded: Buffer[] = [];
  const tap = createTcpServer((socket) => {
    const upstream = connectTcp(port, '127.0.0.2');
    socket.on('data', (chunk) => void recorded.push(chunk));
    for (const end of [socket, upstream]) end.on('error', () => end.destroy());
    socket.pipe(upstream).pipe(socket);
  });
  await new Promise<void>((resolve) => tap.listen(port, '127.0.0.4', resolve));
  open.push({ close: () => tap.close() });
  await createPeerClient(options(port, ['127.0.0.4'])).cancel(7, cancelKey);
  expect([asked, recorded.length > 0]).toEqual([[7], true]);
  expect(Buffer.concat(recorded).includes(cancelKey)).toBe(false);

  const socket: Socket = connectTcp(port, '127.0.0.2');
  await new Promise<void>((resolve) => {
    socket.on('close', resolve);
    socket.on('error', () => resolve());
    for (const chunk of recorded) socket.write(chunk);
    socket.resume();
  });
  expect(asked).toEqual([7]);
});

test('a replica that hangs delays nobody for longer than a second, and one that is gone for no time at all', async () => {
  const port = await freePort();
  const sockets = new Set<Socket>();
  const hanging = createTcpServer((socket) => void sockets.add(socket.on('error', () => {})));
  await new Promise<void>((resolve) => hanging.listen(port, '127.0.0.5', resolve));
  open.push({ close: () => { for (const socket of sockets) socket.destroy(); hanging.close(); } });
  expect(await timed(() => createPeerClient(options(port, ['127.0.0.5'])).cancel(7, cancelKey))).toBeLessThan(peerLimits.timeoutMs + 700);
  expect(await timed(() => createPeerClient(options(port, ['127.0.0.6'])).cancel(7, cancelKey))).toBeLessThan(500);
  // The one that answers ends the wait for the one that hangs.
  const { asked } = await replica('127.0.0.7', port);
  expect(await timed(() => createPeerClient(options(port, ['127.0.0.5', '127.0.0.7'])).cancel(7, cancelKey))).toBeLessThan(900);
  expect(asked).toEqual([7]);
});

test('whoever connects and says nothing, or nonsense, is cut off within a second or so, and the server goes on', async () => {
  const port = await freePort();
  const { asked } = await replica('127.0.0.2', port);
  const cut = await Promise.all(['', 'GET / HTTP/1.1\r\n\r\n'].map((text) => timed(() => new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.2', () => void socket.write(text));
    socket.on('error', () => {});
    socket.on('close', () => resolve());
    socket.resume();
  }))));
  expect(Math.max(...cut)).toBeLessThan(peerLimits.timeoutMs + 1_500);
  await createPeerClient(options(port, ['127.0.0.2'])).cancel(7, cancelKey);
  expect(asked).toEqual([7]);
});

test('DNS that does not answer costs a second at most; at most fifty asks a second leave this replica', async () => {
  const port = await freePort();
  const { asked } = await replica('127.0.0.2', port);
  expect(await timed(() => createPeerClient({ ...options(port), resolve: () => new Promise(() => {}) }).cancel(7, cancelKey))).toBeLessThan(peerLimits.timeoutMs + 700);
  await createPeerClient({ ...options(port), resolve: async () => { throw new Error('no such name'); } }).cancel(7, cancelKey);
  const client = createPeerClient({ ...options(port, ['127.0.0.2']), clock: { now: () => 0, monotonicMs: () => 5_000 } });
  await Promise.all(Array.from({ length: 60 }, () => client.cancel(8, cancelKey)));
  // On a busy machine some that left give up before they arrive; none of the ten above the limit may.
  expect(asked.length).toBeLessThanOrEqual(peerLimits.asksPerSecond);
  expect(asked.length).toBeGreaterThan(peerLimits.asksPerSecond / 2);
});
