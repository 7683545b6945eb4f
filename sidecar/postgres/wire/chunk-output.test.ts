import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ChunkOutput } from './chunk-output.ts';

describe('what one chunk becomes', () => {
  test('is nothing when nothing was collected', () => {
    expect([new ChunkOutput().take(), new ChunkOutput().bytes]).toEqual([null, 0]);
  });

  test('is the same buffer when nothing changes in it', () => {
    const chunk = Buffer.from('abcdef');
    const output = new ChunkOutput();
    for (const [start, end] of [[0, 2], [2, 5], [5, 6]] as const) output.keep(chunk, start, end);
    expect(output.take()?.buffer).toBe(chunk.buffer);
  });

  test('leaves out what is not kept, and puts our own bytes where they were added', () => {
    const chunk = Buffer.from('abcdef');
    const output = new ChunkOutput();
    output.keep(chunk, 0, 2);
    output.add(Buffer.from('-'));
    output.keep(chunk, 4, 6);
    expect(output.bytes).toBe(5);
    expect(output.take()?.toString()).toBe('ab-ef');
    expect([output.take(), output.bytes]).toEqual([null, 0]);
  });

  test('gives the frame just rewritten back, for the record', () => {
    const output = new ChunkOutput();
    output.beginFrame();
    output.copy(Buffer.from('first'), 0, 5);
    const from = output.length;
    output.copy(Buffer.from('second'), 0, 6);
    expect(output.written(from).toString()).toBe('second');
  });

  test('forgets a rewritten frame that turned out to be broken', () => {
    const output = new ChunkOutput();
    output.beginFrame();
    output.copy(Buffer.from('good'), 0, 4);
    const length = output.length;
    output.copy(Buffer.from('broken'), 0, 6);
    output.truncate(length);
    output.truncate(1_000);
    expect(output.take()?.toString()).toBe('good');
  });

  test('never writes into what it has handed out', () => {
    const output = new ChunkOutput();
    output.copy(Buffer.from('first'), 0, 5);
    const taken = output.take();
    output.copy(Buffer.from('XXXXX'), 0, 5);
    expect([taken?.toString(), output.take()?.toString()]).toEqual(['first', 'XXXXX']);
  });

  test('refuses a rewritten frame above its limit before anything is allocated for it', () => {
    const output = new ChunkOutput(100);
    output.copy(Buffer.alloc(90), 0, 90);
    expect(() => output.copy(Buffer.alloc(11), 0, 11)).not.toThrow();
    const large = new ChunkOutput(70_000);
    large.copy(Buffer.alloc(65_536), 0, 65_536);
    expect(() => large.copy(Buffer.alloc(5_000), 0, 5_000)).toThrow('MASKED_ROW_TOO_LONG');
  });
});

type Step =
  | { readonly kind: 'keep'; readonly chunk: number; readonly from: number; readonly length: number }
  | { readonly kind: 'add'; readonly bytes: Uint8Array }
  | { readonly kind: 'rewrite'; readonly parts: readonly Uint8Array[]; readonly patch: number }
  | { readonly kind: 'take' };

const chunks = [0, 1, 2].map((n) => Buffer.from(Array.from({ length: 300 }, (_, at) => (at * 7 + n * 31) % 256)));
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('keep' as const), chunk: fc.nat(2), from: fc.nat(250), length: fc.integer({ min: 1, max: 50 }) }),
  fc.record({ kind: fc.constant('add' as const), bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }) }),
  fc.record({ kind: fc.constant('rewrite' as const), parts: fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 4 }), patch: fc.integer({ min: -2_147_483_648, max: 2_147_483_647 }) }),
  fc.constant({ kind: 'take' as const }),
);

test('whatever is kept, added and rewritten in whatever order, the bytes are those of a plain concatenation', () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const output = new ChunkOutput();
    const expected: Buffer[] = [];
    const seen: Buffer[] = [];
    for (const one of steps) {
      if (one.kind === 'keep') {
        const chunk = chunks[one.chunk] as Buffer;
        output.keep(chunk, one.from, one.from + one.length);
        expected.push(chunk.subarray(one.from, one.from + one.length));
      } else if (one.kind === 'add') {
        output.add(Buffer.from(one.bytes));
        expected.push(Buffer.from(one.bytes));
      } else if (one.kind === 'rewrite') {
        output.beginFrame();
        const at = output.length;
        output.writeInt32(0);
        for (const part of one.parts) output.copy(part, 0, part.length);
        output.patchInt32(at, one.patch);
        const head = Buffer.alloc(4);
        head.writeInt32BE(one.patch);
        expected.push(head, ...one.parts.map((part) => Buffer.from(part)));
      } else {
        const taken = output.take();
        if (taken) seen.push(taken);
      }
    }
    const left = expected.reduce((sum, part) => sum + part.length, 0) - seen.reduce((sum, part) => sum + part.length, 0);
    expect(output.bytes).toBe(left);
    const rest = output.take();
    if (rest) seen.push(rest);
    expect(Buffer.concat(seen).equals(Buffer.concat(expected))).toBe(true);
  }));
});
