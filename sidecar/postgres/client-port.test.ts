import { describe, expect, test } from '@jest/globals';
import { duplexPair } from 'node:stream';

import { deny } from '../core/errors.ts';
import { clientParameters, explainCutToken, PostgresClientPort } from './client-port.ts';
import { passwordMessage, query, startupMessage } from './wire/frame-writer.ts';
import { SocketReader } from './wire/packet-reader.ts';

function aPort(options: { protocolMinor?: 0 | 2 } = {}): { port: PostgresClientPort; send(bytes: Buffer): void; close(): void; received(): Buffer; finished: Promise<void> } {
  const [ours, peer] = duplexPair();
  const chunks: Buffer[] = [];
  peer.on('data', (chunk: Buffer) => chunks.push(chunk));
  const finished = new Promise<void>((resolve) => peer.once('end', resolve));
  peer.once('end', () => peer.end());
  const port = new PostgresClientPort({ socket: ours, reader: new SocketReader(ours), user: 'asked', applicationName: 'psql', protocolMinor: options.protocolMinor ?? 0 });
  return { port, send: (bytes) => peer.write(bytes), close: () => peer.end(), received: () => Buffer.concat(chunks), finished };
}
const never = new AbortController().signal;
const typesOf = (bytes: Buffer): string => {
  let types = '';
  for (let at = 0; at < bytes.length; at += 1 + bytes.readUInt32BE(at + 1)) types += String.fromCharCode(bytes[at] ?? 0);
  return types;
};
const passwordOfLength = (length: number): Buffer => passwordMessage(Buffer.alloc(length, 0x61));

describe('asking for the token', () => {
  test.each([1, 4_095, 12_000, 16_384])('takes a token of %d bytes, whatever pieces it comes in', async (length) => {
    const { port, send, received } = aPort();
    const answer = port.askForToken(never);
    const message = passwordOfLength(length);
    for (let at = 0; at < message.length; at += 1_000) send(message.subarray(at, at + 1_000));
    await expect(answer).resolves.toEqual({ outcome: 'token', token: Buffer.alloc(length, 0x61) });
    expect(received()).toEqual(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]));
  });

  test.each([
    ['an empty password', passwordMessage(Buffer.alloc(0)), 'TOKEN_MISSING'],
    ['a NUL inside', passwordMessage(Buffer.from('ab\0cd')), 'TOKEN_MALFORMED'],
    ['only a NUL', passwordMessage(Buffer.from('\0')), 'TOKEN_MALFORMED'],
    ['16,385 bytes', passwordOfLength(16_385), 'TOKEN_TOO_LONG'],
    ['65,535 bytes', passwordOfLength(65_535), 'TOKEN_TOO_LONG'],
  ])('denies %s', async (_, message, code) => {
    const { port, send } = aPort();
    send(message);
    await expect(port.askForToken(never)).resolves.toMatchObject({ outcome: 'denied', denial: { code } });
  });

  test.each([
    ['a second StartupMessage', startupMessage(0, [['user', 'x']]), 'PROTOCOL_VIOLATION'],
    ['a Query', query('select 1'), 'PROTOCOL_VIOLATION'],
    ['a length of 0', Buffer.from([0x70, 0, 0, 0, 0]), 'PROTOCOL_VIOLATION'],
    ['a length of 3', Buffer.from([0x70, 0, 0, 0, 3]), 'PROTOCOL_VIOLATION'],
    ['a length of 4', Buffer.from([0x70, 0, 0, 0, 4]), 'PROTOCOL_VIOLATION'],
    ['no NUL at the end', Buffer.from([0x70, 0, 0, 0, 5, 0x61]), 'PROTOCOL_VIOLATION'],
    ['a length of 65,541', Buffer.from([0x70, 0, 1, 0, 5]), 'FRAME_TOO_LONG'],
    ['a length of 2^31 - 1', Buffer.from([0x70, 0x7f, 0xff, 0xff, 0xff]), 'FRAME_TOO_LONG'],
    ['a length of 2^31', Buffer.from([0x70, 0x80, 0, 0, 0]), 'FRAME_TOO_LONG'],
    ['a length of 2^32 - 1', Buffer.from([0x70, 0xff, 0xff, 0xff, 0xff]), 'FRAME_TOO_LONG'],
  ])('ends on %s', async (_, message, code) => {
    const { port, send } = aPort();
    send(message);
    await expect(port.askForToken(never)).rejects.toMatchObject({ code });
  });

  test('ends when the client closes in the middle, and when the deadline passes', async () => {
    const closing = aPort();
    const first = closing.port.askForToken(never);
    closing.send(passwordOfLength(100).subarray(0, 50));
    closing.close();
    await expect(first).rejects.toMatchObject({ code: 'CONNECTION_LOST' });

    const deadline = new AbortController();
    const second = aPort().port.askForToken(deadline.signal);
    deadline.abort();
    await expect(second).rejects.toMatchObject({ code: 'STARTUP_TIMEOUT' });
  });
});

describe('the end of the login', () => {
  test('says AuthenticationOk, parameters, our key and ReadyForQuery, and hides the injected account', () => {
    const { port, received } = aPort({ protocolMinor: 2 });
    port.ready(new Map([['server_version', '18.1'], ['is_superuser', 'on'], ['session_authorization', 'app_rw'], ['application_name', 'sallyport/s/alice']]), { pid: 7, key: Buffer.alloc(32, 1) });
    return new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      expect(typesOf(received())).toBe('RSSSSKZ');
      expect(received().toString('latin1')).not.toMatch(/app_rw|sallyport/);
      expect(received().toString('latin1')).toContain('session_authorization\0asked\0');
    });
  });

  test('says AuthenticationOk once, before the first notice', () => {
    const { port, received } = aPort();
    port.notice({ sqlstate: 'SP001', message: 'waiting', detail: null, hint: null });
    port.ready(new Map(), { pid: 7, key: Buffer.alloc(4) });
    return new Promise<void>((resolve) => setImmediate(resolve)).then(() => expect(typesOf(received())).toBe('RNKZ'));
  });

  test('is a FATAL and a close when the session is denied', async () => {
    const { port, received, finished } = aPort();
    await port.deny(deny('TOKEN_EXPIRED'));
    await finished;
    expect(typesOf(received())).toBe('E');
    expect(received().toString()).toContain('SFATAL\0VFATAL\0C28000\0Mthe token has expired [TOKEN_EXPIRED]\0');
  });

  test('is not waited for by a client that has gone', async () => {
    const { port, close } = aPort();
    close();
    await new Promise<void>((resolve) => port.gone.addEventListener('abort', () => resolve(), { once: true }));
    expect(port.gone.aborted).toBe(true);
  });
});

test('parameters that the server did not send are not invented', () => {
  expect(clientParameters(new Map([['DateStyle', 'ISO']]), { user: 'asked', applicationName: null })).toEqual(new Map([['DateStyle', 'ISO']]));
});

test.each([
  ['TOKEN_SIGNATURE_INVALID', 4_095, 'TOKEN_TRUNCATED'], ['TOKEN_MALFORMED', 4_095, 'TOKEN_TRUNCATED'], ['TOKEN_EXPIRED', 4_095, 'TOKEN_EXPIRED'], ['TOKEN_MALFORMED', 4_094, 'TOKEN_MALFORMED'],
] as const)('%s for %d bytes is told as %s', (code, bytes, told) => {
  expect(explainCutToken(deny(code), bytes).code).toBe(told);
});
