import { describe, expect, test } from '@jest/globals';
import { parse } from 'unbash';
import type { ShellParse } from '../ports.ts';
import { type InputState, readInputState } from './finished-text.ts';

function parsed(text: string): ShellParse {
  return { outcome: 'parsed', tree: JSON.parse(JSON.stringify(parse(text))) as unknown };
}

function stateOf(text: string): InputState['state'] {
  return readInputState(text, parsed(text)).state;
}

// What bash 5.2 says of each: `bash -n` ends with "unexpected end of file" or "unexpected EOF" for the unfinished ones.
describe('an input goes on where bash would ask for more', () => {
  test.each([
    'echo "abc', "echo 'x\\", 'if true', 'if true # x', 'for i in a; do', 'echo $(ls', 'cat <<X', 'cat <<X\nabc', 'cat <<X <<Y\na\nX\n', 'echo $(cat <<X\n)', 'a |', 'a && ', 'a |\n', '{', '(', '{ ls', '( ls',
    'f() {', 'f()', 'case x in', 'case x in a) b;;', 'echo `ls', 'echo ${x', 'echo $((1+', 'while a; do b', 'x=(a', 'if true; then echo; else', 'echo \\', 'echo a \\\n', "a <<'",
  ])('%j', (text) => expect(stateOf(text)).toBe('unfinished'));
});

describe('an input that bash takes as it stands is finished', () => {
  test.each(['ls', 'ls -l | wc', 'cat <<X\nabc\nX', 'cat <<X\nabc\nX\n', 'echo \\\\', 'a;', 'a&', "echo a # it's", '', '# only a comment', 'if a; then b; fi', 'f() { ls; }'])('%j', (text) => expect(stateOf(text)).toBe('finished'));
});

describe('an input that more lines cannot mend is dropped', () => {
  test.each(['echo )', 'if then', 'fi', 'a;;', 'a | | b', '<', 'echo >', ';', '}', 'if a; then b; fi fi', 'a & & b'])('%j', (text) => expect(stateOf(text)).toBe('invalid'));
  test('so is what holds control characters', () => expect(stateOf('ls \u0001')).toBe('invalid'));
  test('so is what the parser gives up on', () => {
    expect(readInputState('x', { outcome: 'failed', code: 'PARSE_TIMEOUT' })).toEqual({ state: 'invalid', problem: 'the input takes too long to read' });
    expect(readInputState('x', { outcome: 'failed', code: 'STATEMENT_TOO_LONG' })).toEqual({ state: 'invalid', problem: 'the input is too long' });
  });
});
