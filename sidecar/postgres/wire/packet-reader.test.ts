import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Duplex, duplexPair } from 'node:stream';

import { SallyportError } from '../../core/errors.ts';
import { SocketReader } from './packet-reader.ts';

const never = new AbortController().signal;

test('the same bytes in any pieces give the same reads, and what is left over is handed on', async () => {
  await fc.assert(fc.asyncProperty(fc.uint8Array({ minLength: 12, maxLength: 400 }), fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), async (content, pieces) => {
    const bytes = Buffer.from(content);
    const [ours, peer] = duplexPair();
    const reader = new SocketReader(ours);
    for (let at = 0, i = 0; at < bytes.length; i++) {
      const size = pieces[i % pieces.length] ?? 1;
      peer.write(Buffer.from(content.subarray(at, at + size)));
      at += size;
    }
    const [first, peeked, secret] = [await reader.readExactly(5, never), await reader.peekByte(never), await reader.readSecret(4, never)];
    expect([first, peeked, secret]).toEqual([bytes.subarray(0, 5), bytes[5], bytes.subarray(5, 9)]);
    const rest: Buffer[] = [reader.takeBuffered()];
    peer.end();
    for await (const chunk of ours) rest.push(chunk as Buffer);
    expect(Buffer.concat(rest)).toEqual(bytes.subarray(9));
  }), { numRuns: 50 });
});

test('a secret is wiped where it arrived', async () => {
  const chunks = [Buffer.from('token-'), Buffer.from('value, and more')];
  const socket = new Duplex({ read() { const next = chunks.shift(); if (next) { arrived.push(next); this.push(next); } }, write: (_, __, done) => done() });
  const arrived: Buffer[] = [];
  const secret = await new SocketReader(socket).readSecret(11, never);
  expect(secret.toString()).toBe('token-value');
  expect(Buffer.concat(arrived).toString()).toBe(`${'\0'.repeat(11)}, and more`);
});

test('while nobody asks, at most 64 KiB and what is in flight are read ahead', async () => {
  let pushed = 0;
  const socket = new Duplex({ highWaterMark: 16_384, read() { pushed += 16_384; this.push(Buffer.alloc(16_384)); }, write: (_, __, done) => done() });
  const reader = new SocketReader(socket);
  for (let i = 0; i < 50; i++) await new Promise<void>((resolve) => setImmediate(resolve));
  expect(pushed).toBeLessThanOrEqual(131_072);
  expect(reader.buffered).toBeLessThanOrEqual(81_920);
});

test('a close is noticed although nobody reads', async () => {
  const [ours, peer] = duplexPair();
  const reader = new SocketReader(ours);
  peer.write('x');
  peer.end();
  await new Promise<void>((resolve) => reader.gone.addEventListener('abort', () => resolve(), { once: true }));
  await expect(reader.readExactly(1, never)).resolves.toEqual(Buffer.from('x'));
  await expect(reader.readExactly(1, never)).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
});

test('a wait ends with the reason of its signal', async () => {
  const [ours] = duplexPair();
  const cause = new AbortController();
  const read = new SocketReader(ours).readExactly(1, cause.signal);
  cause.abort(new SallyportError('DRAINING'));
  await expect(read).rejects.toMatchObject({ code: 'DRAINING' });
});
