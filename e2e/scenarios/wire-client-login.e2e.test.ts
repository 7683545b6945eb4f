import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, createSecureContext, connect as connectTls, type TLSSocket } from 'node:tls';

import { deny } from '../../sidecar/core/errors.ts';
import { CancelKeys } from '../../sidecar/postgres/cancel-keys.ts';
import { PostgresClientPort } from '../../sidecar/postgres/client-port.ts';
import type { Admission } from '../../sidecar/core/session/admission.ts';
import { type Listener, startListener, UnauthenticatedLimit } from '../../sidecar/listener.ts';
import { readStartup, type Startup, type StartupSession } from '../../sidecar/postgres/startup.ts';
import { cancelRequest, commandComplete, passwordMessage, readyForQuery, sslRequest, startupMessage } from '../../sidecar/postgres/wire/frame-writer.ts';
import { createAuthority } from '../hosts/certificates.ts';
import { systemBinDirectory } from '../hosts/postgres.ts';
import { dialPlain, inPieces, newestLibpqDirectory, readBytes, readToEnd, run } from '../hosts/wire.ts';

/** What the gateway saw of each connection, newest last. */
const seen: { startup: Startup; token: string | null }[] = [];
const directory = mkdtempSync(join(tmpdir(), 'sp-wire-'));
const keys = new CancelKeys({ now: Date.now, monotonicMs: () => performance.now() });
const limit = new UnauthenticatedLimit();
const logged: string[] = [];
const log = { error: (message: string, fields?: object) => logged.push(`${message} ${JSON.stringify(fields)}`), info: () => undefined, debug: () => undefined };
let listener: Listener;
let plainListener: Listener;
let ca = '';

beforeAll(async () => {
  const authority = await createAuthority();
  const pair = await authority.issue({ commonName: 'gateway', dnsNames: ['localhost'], ips: ['127.0.0.1'] });
  ca = authority.ca;
  writeFileSync(join(directory, 'ca.crt'), ca);
  const context = createSecureContext({ cert: pair.certificate, key: pair.key });
  listener = await startListener({ host: '127.0.0.1', port: 0, limit, log, onConnection: (socket, admission) => serve(socket, admission, { tls: { secureContext: () => context }, allowPlaintextLoopback: false }) });
  plainListener = await startListener({ host: '127.0.0.1', port: 0, limit, log, onConnection: (socket, admission) => serve(socket, admission, { tls: null, allowPlaintextLoopback: true }) });
});

afterAll(async () => {
  await Promise.all([listener.close(), plainListener.close()]);
  rmSync(directory, { recursive: true });
  expect(logged).toEqual([]);
});

/** A gateway that takes any token but `bad`, and answers every query with nothing. */
async function serve(socket: Socket, admission: Admission, tls: { readonly tls: Parameters<typeof readStartup>[1]['tls']; readonly allowPlaintextLoopback: boolean }): Promise<void> {
  const startup = await readStartup(socket, { ...tls, signal: admission.signal });
  const entry = { startup, token: null as string | null };
  seen.push(entry);
  if (startup.kind === 'cancel') {
    keys.cancel(startup.pid, startup.key, startup.remote.ip);
    socket.destroy();
  } else if (startup.kind === 'session') {
    const port = new PostgresClientPort(startup);
    try {
      const answer = await port.askForToken(admission.signal);
      if (answer.outcome === 'denied') return await port.deny(answer.denial);
      entry.token = answer.token.toString();
      if (entry.token === 'bad') return await port.deny(deny('TOKEN_SIGNATURE_INVALID'));
    } catch (error) {
      return await port.deny(deny((error as { code: 'PROTOCOL_VIOLATION' }).code));
    }
    await answerQueries(startup, port, admission);
  }
}

