import { describe, expect, test } from '@jest/globals';
import { movingText, readDirectory, sentText } from './sent-text.ts';

describe('what is sent is a function of what was judged', () => {
  test.each([
    ['at home the line itself', 'ls -l', null, false, 'ls -l'],
    ['elsewhere the directory first', 'ls; pwd', '/srv', false, "cd -- '/srv' || exit 125\nls; pwd"],
    ['a directory with a quote', 'ls', "/a'b", false, `cd -- '/a'"'"'b' || exit 125\nls`],
    ['with wrap the wrap that approvers are shown', 'ls', '/srv', true, "cd -- '/srv' || exit 125\nexec bash --noprofile --norc -c 'ls'"],
  ])('%s', (_name, text, cwd, wrap, sent) => expect(sentText(text, cwd, wrap)).toBe(sent));
});

describe('a move asks the target where it led', () => {
  test.each([
    [{ to: 'directory', directory: 'b', underHome: false }, '/a', null, "cd -- '/a' && cd -- 'b' && pwd -P"],
    [{ to: 'directory', directory: 'b', underHome: false }, null, null, "cd -- 'b' && pwd -P"],
    [{ to: 'directory', directory: 'b c', underHome: true }, '/a', null, "cd -- ~/'b c' && pwd -P"],
    [{ to: 'previous' }, '/a', '/b', "cd -- '/b' && pwd -P"],
    [{ to: 'previous' }, '/a', null, null],
    [{ to: 'home' }, '/a', '/b', null],
  ] as const)('%j from %s', (cd, cwd, previous, sent) => expect(movingText(cd, cwd, previous, false)).toBe(sent));
});

describe('the answer is believed only where it is a directory', () => {
  test.each([
    ['/srv\n', '/srv'], ['welcome\n/srv/a b\n', '/srv/a b'], ['/srv', null], ['', null], ['srv\n', null], ['/a\u001b[2J\n', null], ['/\uFFFD\n', null], [`/${'x'.repeat(5000)}\n`, null],
  ])('%j', (output, directory) => expect(readDirectory(output)).toBe(directory));
});
