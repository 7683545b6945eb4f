import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { encodePeerAnswer, encodePeerCancel, maxPeerMessage, readPeerAnswer, readPeerCancel } from './peer-message.ts';

const key = fc.constantFrom(4, 32).chain((bytes) => fc.uint8Array({ minLength: bytes, maxLength: bytes })).map((bytes) => Buffer.from(bytes));

test('what one replica asks is what the other reads, in whatever pieces it comes, and nothing before it is whole', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), key, (pid, bytes) => {
    const message = encodePeerCancel({ pid, key: bytes });
    expect(message.length).toBeLessThanOrEqual(maxPeerMessage);
    for (let length = 0; length < message.length; length++) expect(readPeerCancel(message.subarray(0, length))).toBeNull();
    expect(readPeerCancel(message)).toEqual({ pid, key: bytes });
  }));
});

test('no other bytes are a request', () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (bytes) => {
    const read = readPeerCancel(Buffer.from(bytes));
    if (read === null || read === 'invalid') return;
    expect(Buffer.from(bytes)).toEqual(encodePeerCancel(read));
  }), { numRuns: 2_000 });
});

test.each([
  ['another version', Buffer.from([2])], ['another kind', Buffer.from([1, 2])], ['a key of another length', Buffer.from([1, 1, 0, 0, 0, 1, 5])], ['more than one request', Buffer.concat([encodePeerCancel({ pid: 1, key: Buffer.alloc(4) }), Buffer.from([1])])], ['too much', Buffer.alloc(40, 1)],
])('%s is refused', (_what, bytes) => {
  expect(readPeerCancel(bytes)).toBe('invalid');
});

test('an answer is one byte; anything else means that the key is not known', () => {
  expect((['unknown', 'cancelled', 'limited'] as const).map((answer) => readPeerAnswer(encodePeerAnswer(answer)))).toEqual(['unknown', 'cancelled', 'limited']);
  expect([Buffer.alloc(0), Buffer.from([1, 1]), Buffer.from([9])].map(readPeerAnswer)).toEqual(['unknown', 'unknown', 'unknown']);
});
