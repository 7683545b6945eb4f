import { describe, expect, test } from '@jest/globals';
import { readWordAtCursor, sharedStart, writeRest } from './complete-word.ts';

describe('the word at the cursor', () => {
  test.each([
    ['ls', { kind: 'program', text: 'ls', quote: '' }], ['ls ', { kind: 'file', text: '', quote: '' }], ['ls /sr', { kind: 'file', text: '/sr', quote: '' }], ['cat a | gr', { kind: 'program', text: 'gr', quote: '' }],
    ['cat "a b', { kind: 'file', text: 'a b', quote: '"' }], ["cat 'a ", { kind: 'file', text: 'a ', quote: "'" }], ['cat a\\ b', { kind: 'file', text: 'a b', quote: '' }], ['X=1 l', { kind: 'program', text: 'l', quote: '' }],
    ['ls >', { kind: 'file', text: '', quote: '' }], ['./ru', { kind: 'file', text: './ru', quote: '' }], ['ls; (un', { kind: 'program', text: 'un', quote: '' }], ['', { kind: 'program', text: '', quote: '' }],
  ])('%j', (before, word) => expect(readWordAtCursor(before)).toEqual(word));
  test.each(['ls $x', 'ls `', 'ls a*', 'ls {a', 'ls "$', 'ls a\\', '# no'])('%j holds what only the shell knows', (before) => expect(readWordAtCursor(before)).toBeNull());
});

test('what is added is quoted as the word is', () => {
  expect([writeRest(`a b'$c`, '', true), writeRest('a"$b', '"', true), writeRest(`it's`, "'", true), writeRest('dir/', '', true), writeRest('par', '', false)])
    .toEqual([`a\\ b\\'\\$c `, 'a\\"\\$b" ', `it'\\''s' `, 'dir/', 'par']);
});

test('the shared start never ends in half a character', () => expect([sharedStart(['abc', 'abd']), sharedStart(['x😀', 'x😁']), sharedStart([])]).toEqual(['ab', 'x', '']));