async function answerQueries(startup: StartupSession, port: PostgresClientPort, admission: Admission): Promise<void> {
  const issued = keys.issue(startup.protocolMinor === 2 ? 32 : 4, () => startup.socket.write(Buffer.concat([commandComplete('CANCELLED'), readyForQuery('I')])));
  port.ready(new Map([['server_version', '18.4'], ['client_encoding', 'UTF8'], ['session_authorization', 'injected']]), issued);
  admission.admitted();
  startup.socket.unshift(startup.reader.takeBuffered());
  startup.socket.on('data', (chunk: Buffer) => {
    // psql sends one Query per chunk here; a pg_sleep is answered by its cancel only.
    if (chunk[0] === 0x51 && !chunk.includes('pg_sleep')) startup.socket.write(Buffer.concat([commandComplete('SELECT 0'), readyForQuery('I')]));
  });
  await new Promise<void>((resolve) => startup.socket.once('close', () => resolve()));
  issued.remove();
}

const login = startupMessage(0, [['user', 'alice'], ['database', 'shop'], ['application_name', 'byhand']]);
const fatal = /^E.{4}SFATAL\0VFATAL\0C([0-9A-Z]{5})\0M[^\0]*\[([A-Z_]+)\]/s;

/** Code and SQLSTATE of the error that the bytes are, or the bytes as text. */
function wordOf(bytes: Buffer): string {
  const match = fatal.exec(bytes.toString('latin1'));
  return match ? `${match[1]} ${match[2]}` : JSON.stringify(bytes.toString('latin1'));
}

function tlsOver(socket: Duplex, options: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secured = connectTls({ socket, ca, servername: 'localhost', ...options });
    secured.once('secureConnect', () => resolve(secured));
    secured.once('error', reject);
    secured.once('close', () => reject(new Error('closed')));
  });
}

/** Sends a StartupMessage and a token, and returns what came up to ReadyForQuery. */
async function logIn(socket: Duplex, message = login, token = 'tok'): Promise<string> {
  socket.write(message);
  const received: Buffer[] = [];
  for (;;) {
    const header = await readBytes(socket, 5);
    const body = header.readUInt32BE(1) > 4 ? await readBytes(socket, header.readUInt32BE(1) - 4) : Buffer.alloc(0);
    const type = String.fromCharCode(header[0] ?? 0);
    received.push(Buffer.concat([Buffer.from(type), body]));
    if (type === 'R' && body.readUInt32BE(0) === 3) socket.write(passwordMessage(Buffer.from(token)));
    if (type === 'Z' || type === 'E') return Buffer.concat(received).toString('latin1');
  }
}

