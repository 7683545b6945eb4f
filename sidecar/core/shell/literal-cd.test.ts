import { describe, expect, test } from '@jest/globals';
import { parse } from 'unbash';
import { type LiteralCd, readLiteralCd } from './literal-cd.ts';

function read(text: string): LiteralCd | null {
  return readLiteralCd({ outcome: 'parsed', tree: JSON.parse(JSON.stringify(parse(text))) as unknown });
}

describe('a text that is one literal cd moves', () => {
  test.each([
    ['cd x', 'x'], ['cd "a b"', 'a b'], ["cd 'a b'/c", 'a b/c'], ['cd a\\ b', 'a b'], ['cd -- -x', '-x'], ['cd ..', '..'], ['cd "a*"', 'a*'], ['cd "~/x"', '~/x'], ["cd 'a[b]'", 'a[b]'], ['cd x\\*y', 'x*y'], ['cd x # why', 'x'],
  ])('%s', (text, directory) => expect(read(text)).toEqual({ to: 'directory', directory, underHome: false }));
  test.each(['cd', 'cd ~', 'cd ~/', 'cd --'])('%s leads home', (text) => expect(read(text)).toEqual({ to: 'home' }));
  test.each(['cd -', 'cd -- -'])('%s leads back', (text) => expect(read(text)).toEqual({ to: 'previous' }));
  test('below home it is the shell that knows where', () => expect(read('cd ~/"a b"')).toEqual({ to: 'directory', directory: 'a b', underHome: true }));
});

describe('nothing else moves', () => {
  test.each([
    'cd x; ls', 'cd x && ls', 'cd x &', '(cd x)', '! cd x', 'cd x >f', 'cd <f', 'X=1 cd x', 'cd $x', 'cd "$x"', 'cd `x`', 'cd *', 'cd a*', 'cd {a,b}', 'cd +(a)', 'cd ~root', 'cd -P x', 'cd -P', 'cd a b', 'cd ""', 'cd a!b',
    '\\cd x', 'ls', '', 'cd x y z', "cd 'a\nb'", 'cd "a\nb"', 'cd x |', "cd $'a\\tb'", 'cd "x"*',
  ])('%j', (text) => expect(read(text)).toBeNull());
  test('nor what could not be parsed', () => expect(readLiteralCd({ outcome: 'failed', code: 'PARSE_TIMEOUT' })).toBeNull());
});
