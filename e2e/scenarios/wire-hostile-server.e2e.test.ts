import { afterEach, describe, expect, test } from '@jest/globals';
import type { Socket } from 'node:net';

import { connectUpstream, type Upstream } from '../../sidecar/postgres/upstream.ts';
import { authenticationOk, backendKeyData, frame, negotiateProtocolVersion, parameterStatus, readyForQuery } from '../../sidecar/postgres/wire/frame-writer.ts';
import { encodeError, encodeNotice } from '../../sidecar/postgres/wire/error-response.ts';
import { aPermit, aTarget, readBytes, secretsOf, startScriptedServer } from '../hosts/wire.ts';

type Script = (socket: Socket, startup: Buffer) => Promise<void> | void;

const servers: Awaited<ReturnType<typeof startScriptedServer>>[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** Logs in to a server that reads the first packet and then follows the script. */
async function logInTo(script: Script, options: { readonly tls?: Parameters<typeof aTarget>[1]; readonly deadlineMs?: number; readonly signal?: AbortSignal } = {}): Promise<Upstream> {
  const server = await startScriptedServer((socket) => {
    void (async () => {
      const length = (await readBytes(socket, 4)).readUInt32BE(0);
      await script(socket, await readBytes(socket, length - 4));
    })().catch(() => undefined);
  });
  servers.push(server);
  const deps = {
    secrets: secretsOf({ username: 'app', password: 'pencil' }), clock: { now: Date.now, monotonicMs: () => performance.now() },
    signal: options.signal ?? new AbortController().signal, deadlineMs: options.deadlineMs ?? 5_000,
  };
  const target = aTarget(server.port, { host: '127.0.0.1', caSecret: null, mode: 'Disable', ...options.tls });
  return await connectUpstream(aPermit(target), { parameters: new Map([['client_encoding', 'UTF8']]), sessionId: 's1', username: 'alice' }, deps);
}

const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};
const ask = (kind: number, body: string | Buffer = ''): Buffer => frame('R', int32(kind), Buffer.from(body as string, 'latin1'));
const offer = ask(10, 'SCRAM-SHA-256\0\0');
const header = (type: string, length: number): Buffer => Buffer.concat([Buffer.from(type), Buffer.from([length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255])]);
const sound = ['server_version 18.4', 'integer_datetimes on', 'standard_conforming_strings on', 'client_encoding UTF8'].map((line) => parameterStatus(line.split(' ')[0] ?? '', line.split(' ')[1] ?? ''));
const greeting = (change: { statuses?: Buffer[]; keys?: Buffer[]; end?: Buffer } = {}): Buffer =>
  Buffer.concat([authenticationOk(), ...(change.statuses ?? sound), ...(change.keys ?? [backendKeyData(7, Buffer.alloc(4))]), change.end ?? readyForQuery('I')]);

/** Reads the client's SASLInitialResponse and gives its nonce. */
async function clientNonce(socket: Socket): Promise<string> {
  const message = await readMessage(socket);
  return /r=([^,]+)$/.exec(message.toString('latin1'))?.[1] ?? '';
}

async function readMessage(socket: Socket): Promise<Buffer> {
  return await readBytes(socket, (await readBytes(socket, 5)).readUInt32BE(1) - 4);
}

/** SCRAM up to the client's proof, with the server's first message made from the nonce. */
const scram = (first: (nonce: string) => string, then: Script = () => undefined): Script => async (socket, startup) => {
  socket.write(offer);
  socket.write(ask(11, first(await clientNonce(socket))));
  await readMessage(socket);
  await then(socket, startup);
};
const salt = 'W22ZaJ0SNY7soEsUEjb6gQ==';