describe('psql', () => {
  const psql = join(systemBinDirectory() ?? '/usr/bin', 'psql');
  const target = (settings: string): string[] => [`host=localhost port=${listener.port} user=alice dbname=shop sslrootcert=${join(directory, 'ca.crt')} ${settings}`, '-Xc', 'select 1'];

  test('connects over verified TLS with a token of 12,000 bytes from PGPASSWORD', async () => {
    const token = 'a'.repeat(12_000);
    await expect(run(psql, target('sslmode=verify-full'), { PGPASSWORD: token })).resolves.toEqual({ code: 0, out: 'SELECT 0\n', err: '' });
    const last = seen.at(-1);
    expect([last?.token, last?.startup]).toMatchObject([token, { kind: 'session', user: 'alice', database: 'shop', applicationName: 'psql', protocolMinor: 0, tls: { version: 'TLSv1.3' }, remote: { ip: '127.0.0.1' } }]);
  });

  test('connects with a token of 12,000 bytes from .pgpass', async () => {
    const [token, file] = ['b'.repeat(12_000), join(directory, 'pgpass')];
    writeFileSync(file, `localhost:*:*:alice:${token}\n`);
    chmodSync(file, 0o600);
    await expect(run(psql, target('sslmode=verify-full'), { PGPASSFILE: file })).resolves.toMatchObject({ code: 0 });
    expect(seen.at(-1)?.token).toBe(token);
  });

  test('with libpq 18 connects by direct TLS and protocol 3.2', async () => {
    const settings = 'sslmode=verify-full sslnegotiation=direct max_protocol_version=latest require_auth=password';
    await expect(run(psql, target(settings), { PGPASSWORD: 'tok', LD_LIBRARY_PATH: newestLibpqDirectory() })).resolves.toMatchObject({ code: 0, out: 'SELECT 0\n' });
    expect(seen.at(-1)?.startup).toMatchObject({ kind: 'session', protocolMinor: 2 });
  });

  test('without TLS is refused before it is asked for the token', async () => {
    const result = await run(psql, target('sslmode=disable'), { PGPASSWORD: 'tok' });
    expect(result.err).toContain('FATAL:  this connection is not encrypted [TLS_REQUIRED]');
    expect(seen.at(-1)).toMatchObject({ startup: { kind: 'closed', code: 'TLS_REQUIRED' }, token: null });
  });

  test('with a token that does not verify sees code and remedy', async () => {
    const result = await run(psql, target('sslmode=verify-full'), { PGPASSWORD: 'bad' });
    expect(result).toMatchObject({ code: 2, err: expect.stringMatching(/FATAL: {2}the signature of the token does not verify \[TOKEN_SIGNATURE_INVALID\]\nHINT: {2}fetch a new token/) });
  });

  test('with a token in the place of the user is refused, and nothing repeats it', async () => {
    const jwt = `eyJhbGciOiJSUzI1NiJ9.${'c'.repeat(40)}.${'d'.repeat(40)}`;
    const result = await run(psql, [`host=localhost port=${listener.port} user=${jwt} dbname=shop sslmode=require`, '-Xc', 'select 1'], { PGPASSWORD: 'tok' });
    expect(result.err).toContain('a token stands where a name belongs [STARTUP_PARAMETER_REFUSED]');
    expect(`${result.err}${JSON.stringify(seen.at(-1))}`).not.toContain(jwt);
  });
});

