import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { parseStartupMessage } from './startup-message.ts';

const body = (version: number, text: string | Buffer): Buffer => {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(version);
  return Buffer.concat([head, typeof text === 'string' ? Buffer.from(text, 'utf8') : text]);
};
const v30 = 196_608;

describe('a StartupMessage', () => {
  test('is read into its pairs, in order', () => {
    expect(parseStartupMessage(body(v30, 'user\0alice\0database\0shop\0options\0\0\0'))).toEqual({
      outcome: 'parsed', message: { protocolMinor: 0, negotiate: null, pairs: new Map([['user', 'alice'], ['database', 'shop'], ['options', '']]) },
    });
  });

  test.each([
    ['3.0 is spoken as it is', v30, 'user\0a\0\0', 0, null],
    ['3.1 is spoken as 3.0', v30 + 1, 'user\0a\0\0', 0, null],
    ['3.2 is spoken as it is', v30 + 2, 'user\0a\0\0', 2, null],
    ['3.9 is negotiated down to 3.2', v30 + 9, 'user\0a\0\0', 2, []],
    ['3.0 with unknown options keeps 3.0 and names them', v30, '_pq_.x\0' + '1\0user\0a\0_pq_.y\0' + '2\0\0', 0, ['_pq_.x', '_pq_.y']],
    ['3.9 with an unknown option', v30 + 9, '_pq_.x\0' + '1\0user\0a\0\0', 2, ['_pq_.x']],
  ])('%s', (_, version, text, protocolMinor, negotiate) => {
    expect(parseStartupMessage(body(version, text))).toEqual({ outcome: 'parsed', message: { protocolMinor, negotiate, pairs: new Map([['user', 'a']]) } });
  });

  test.each([
    ['2.0', 2 << 16], ['4.0', 4 << 16], ['0.0', 0], ['65535.65535', 0xffff_ffff],
  ])('of version %s is refused as unsupported', (_, version) => {
    expect(parseStartupMessage(body(version, 'user\0a\0\0'))).toMatchObject({ outcome: 'refused', denial: { code: 'PROTOCOL_UNSUPPORTED' } });
  });

  test.each([
    ['nothing behind the version', ''],
    ['no terminator', 'user\0a\0'],
    ['a name without a value', 'user\0'],
    ['a value without an end', 'user\0a'],
    ['bytes behind the terminator', 'user\0a\0\0x'],
    ['a second terminator', 'user\0a\0\0\0'],
    ['a name twice', 'user\0a\0user\0b\0\0'],
    ['a name twice in other letters', 'DateStyle\0ISO\0datestyle\0ISO\0\0'],
    ['a text that is not UTF-8', Buffer.from([0x75, 0, 0xff, 0, 0])],
    ['a text cut inside a character', Buffer.from([0x75, 0, 0xc3, 0, 0])],
  ])('with %s is refused', (_, text) => {
    expect(parseStartupMessage(body(v30, text))).toMatchObject({ outcome: 'refused', denial: { code: 'PROTOCOL_VIOLATION' } });
  });

  test('of any bytes is read or refused, never more', () => {
    fc.assert(fc.property(fc.uint8Array({ minLength: 4, maxLength: 300 }), (bytes) => {
      const message = Buffer.from(bytes);
      if (message[0] === 0) message.writeUInt16BE(3, 0);
      expect(['parsed', 'refused']).toContain(parseStartupMessage(message).outcome);
    }));
  });
});
