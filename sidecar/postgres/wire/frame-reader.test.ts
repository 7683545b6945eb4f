import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FrameReader } from './frame-reader.ts';

const limits = { Q: { maxBytes: 100, mode: 'assemble' }, d: { maxBytes: 1000, mode: 'stream' }, S: { maxBytes: 4, mode: 'assemble' } } as const;

function frame(type: string, body: Uint8Array): Buffer {
  const out = Buffer.alloc(5 + body.length);
  out.write(type, 0, 'latin1');
  out.writeUInt32BE(4 + body.length, 1);
  out.set(body, 5);
  return out;
}

/** Joins parts of a streamed frame: what a reader of any split must see. */
function readAll(chunks: readonly Buffer[]): { type: string; bytes: string }[] {
  const reader = new FrameReader(limits);
  const seen: { type: string; bytes: string }[] = [];
  let open: Buffer[] = [];
  for (const chunk of chunks) {
    reader.feed(chunk);
    while (reader.next()) {
      open.push(Buffer.from(reader.buffer.subarray(reader.start, reader.end)));
      if (!reader.whole && !reader.last) continue;
      seen.push({ type: String.fromCharCode(reader.type), bytes: Buffer.concat(open).toString('hex') });
      open = [];
    }
  }
  return seen;
}

function splitAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const sorted = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end));
}

describe('frame reader', () => {
  const frames = fc.array(fc.oneof(
    fc.uint8Array({ maxLength: 96 }).map((body) => frame('Q', body)),
    fc.uint8Array({ maxLength: 996 }).map((body) => frame('d', body)),
    fc.constant(frame('S', new Uint8Array(0))),
  ), { maxLength: 8 });

  test('the same bytes split anywhere give the same frames', () => {
    fc.assert(fc.property(frames, fc.array(fc.nat(), { maxLength: 12 }), (list, cuts) => {
      const bytes = Buffer.concat(list);
      expect(readAll(splitAt(bytes, cuts))).toEqual(list.map((one) => ({ type: String.fromCharCode(one[0] as number), bytes: one.toString('hex') })));
    }));
  });

  test('a frame that lies whole in its chunk is a view of that chunk, not a copy', () => {
    const chunk = frame('Q', Buffer.from('select 1\0'));
    const reader = new FrameReader(limits);
    reader.feed(chunk);
    expect(reader.next()).toBe(true);
    expect(reader.buffer).toBe(chunk);
  });

  test.each([0, 1, 3, 0xffffffff, 0x80000000, 0x7fffffff, 101])('a Query of length %i is refused before anything is allocated', (length) => {
    const header = Buffer.from([0x51, 0, 0, 0, 0]);
    header.writeUInt32BE(length, 1);
    const reader = new FrameReader(limits);
    reader.feed(header);
    expect(() => reader.next()).toThrow(length < 4 ? /PROTOCOL_VIOLATION/ : /FRAME_TOO_LONG/);
  });

  test('a frame over its limit may be announced and skipped, whatever the pieces, and the next one is read', () => {
    const bytes = Buffer.concat([frame('P', Buffer.alloc(500, 'x')), frame('S', new Uint8Array(0))]);
    fc.assert(fc.property(fc.array(fc.nat(), { maxLength: 12 }), (cuts) => {
      const reader = new FrameReader({ ...limits, P: { maxBytes: 100, mode: 'assemble', skipUpToBytes: 1_000 } });
      const seen: [string, boolean][] = [];
      for (const chunk of splitAt(bytes, cuts)) {
        reader.feed(chunk);
        while (reader.next()) seen.push([String.fromCharCode(reader.type), reader.tooLong]);
      }
      expect(seen).toEqual([['P', true], ['S', false]]);
      expect(reader.atBoundary).toBe(true);
    }));
  });

  test('a frame that comes byte by byte is held in one buffer, at most twice what has arrived', () => {
    const reader = new FrameReader({ B: { maxBytes: 1_000_000, mode: 'assemble' } });
    const bytes = frame('B', Buffer.alloc(20_000, 'x'));
    for (const [index, byte] of bytes.entries()) {
      reader.feed(Buffer.of(byte));
      expect(reader.next()).toBe(index === bytes.length - 1);
      expect(reader.heldBytes).toBeLessThanOrEqual(Math.max(1_024, 2 * (index + 1)));
    }
    expect(Buffer.compare(reader.buffer.subarray(reader.start, reader.end), bytes)).toBe(0);
  });

  test('a message type without a limit ends the reading', () => {
    const reader = new FrameReader(limits);
    reader.feed(frame('z', new Uint8Array(0)));
    expect(() => reader.next()).toThrow(/PROTOCOL_VIOLATION/);
  });

  test('arbitrary bytes neither hang nor hold more than has arrived', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 }), (chunks) => {
      const reader = new FrameReader(limits);
      let steps = 0;
      try {
        for (const chunk of chunks) {
          reader.feed(Buffer.from(chunk));
          while (reader.next()) expect(++steps).toBeLessThan(5000);
        }
      } catch (error) {
        expect(String(error)).toMatch(/PROTOCOL_VIOLATION|FRAME_TOO_LONG/);
      }
    }));
  });
});
