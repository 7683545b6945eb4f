import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createPacketSplitter, maxSftpPacketBytes } from './packet-splitter.ts';

function packet(body: Uint8Array): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
}

describe('packets of a stream', () => {
  test('the same packets come out however the stream is cut', () => {
    const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 8 });
    fc.assert(fc.property(bodies, fc.array(fc.nat(12), { minLength: 1, maxLength: 40 }), (list, sizes) => {
      const stream = Buffer.concat(list.map(packet));
      const splitter = createPacketSplitter(64);
      const found: Uint8Array[] = [];
      for (let at = 0, turn = 0; at < stream.length; turn++) {
        const size = Math.max(1, sizes[turn % sizes.length] ?? 1);
        const { packets, problem } = splitter.push(stream.subarray(at, at + size));
        expect(problem).toBeNull();
        found.push(...packets);
        at += size;
      }
      expect(found.map((each) => Buffer.from(each).toString('hex'))).toEqual(list.map((body) => Buffer.from(packet(body)).toString('hex')));
      expect(splitter.isInside()).toBe(false);
    }));
  });

  test('a packet cut at every single byte is one packet', () => {
    const whole = packet(Buffer.from('content of a packet'));
    for (let at = 1; at < whole.length; at++) {
      const splitter = createPacketSplitter(64);
      expect(splitter.push(whole.subarray(0, at)).packets).toEqual([]);
      expect(splitter.isInside()).toBe(true);
      expect(splitter.push(whole.subarray(at)).packets.map((each) => Buffer.from(each))).toEqual([Buffer.from(whole)]);
    }
  });

  test('a length above the limit stops the stream before anything is allocated, whole or in parts', () => {
    const long = Buffer.from([0xff, 0xff, 0xff, 0xff, 1]);
    expect(createPacketSplitter(maxSftpPacketBytes).push(long)).toEqual({ packets: [], problem: 'PacketTooLong' });
    const slow = createPacketSplitter(maxSftpPacketBytes);
    slow.push(long.subarray(0, 2));
    expect(slow.push(long.subarray(2)).problem).toBe('PacketTooLong');
    expect(slow.push(packet(Buffer.from('x'))).packets).toEqual([]);
  });

  test('the packets before a broken one come out', () => {
    const { packets, problem } = createPacketSplitter(8).push(Buffer.concat([packet(Buffer.from('a')), Buffer.from([0, 0, 0, 0])]));
    expect([packets.length, problem]).toEqual([1, 'PacketEmpty']);
  });

  test('arbitrary bytes neither throw nor give a packet over the limit', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 }), (chunks) => {
      const splitter = createPacketSplitter(100);
      for (const chunk of chunks) expect(splitter.push(chunk).packets.every((each) => each.length > 4 && each.length <= 104)).toBe(true);
    }));
  });
});