describe('the first bytes', () => {
  const gss = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30]);
  const length = (value: number, rest: Buffer): Buffer => {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(value);
    return Buffer.concat([head, rest]);
  };

  test.each([
    ['SSLRequest with a byte behind it in one segment', Buffer.concat([sslRequest(), Buffer.from('x')]), '""'],
    ['SSLRequest with a StartupMessage behind it', Buffer.concat([sslRequest(), login]), '""'],
    ['SSLRequest of nine bytes', length(9, Buffer.concat([sslRequest().subarray(4), Buffer.from([0])])), '""'],
    ['a StartupMessage in plaintext', login, '28000 TLS_REQUIRED'],
    ['GSSENCRequest and then a StartupMessage in plaintext behind it', Buffer.concat([gss, login]), '""'],
    ['a length of 0', length(0, Buffer.alloc(8)), '08P01 PROTOCOL_VIOLATION'],
    ['a length of 3', length(3, Buffer.alloc(8)), '08P01 PROTOCOL_VIOLATION'],
    ['a length of 7', length(7, Buffer.alloc(8)), '08P01 PROTOCOL_VIOLATION'],
    ['a length of 8 with version 3.0', length(8, Buffer.from([0, 3, 0, 0])), '08P01 PROTOCOL_VIOLATION'],
    ['a length of 10,001', length(10_001, Buffer.alloc(100)), '08P01 PROTOCOL_VIOLATION'],
    ['a length of 2^31 - 1', length(0x7fff_ffff, Buffer.alloc(100)), '08P01 PROTOCOL_VIOLATION'],
    ['a length of 2^31', length(0x8000_0000, Buffer.alloc(100)), '08P01 PROTOCOL_VIOLATION'],
    ['a length of 2^32 - 1', length(0xffff_ffff, Buffer.alloc(100)), '08P01 PROTOCOL_VIOLATION'],
    ['protocol 4.0', length(9, Buffer.from([0, 4, 0, 0, 0])), '0A000 PROTOCOL_UNSUPPORTED'],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), '08P01 PROTOCOL_VIOLATION'],
    ['a CancelRequest without a whole key', length(15, Buffer.from([4, 0xd2, 0x16, 0x2e, 0, 0, 0, 1, 0, 0, 0])), '08P01 PROTOCOL_VIOLATION'],
    ['a CancelRequest with a key of 257 bytes', cancelRequest(1, Buffer.alloc(257)), '08P01 PROTOCOL_VIOLATION'],
    ['a CancelRequest with a key that fits nobody', cancelRequest(1, Buffer.alloc(256)), '""'],
    ['TLS by SSLRequest that is then not spoken', Buffer.concat([sslRequest().subarray(0, 4)]), '""'],
  ])('%s', async (_, bytes, answer) => {
    const socket = await dialPlain(listener.port);
    const all = readToEnd(socket);
    if (bytes.length === 4) socket.end(bytes);
    else socket.write(bytes);
    expect(wordOf(await all)).toBe(answer);
  });

  test('GSSENCRequest gets N, SSLRequest S, a second SSLRequest inside TLS N, and the login goes on', async () => {
    const socket = await dialPlain(listener.port);
    socket.write(gss);
    expect((await readBytes(socket, 1)).toString()).toBe('N');
    socket.write(sslRequest());
    expect((await readBytes(socket, 1)).toString()).toBe('S');
    const secured = await tlsOver(socket);
    for (const request of [sslRequest(), gss]) {
      secured.write(request);
      expect((await readBytes(secured, 1)).toString()).toBe('N');
    }
    expect(await logIn(secured)).toMatch(/^R\0\0\0\x03R\0\0\0\0.*ZI$/s);
    secured.destroy();
  });

  test('requests for encryption without end are not answered without end', async () => {
    const socket = await dialPlain(listener.port);
    for (let i = 0; i < 5; i++) {
      socket.write(gss);
      expect((await readBytes(socket, 1)).toString()).toBe('N');
    }
    expect(wordOf(await readToEnd(socket))).toBe('08P01 PROTOCOL_VIOLATION');
  });

  test('plaintext in place of the handshake after S gets no answer', async () => {
    const socket = await dialPlain(listener.port);
    socket.write(sslRequest());
    expect((await readBytes(socket, 1)).toString()).toBe('S');
    socket.write(login);
    const answer = await readToEnd(socket);
    // At most a TLS alert.
    expect(answer.toString('latin1')).not.toMatch(/SFATAL|^R/);
    expect(seen.at(-1)).toMatchObject({ startup: { kind: 'closed' }, token: null });
  });

  test.each([
    ['postgresql', { ALPNProtocols: ['postgresql'] }, true],
    ['http/1.1', { ALPNProtocols: ['http/1.1'] }, false],
    ['nothing', {}, false],
  ])('direct TLS with ALPN %s', async (_, options, works) => {
    const secured = tlsOver(await dialPlain(listener.port), options);
    if (works) expect(await logIn(await secured)).toMatch(/ZI$/);
    else await expect(secured.then((socket) => logIn(socket))).rejects.toThrow();
    (await secured.catch(() => null))?.destroy();
  });

  test.each([1, 7])('direct TLS in segments of %d bytes is the same TLS', async (bytesPerPiece) => {
    const socket = await dialPlain(listener.port);
    const secured = await tlsOver(inPieces(socket, bytesPerPiece), { ALPNProtocols: ['postgresql'] });
    expect(await logIn(secured)).toMatch(/ZI$/);
    secured.destroy();
  });

  test('a client that asks for 3.9 with an option we do not know is told, and works with a key of 32 bytes', async () => {
    const message = startupMessage(9, [['user', 'alice'], ['database', 'shop'], ['_pq_.x', '1']]);
    const socket = await tlsOver(await dialPlain(listener.port), { ALPNProtocols: ['postgresql'] });
    const received = await logIn(socket, message);
    expect(received).toMatch(/^v\0\x03\0\x02\0\0\0\x01_pq_\.x\0R/);
    expect(/K(.{36})Z/s.test(received)).toBe(true);
    socket.destroy();
  });

  test('of a login split at every offset give the same answer', async () => {
    const bytes = Buffer.concat([login, passwordMessage(Buffer.from('tok'))]);
    for (let at = 1; at < bytes.length; at++) {
      const socket = await dialPlain(plainListener.port);
      socket.write(bytes.subarray(0, at));
      await new Promise<void>((resolve) => setImmediate(resolve));
      socket.write(bytes.subarray(at));
      const answer = await readBytes(socket, 18);
      expect([at, answer.toString('latin1')]).toEqual([at, 'R\0\0\0\x08\0\0\0\x03R\0\0\0\x08\0\0\0\0']);
      socket.destroy();
    }
  });

  test('a second StartupMessage where the token belongs ends the connection', async () => {
    const socket = await dialPlain(plainListener.port);
    socket.write(Buffer.concat([login, login]));
    expect(wordOf((await readToEnd(socket)).subarray(9))).toBe('08P01 PROTOCOL_VIOLATION');
  });
});

