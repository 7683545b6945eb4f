import { expect, test } from '@jest/globals';
import { shellQuote, wrapForBash } from './quote.ts';

test.each([
  ['ls -la', "'ls -la'"],
  ['', "''"],
  ["it's", `'it'"'"'s'`],
  ['a\\b', `'a'"\\\\"'b'`],
  ["'\\'", `''"'""\\\\""'"''`],
  ['$x `y` "z"\n!', "'$x `y` \"z\"\n!'"],
])('%j is quoted as %s', (text, quoted) => {
  expect(shellQuote(text)).toBe(quoted);
});

test('a wrapped text is run by a bash without start files', () => {
  expect(wrapForBash("echo 'a'")).toBe(`exec bash --noprofile --norc -c 'echo '"'"'a'"'"''`);
});
