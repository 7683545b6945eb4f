import { expect, test } from '@jest/globals';
import { readQueryText } from './query-text.ts';

const bytes = (...values: readonly number[]): Uint8Array => Uint8Array.from(values);

test('the text is what stands before the terminator', () => {
  expect(readQueryText(Buffer.from('select \'ü😀\'\0'))).toEqual({ outcome: 'text', text: 'select \'ü😀\'' });
  expect(readQueryText(bytes(0))).toEqual({ outcome: 'text', text: '' });
});

test('a byte order mark is kept, as the server would keep it', () => {
  expect(readQueryText(bytes(0xef, 0xbb, 0xbf, 0x31, 0))).toEqual({ outcome: 'text', text: '\ufeff1' });
});

test.each([
  ['a NUL inside', Buffer.from('select 1\0; drop table t\0')],
  ['no terminator', Buffer.from('select 1')],
  ['nothing at all', bytes()],
  ['two terminators', bytes(0x31, 0, 0)],
])('%s breaks the protocol', (_, raw) => {
  expect(readQueryText(raw)).toMatchObject({ outcome: 'refused', denial: { code: 'PROTOCOL_VIOLATION' } });
});

test.each([
  ['a stray continuation byte', bytes(0x27, 0x80, 0x27, 0)],
  ['an overlong quote', bytes(0xc0, 0xa7, 0)],
  ['a surrogate', bytes(0xed, 0xa0, 0x80, 0)],
  ['a cut-off character', bytes(0x31, 0xe2, 0x82, 0)],
  ['Latin-1', bytes(0xfc, 0)],
])('%s is no valid UTF-8', (_, raw) => {
  expect(readQueryText(raw)).toMatchObject({ outcome: 'refused', denial: { code: 'ENCODING_INVALID' } });
});