describe('a CancelRequest', () => {
  test.each([['in plaintext'], ['over TLS']])('%s with the key of a session cancels it, with another key it does nothing', async (way) => {
    const session = await dialPlain(plainListener.port);
    const received = await logIn(session);
    const key = Buffer.from(/K(.{8})Z/s.exec(received)?.[1] ?? '', 'latin1');
    session.write(Buffer.from('Q\0\0\0\x0dpg_sleep\0', 'latin1'));
    for (const bytes of [Buffer.from(key.subarray(4).map((byte) => byte ^ 1)), key.subarray(4)]) {
      const plain = await dialPlain(listener.port);
      const socket = way === 'over TLS' ? await tlsOver(plain, { ALPNProtocols: ['postgresql'] }) : plain;
      socket.write(cancelRequest(key.readUInt32BE(0), bytes));
      expect(await readToEnd(socket)).toEqual(Buffer.alloc(0));
    }
    // One answer, from the second request: the first did nothing.
    const answer = Buffer.concat([commandComplete('CANCELLED'), readyForQuery('I')]);
    expect(await readBytes(session, answer.length)).toEqual(answer);
    expect(session.read()).toBeNull();
    session.destroy();
  });
});

describe('the listener', () => {
  test('closes the eleventh silent connection of an address at once, and others get in without delay', async () => {
    const stalled = await Promise.all(Array.from({ length: 10 }, () => dialPlain(listener.port)));
    const eleventh = await dialPlain(listener.port).then(readToEnd, () => Buffer.alloc(0));
    expect(eleventh).toEqual(Buffer.alloc(0));
    const started = performance.now();
    const socket = await dialPlain(listener.port, '127.0.0.2');
    socket.write(sslRequest());
    expect((await readBytes(socket, 1)).toString()).toBe('S');
    expect(performance.now() - started).toBeLessThan(1_000);
    for (const one of [...stalled, socket]) one.destroy();
    while (limit.total > 0) await new Promise<void>((resolve) => setImmediate(resolve));
  });

  test('tells a client that says nothing that its time is over', async () => {
    const short = await startListener({ host: '127.0.0.1', port: 0, limit, log, loginMs: 50, onConnection: (socket, admission) => serve(socket, admission, { tls: null, allowPlaintextLoopback: true }) });
    expect(wordOf(await readToEnd(await dialPlain(short.port)))).toBe('57014 STARTUP_TIMEOUT');
    await short.close();
  });

  test('tells logins in progress that it closes, and lets sessions live', async () => {
    const closing = await startListener({ host: '127.0.0.1', port: 0, limit, log, onConnection: (socket, admission) => serve(socket, admission, { tls: null, allowPlaintextLoopback: true }) });
    const session = await dialPlain(closing.port);
    await logIn(session);
    const waiting = await dialPlain(closing.port);
    const all = readToEnd(waiting);
    waiting.write(login.subarray(0, 6));
    while (limit.total === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    await closing.close();
    expect(wordOf(await all)).toBe('57P03 DRAINING');
    session.write(Buffer.from('Q\0\0\0\x05\0', 'latin1'));
    expect((await readBytes(session, 1)).toString()).toBe('C');
    await expect(dialPlain(closing.port)).rejects.toThrow();
    session.destroy();
  });
});
