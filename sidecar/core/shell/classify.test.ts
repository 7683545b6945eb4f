import { describe, expect, test } from '@jest/globals';
import type { ShellParser } from '../ports.ts';
import { decodeAnsiC } from './ansi-c.ts';
import { checkCommandText, findDeceptiveCharacter } from './check-text.ts';
import { classifyShell } from './classify.ts';
import { findGap } from './cover.ts';

/** A parser that answers every text with one tree. */
const answering = (tree: unknown): ShellParser => ({ parseShell: () => ({ outcome: 'parsed', tree }) });
const script = (...commands: readonly unknown[]): object => ({ type: 'Script', pos: 0, end: 0, commands: commands.map((command) => ({ type: 'Statement', command })) });
const word = (text: string): object => ({ type: 'Word', pos: 0, end: 0, text, value: text });
const reasons = async (parser: ShellParser, text = 'x'): Promise<readonly string[]> => (await classifyShell(text, 'Bash', parser)).unknowns.map(({ reason }) => reason);

test.each([
  ['no command', ''], ['blanks', ' \t\n'], ['any language', 'echo "日本 ä"'], ['64 KiB', 'a'.repeat(65_536)],
])('%s is text for a shell', (_what, text) => {
  expect(checkCommandText(text)).toBeNull();
});

test.each([
  ['NUL', 'a\0b'], ['a bell', 'a\u0007'], ['a carriage return', 'ls\r\n'], ['escape', '\u001b[m'], ['delete', 'a\u007f'], ['bytes that were no UTF-8', 'a\ufffd'], ['half a surrogate pair', 'a\ud800'], ['over 64 KiB', 'a'.repeat(65_537)], ['over 64 KiB of bytes', 'ä'.repeat(32_769)],
])('%s is refused', async (_what, text) => {
  expect(checkCommandText(text)).toBe('COMMAND_INVALID');
  expect(await reasons(answering(script()), text)).toEqual(['the text is not text that a shell would take']);
});

test.each([
  ['\u202e', 'U+202E'], ['\u2066', 'U+2066'], ['\u200b', 'U+200B'], ['\u00ad', 'U+00AD'], ['\ufeff', 'U+FEFF'], ['\u00a0', 'U+00A0'], ['\u3000', 'U+3000'], ['\u2028', 'U+2028'], ['\u0085', 'U+0085'], ['\u{e0041}', 'U+E0041'], ['\ufe0f', 'U+FE0F'], ['ä\\', 'U+00E4'],
])('a text with %j shows otherwise than it is read', (text, name) => {
  expect(findDeceptiveCharacter(`a${text}b`)).toBe(name);
});

test.each(['ls', 'ä', '日本語', 'é|x'.replace('|', ' ')])('%j shows as it is read', (text) => {
  expect(findDeceptiveCharacter(text)).toBeNull();
});

