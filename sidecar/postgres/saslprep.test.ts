import { expect, test } from '@jest/globals';

import { prepareSaslPassword } from './saslprep.ts';

/** Expectations are what PostgreSQL's pg_saslprep does. */
test.each([
  ['plain ASCII stays as it is, control characters too', 'pa ss\x01', 'pa ss\x01'],
  ['a soft hyphen is mapped to nothing', 'I\u00adX', 'IX'],
  ['a no-break space becomes a space', 'a\u00a0b', 'a b'],
  ['compatibility forms are composed (NFKC)', '\u2168', 'IX'],
  ['a decomposed letter is composed', 'e\u0301', '\u00e9'],
  ['a right-to-left word is kept', '\u0627\u0031\u0628', '\u0627\u0031\u0628'],
  ['right-to-left and left-to-right mixed is not SASLprep: taken as it is', '\u0627\u2168', '\u0627\u2168'],
  ['a forbidden character: taken as it is, unmapped', '\u2168\u0085', '\u2168\u0085'],
  ['a password that maps to nothing: taken as it is', '\u00ad', '\u00ad'],
])('%s', (_, password, prepared) => {
  expect(prepareSaslPassword(Buffer.from(password)).toString()).toBe(prepared);
});

test('bytes that are not UTF-8 are taken as they are', () => {
  const bytes = Buffer.from([0x61, 0xff, 0xfe]);
  expect(prepareSaslPassword(bytes)).toEqual(bytes);
});