describe('a server that is no PostgreSQL server', () => {
  test('is told from one that is: the control', async () => {
    await using upstream = await logInTo((socket) => { socket.write(Buffer.concat([greeting(), parameterStatus('TimeZone', 'UTC')])); });
    expect(upstream).toMatchObject({ status: 'I', processId: 7, leftover: parameterStatus('TimeZone', 'UTC') });
  });

  test.each<[string, Script, string]>([
    ['answers with HTTP', (socket) => { socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'); }, 'TARGET_PROTOCOL_VIOLATION'],
    ['closes', (socket) => { socket.end(); }, 'TARGET_UNREACHABLE'],
    ['closes inside a message', (socket) => { socket.end(header('R', 100)); }, 'TARGET_UNREACHABLE'],
    ['sends a length of 0', (socket) => { socket.write(header('R', 0)); }, 'TARGET_PROTOCOL_VIOLATION'],
    ['sends a length of 3', (socket) => { socket.write(header('R', 3)); }, 'TARGET_PROTOCOL_VIOLATION'],
    ['sends a length of 2^31', (socket) => { socket.write(header('R', 0x8000_0000)); }, 'TARGET_PROTOCOL_VIOLATION'],
    ['sends a length of 2^32 - 1', (socket) => { socket.write(header('E', 0xffff_ffff)); }, 'TARGET_PROTOCOL_VIOLATION'],
    ['sends an Authentication message of 8,193 bytes', (socket) => { socket.write(header('R', 8_193)); }, 'TARGET_PROTOCOL_VIOLATION'],
    ['sends an error of 30,001 bytes', (socket) => { socket.write(header('E', 30_001)); }, 'TARGET_PROTOCOL_VIOLATION'],
    ['sends a row before the login', (socket) => { socket.write(frame('D', Buffer.from([0, 0]))); }, 'TARGET_PROTOCOL_VIOLATION'],
    ['asks for GSSAPI', (socket) => { socket.write(ask(7)); }, 'TARGET_LOGIN_FAILED'],
    ['asks for SSPI', (socket) => { socket.write(ask(9)); }, 'TARGET_LOGIN_FAILED'],
    ['asks for Kerberos', (socket) => { socket.write(ask(2)); }, 'TARGET_LOGIN_FAILED'],
    ['asks for the password in cleartext without TLS', (socket) => { socket.write(ask(3)); }, 'TARGET_LOGIN_FAILED'],
    ['asks for an md5 without TLS', (socket) => { socket.write(ask(5, 'salt')); }, 'TARGET_LOGIN_FAILED'],
    ['offers mechanisms that we do not know', (socket) => { socket.write(ask(10, 'SCRAM-SHA-1\0OAUTHBEARER\0\0')); }, 'TARGET_LOGIN_FAILED'],
    ['offers SCRAM-SHA-256-PLUS only, without TLS', (socket) => { socket.write(ask(10, 'SCRAM-SHA-256-PLUS\0\0')); }, 'TARGET_LOGIN_FAILED'],
    ['negotiates the version that we did not ask to change', (socket) => { socket.write(negotiateProtocolVersion(0, [])); }, 'TARGET_PROTOCOL_VIOLATION'],
    ['sends an error without a SQLSTATE', (socket) => { socket.write(frame('E', Buffer.from('SFATAL\0\0', 'latin1'))); }, 'TARGET_LOGIN_FAILED'],
    ['sends an error that is not terminated', (socket) => { socket.write(frame('E', Buffer.from('SFATAL', 'latin1'))); }, 'TARGET_LOGIN_FAILED'],
    ['is starting up', (socket) => { socket.write(encodeError({ severity: 'FATAL', sqlstate: '57P03', message: 'x', detail: null, hint: null })); }, 'TARGET_UNREACHABLE'],
  ])('%s', async (_, script, code) => {
    await expect(logInTo(script)).rejects.toMatchObject({ name: 'SallyportError', code });
  });
});

describe('a server that does not know the password', () => {
  test.each<[string, Script]>([
    ['sends a nonce that is not ours', scram(() => `r=other-nonce-of-its-own,s=${salt},i=4096`)],
    ['sends our nonce back as it is', scram((nonce) => `r=${nonce},s=${salt},i=4096`)],
    ['sends a nonce of 5,000 bytes', scram((nonce) => `r=${nonce}${'a'.repeat(5_000)},s=${salt},i=4096`)],
    ['asks for 2^31 iterations', scram((nonce) => `r=${nonce}x,s=${salt},i=2147483648`)],
    ['asks for no iterations', scram((nonce) => `r=${nonce}x,s=${salt},i=0`)],
    ['sends no salt', scram((nonce) => `r=${nonce}x,s=,i=4096`)],
    ['says AuthenticationOk instead of its signature', scram((nonce) => `r=${nonce}x,s=${salt},i=4096`, (socket) => { socket.write(greeting()); })],
    ['says AuthenticationOk before the proof', async (socket) => { socket.write(offer); await clientNonce(socket); socket.write(greeting()); }],
    ['sends a wrong signature', scram((nonce) => `r=${nonce}x,s=${salt},i=4096`, (socket) => { socket.write(Buffer.concat([ask(12, `v=${Buffer.alloc(32).toString('base64')}`), greeting()])); })],
    ['sends an empty signature', scram((nonce) => `r=${nonce}x,s=${salt},i=4096`, (socket) => { socket.write(Buffer.concat([ask(12, 'v='), greeting()])); })],
    ['asks for the password in cleartext after SCRAM began', async (socket) => { socket.write(offer); await clientNonce(socket); socket.write(ask(3)); }],
  ])('%s: refused, and the password is not sent', async (_, script) => {
    const sent: Buffer[] = [];
    await expect(logInTo((socket, startup) => {
      socket.prependListener('data', (chunk: Buffer) => sent.push(chunk));
      socket.pause();
      return script(socket, startup);
    })).rejects.toMatchObject({ code: 'TARGET_LOGIN_FAILED' });
    expect([Buffer.concat(sent).includes('SCRAM-SHA-256'), Buffer.concat(sent).includes('pencil')]).toEqual([true, false]);
  });

  test('sends a nonce of 1 MB: not even read', async () => {
    await expect(logInTo(async (socket) => {
      socket.write(offer);
      socket.write(ask(11, `r=${await clientNonce(socket)}${'a'.repeat(1_000_000)},s=${salt},i=4096`));
    })).rejects.toMatchObject({ code: 'TARGET_PROTOCOL_VIOLATION' });
  });
});

describe('a server that floods', () => {
  const flood = (bytes: Buffer): Script => (socket) => {
    const many = Buffer.concat(Array.from({ length: 100 }, () => bytes));
    const write = (): void => {
      while (!socket.destroyed && socket.write(many));
    };
    socket.on('drain', write);
    write();
  };
  const notice = encodeNotice({ severity: 'NOTICE', sqlstate: '00000', message: 'x'.repeat(500), detail: null, hint: null });

  test.each<[string, Buffer, Buffer]>([
    ['notices before the login', Buffer.alloc(0), notice],
    ['notices after it', authenticationOk(), notice],
    ['one ParameterStatus again and again', authenticationOk(), parameterStatus('a', 'b')],
    ['long ParameterStatus', authenticationOk(), parameterStatus('a', 'b'.repeat(20_000))],
  ])('with %s is cut off, and memory does not grow', async (_, first, bytes) => {
    const before = process.memoryUsage().rss;
    await expect(logInTo((socket, startup) => { socket.write(first); return flood(bytes)(socket, startup); })).rejects.toMatchObject({ code: 'TARGET_PROTOCOL_VIOLATION' });
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1_048_576);
  });
});

describe('a server that says what we cannot rest on', () => {
  test.each<[string, Buffer, string]>([
    ['two cancel keys', greeting({ keys: [backendKeyData(7, Buffer.alloc(4)), backendKeyData(8, Buffer.alloc(4))] }), 'TARGET_PROTOCOL_VIOLATION'],
    ['a cancel key of 257 bytes', greeting({ keys: [backendKeyData(7, Buffer.alloc(257))] }), 'TARGET_PROTOCOL_VIOLATION'],
    ['no cancel key', greeting({ keys: [] }), 'TARGET_UNSUPPORTED'],
    ['ReadyForQuery with a transaction open', greeting({ end: readyForQuery('T') }), 'TARGET_PROTOCOL_VIOLATION'],
    ['ReadyForQuery with a letter that does not exist', greeting({ end: frame('Z', Buffer.from('X')) }), 'TARGET_PROTOCOL_VIOLATION'],
    ['a ParameterStatus with a third text', greeting({ statuses: [frame('S', Buffer.from('a\0b\0c\0'))] }), 'TARGET_PROTOCOL_VIOLATION'],
    ['a ParameterStatus that is not terminated', greeting({ statuses: [frame('S', Buffer.from('a\0b'))] }), 'TARGET_PROTOCOL_VIOLATION'],
    ['version 13', greeting({ statuses: [...sound, parameterStatus('server_version', '13.22')] }), 'TARGET_UNSUPPORTED'],
    ['a version that is none', greeting({ statuses: [...sound, parameterStatus('server_version', 'latest')] }), 'TARGET_UNSUPPORTED'],
    ['standard_conforming_strings off', greeting({ statuses: [...sound, parameterStatus('standard_conforming_strings', 'off')] }), 'TARGET_UNSUPPORTED'],
    ['integer_datetimes off', greeting({ statuses: [...sound, parameterStatus('integer_datetimes', 'off')] }), 'TARGET_UNSUPPORTED'],
    ['another encoding than we asked for', greeting({ statuses: [...sound, parameterStatus('client_encoding', 'LATIN1')] }), 'TARGET_UNSUPPORTED'],
    ['1,001 short messages', greeting({ statuses: [...sound, ...Array.from({ length: 1_001 }, () => parameterStatus('a', 'b'))] }), 'TARGET_PROTOCOL_VIOLATION'],
    ['more than 1 MiB in few messages', greeting({ statuses: [...sound, ...Array.from({ length: 53 }, () => parameterStatus('a', 'b'.repeat(20_000)))] }), 'TARGET_PROTOCOL_VIOLATION'],
    ['nothing of its settings', greeting({ statuses: [] }), 'TARGET_UNSUPPORTED'],
  ])('%s', async (_, bytes, code) => {
    await expect(logInTo((socket) => { socket.write(bytes); })).rejects.toMatchObject({ code });
  });
});

test('a server that says much, but below the limits, is logged in to', async () => {
  const statuses = [...sound, ...Array.from({ length: 900 }, () => parameterStatus('a', 'b'.repeat(1_000)))];
  await using upstream = await logInTo((socket) => { socket.end(greeting({ statuses })); });
  expect(upstream.parameters.get('a')?.length).toBe(1_000);
});

describe('a server that is slow', () => {
  test.each<[string, Script]>([
    ['says nothing', () => undefined],
    ['sends half a message and stops', (socket) => { socket.write(offer.subarray(0, 7)); }],
    ['stops after AuthenticationOk', (socket) => { socket.write(authenticationOk()); }],
  ])('%s: given up at the deadline', async (_, script) => {
    const started = performance.now();
    await expect(logInTo(script, { deadlineMs: 100 })).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE' });
    expect(performance.now() - started).toBeLessThan(3_000);
  });

  test('is given up when the login is', async () => {
    const login = new AbortController();
    const opening = logInTo(() => { login.abort(); }, { signal: login.signal });
    await expect(opening).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE' });
  });
});

describe('a server that answers SSLRequest', () => {
  const tls = { mode: 'VerifyFull' } as const;
  test.each<[string, Script]>([
    ['with N', (socket) => { socket.write('N'); }],
    ['with an error', (socket) => { socket.write(encodeError({ severity: 'FATAL', sqlstate: '08P01', message: 'x', detail: null, hint: null })); }],
    ['with G', (socket) => { socket.write('G'); }],
    ['with S and bytes behind it', (socket) => { socket.write(Buffer.concat([Buffer.from('S'), greeting()])); }],
    ['with S and then plaintext', async (socket) => { socket.write('S'); await readBytes(socket, 1); socket.write(greeting()); }],
    ['with S and closes', (socket) => { socket.end('S'); }],
  ])('%s is never spoken to in plaintext', async (_, script) => {
    await expect(logInTo(script, { tls })).rejects.toMatchObject({ code: 'TARGET_TLS_FAILED' });
  });

  test('with nothing is given up at the deadline', async () => {
    await expect(logInTo(() => undefined, { tls, deadlineMs: 100 })).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE' });
    await expect(logInTo((socket) => { socket.write('S'); }, { tls, deadlineMs: 100 })).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE' });
  });
});