describe('what the parser cannot do is Unknown', () => {
  test.each([
    ['PARSE_TIMEOUT', 'the text took too long to read'],
    ['STATEMENT_TOO_LONG', 'the text is too long'],
  ] as const)('%s', async (code, reason) => {
    expect(await reasons({ parseShell: () => Promise.resolve({ outcome: 'failed', code }) })).toEqual([reason]);
  });

  test.each([
    ['a node', script({ type: 'Novelty' }), 'syntax that is not read'],
    ['a part of a word', script({ type: 'Command', pos: 0, end: 0, name: { ...word('x'), parts: [{ type: 'Novelty', text: 'x' }] }, prefix: [], suffix: [] }), 'an expansion that is not read'],
    ['a test', script({ type: 'TestCommand', pos: 0, end: 0, expression: { type: 'Novelty' } }), 'a test that is not read'],
    ['arithmetic', script({ type: 'ArithmeticCommand', pos: 0, end: 0, body: 'x', expression: { type: 'Novelty' } }), 'arithmetic on anything but whole numbers may run commands'],
    ['no arithmetic', script({ type: 'ArithmeticCommand', pos: 0, end: 0, body: 'x' }), 'arithmetic that cannot be read'],
    ['no script', script({ type: 'Command', pos: 0, end: 0, name: { ...word('$(x)'), parts: [{ type: 'CommandExpansion', text: '$(x)' }] }, prefix: [], suffix: [] }), 'a substitution that cannot be read'],
    ['no target', script({ type: 'Command', pos: 0, end: 0, name: word('x'), prefix: [], suffix: [{ type: 'Redirect', pos: 0, end: 0, operator: '>' }] }), 'a redirection without a target'],
    ['an error', { ...script(), errors: [{ message: 'odd' }] }, 'the text does not parse: odd'],
    ['a value that is not ours', script({ type: 'Command', pos: 0, end: 1, name: { ...word('x'), value: 'y' }, prefix: [], suffix: [] }), 'a word is read in two ways'],
  ])('%s that inspection does not know', async (_what, tree, reason) => {
    expect(await reasons(answering(tree))).toContain(reason);
  });
});

test('more commands than anybody reads are Unknown', async () => {
  const command = { type: 'Command', pos: 0, end: 0, name: word('x'), prefix: [], suffix: [] };
  expect(await reasons(answering(script(...Array.from({ length: 1_001 }, () => command))))).toContain('the text runs too many commands');
});

test('shell texts nested deeper than eight are Unknown', async () => {
  const nested = { type: 'Command', pos: 0, end: 4, name: word('eval'), prefix: [], suffix: [word('x')] };
  expect(await reasons(answering(script(nested)))).toContain('shell texts are nested too deep');
});

test('more shell texts than 64 are Unknown', async () => {
  const nested = { type: 'Command', pos: 0, end: 4, name: word('eval'), prefix: [], suffix: [word('x')] };
  expect(await reasons(answering(script(nested, nested, nested)))).toContain('the text runs too many commands');
});

describe('nothing of a text may be left out', () => {
  test.each([
    ['a b', [[0, 1], [2, 3]], null],
    ['a|b', [[0, 1], [2, 3]], null],
    ['a # b', [[0, 1]], null],
    ['a\\\n b', [[0, 1], [4, 5]], null],
    ['ab', [[0, 1], [1, 2]], 'two words without a blank'],
    ['a\\\nb', [[0, 1], [3, 4]], 'a continued word'],
    ['a b', [[0, 1]], 'a lost word'],
    ['a#b', [[0, 1]], 'no comment'],
    ['a ( b )', [[0, 1], [4, 5]], 'no subshell'],
    ['a\n;b', [[0, 1], [3, 4]], 'a separator without a command'],
    ['((a))', [[2, 3]], 'arithmetic or subshells'],
    ['a & & b', [[0, 1], [6, 7]], 'two separators'],
    ['a b', [[0, 2], [1, 3]], 'pieces that overlap'],
    ['a', [[0, 2]], 'a piece beyond the end'],
  ] as const)('%j with pieces %j: %s', (text, places, problem) => {
    const gap = findGap(text, 0, text.length, places.map(([pos, end]) => ({ kind: 'word', pos, end })));
    expect(gap === null).toBe(problem === null);
  });
});

test.each([
  ["a\\n\\x41\\101\\u0042'", 'a\nAAB'], ["\\'\\\\\\\"\\?'", "'\\\"?"], ["\\U00000043\\e'", 'C\u001b'], ["\\cA'", null], ["\\xff'", null], ["\\0'", null], ["\\u00e4'", null], ["\\q'", null], ["\\u'", null],
])("$'%s is %j", (source, text) => {
  expect(decodeAnsiC(source, 0)).toEqual({ text, end: source.length });
});

test("$'... without an end has none", () => {
  expect(decodeAnsiC('abc', 0).end).toBe(-1);
});
