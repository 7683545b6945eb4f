import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { splitCommandPattern } from './command-pattern.ts';

test.each([
  ['uptime', ['uptime']],
  ['  df \t -h  ', ['df', '-h']],
  ['journalctl -u * **', ['journalctl', '-u', '*', '**']],
  [String.raw`grep 'a b' "c d" e\ f`, ['grep', 'a b', 'c d', 'e f']],
  [String.raw`echo "a\"b\\c\d" 'x\y' q\'s`, ['echo', String.raw`a"b\c\d`, String.raw`x\y`, "q's"]],
  ["printf '%s;|&' ''", ['printf', '%s;|&', '']],
  ['/usr/bin/systemctl restart nginx', ['/usr/bin/systemctl', 'restart', 'nginx']],
  ['* **', ['*', '**']],
  ['rm -rf', ['rm', '-rf']],
])('%j is the words that a shell would see', (text, words) => {
  expect(splitCommandPattern(text)).toEqual({ outcome: 'words', words });
});

test.each([
  ['', 'name a program'], ['   ', 'name a program'], ["''", 'begins with the name'], ['** x', 'begins with the name'],
  ['ls ** -l', 'only be the last'], ["echo 'x", 'nothing that ends it'], ['echo "x', 'nothing that ends it'], ['echo x\\', 'nothing that ends it'],
  ['ls /srv/*.log', 'one whole word'], ["ls '*'", 'one whole word'], [String.raw`ls \*`, 'one whole word'], ['echo "$HOME"', 'use single quotes'], ['echo "`id`"', 'use single quotes'],
  ['ls;id', 'plain words'], ['ls | wc', 'plain words'], ['a && b', 'plain words'], ['echo $x', 'plain words'], ['cat <f', 'plain words'], ['ls {a,b}', 'plain words'], ['ls ~/x', 'plain words'],
  ['ls # all', 'plain words'], ['ls a?', 'plain words'], ['ls [ab]', 'plain words'], ['ls !x', 'plain words'], ['echo a\nb', 'control characters'], ["echo '\u0007'", 'control characters'], ['echo \ufffd', 'control characters'],
])('%j is refused: %s', (text, message) => {
  expect(splitCommandPattern(text)).toEqual({ outcome: 'refused', message: expect.stringContaining(message) });
});

test('words in single quotes come back as they are, whatever they hold', () => {
  const word = fc.string({ unit: 'grapheme' }).filter((text) => !/['*\ufffd\p{Cc}]/u.test(text));
  fc.assert(fc.property(fc.array(word, { minLength: 1, maxLength: 6 }), (words) => {
    expect(splitCommandPattern(['x', ...words.map((each) => `'${each}'`)].join(' '))).toEqual({ outcome: 'words', words: ['x', ...words] });
  }));
});

test('any text ends in words or a reason, in time that its length bounds', () => {
  fc.assert(fc.property(fc.string({ maxLength: 256 }), (text) => ['words', 'refused'].includes(splitCommandPattern(text).outcome)));
  expect(splitCommandPattern(`${'"\\'.repeat(128)}`).outcome).toBe('refused');
});
