import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Editor, type Effect, maxHistory, maxLine, newEditor, pressKey, remember, takeLine } from './editor.ts';
import { noKeys, readKeys } from './keys.ts';
import { lineText } from './line-buffer.ts';

/** Types what a terminal would send. */
function type(input: string, editor: Editor = newEditor): { readonly editor: Editor; readonly effects: readonly Effect[] } {
  const effects: Effect[] = [];
  let now = editor;
  for (const key of readKeys(noKeys, Buffer.from(input)).keys) {
    const step = pressKey(now, key);
    now = step.editor;
    effects.push(step.effect);
  }
  return { editor: now, effects };
}

/** The line with `|` where the cursor is. */
function shown(input: string, editor?: Editor): string {
  const { line } = type(input, editor).editor;
  return `${line.before}|${line.after}`;
}

function withHistory(...lines: readonly string[]): Editor {
  return lines.reduce((editor, line) => takeLine(remember(editor, line)), newEditor);
}

describe('keys edit as in bash', () => {
  test.each([
    ['typing', 'abc', 'abc|'],
    ['Ctrl-A and Ctrl-E', 'abc\x01x\x05y', 'xabcy|'],
    ['Home and End', 'abc\x1b[Hx\x1b[Fy', 'xabcy|'],
    ['arrows', 'abc\x1b[D\x1b[Dx\x1b[Cy', 'axby|c'],
    ['Backspace and Delete', 'abcd\x7f\x1b[D\x1b[D\x1b[3~', 'a|c'],
    ['Ctrl-D inside a line deletes', 'abc\x01\x04', '|bc'],
    ['Ctrl-K and Ctrl-Y', 'abc def\x1bb\x0b\x01\x19', 'def|abc '],
    ['Ctrl-U', 'abc def\x1b[D\x15', '|f'],
    ['Ctrl-W to a blank', 'ls /a/b-c\x17', 'ls |'],
    ['Meta-Backspace to a word', 'ls /a/b-c\x1b\x7f', 'ls /a/b-|'],
    ['Meta-D', 'abc def\x01\x1bd', '| def'],
    ['word moves', 'abc def\x1bb\x1bbX\x1bfY', 'XabcY| def'],
    ['several cuts in a row are one to bring back', 'a b c\x17\x17\x19', 'a b c|'],
    ['a cut after a move is its own', 'a b c\x17\x01\x06\x05\x17\x19', 'a b |'],
    ['Ctrl-T', 'ab\x14', 'ba|'],
    ['Meta-U', 'abc\x01\x1bu', 'ABC|'],
    ['Ctrl-_ undoes', 'abc\x17\x1f', 'abc|'],
    ['combined characters move as one', 'ae\u0301x\x1b[D\x1b[D\x7f', '|e\u0301x'],
    ['a family is one character', 'a👨‍👩‍👧\x7f', 'a|'],
  ])('%s', (_name, input, line) => expect(shown(input)).toBe(line));

  test('Enter, Ctrl-C, Ctrl-D on nothing, Tab and Ctrl-L are for the surroundings', () => {
    expect(type('\r\x03\x04\t\x0c').effects).toEqual(['submit', 'interrupt', 'endOfInput', 'complete', 'clearScreen']);
  });
  test('Ctrl-D at the end of a line that is not empty only rings', () => expect(type('a\x04').effects).toEqual(['redraw', 'bell']));
  test('a line has a longest length', () => {
    const { editor, effects } = type('x', { ...newEditor, line: { before: 'a'.repeat(maxLine), after: '' } });
    expect([lineText(editor.line).length, effects]).toEqual([maxLine, ['bell']]);
  });
});

describe('history', () => {
  const three = withHistory('one', 'two', 'three');
  test.each([
    ['up', '\x1b[A\x1b[A', 'two|'],
    ['up and down', '\x1b[A\x1b[A\x1b[B', 'three|'],
    ['back to what was typed', 'new\x1b[A\x1b[B', 'new|'],
    ['no further than the first', '\x1b[A\x1b[A\x1b[A\x1b[A', 'one|'],
    ['first and last line', '\x1b<', 'one|'],
    ['the last word', 'cat \x1b.', 'cat three|'],
    ['Ctrl-R finds', '\x12wo', 'two|'],
    ['Ctrl-R again goes further back', '\x12o\x12', 'one|'],
    ['Ctrl-G gives back what was typed', 'new\x12tw\x07', 'new|'],
    ['Ctrl-C in a search only leaves it', 'new\x12tw\x03', 'new|'],
    ['another key takes the line and acts', '\x12tw\x01x', 'x|two'],
    ['Backspace widens the search', '\x12threx\x7f', 'three|'],
    ['up goes on from what was found', '\x12two\x1b[A', 'one|'],
  ])('%s', (_name, input, line) => expect(shown(input, three)).toBe(line));

  test('Enter in a search runs what was found', () => expect(type('\x12tw\r', three).effects.at(-1)).toBe('submit'));
  test('blank lines, repeats and lines that begin with a blank are not remembered', () => expect(withHistory('a', 'a', '', ' secret', 'b').history).toEqual(['a', 'b']));
  test('it has an end', () => expect(withHistory(...Array.from({ length: maxHistory + 5 }, (_, index) => `${index}`)).history.length).toBe(maxHistory));
});

test('no key makes the editor lose its invariants', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
    const { editor } = type(Buffer.from(bytes).toString('latin1'), withHistory('one', 'two'));
    expect(lineText(editor.line).length).toBeLessThanOrEqual(maxLine);
    expect(lineText(editor.line)).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f]/u);
  }));
});

test('word moves on a line made to hurt take no time to speak of', () => {
  const line = { before: '!'.repeat(60_000), after: '' };
  const start = performance.now();
  for (const key of ['\x1bb', '\x1bf', '\x17', '\x1b\x7f']) type(key, { ...newEditor, line });
  expect(performance.now() - start).toBeLessThan(2000);
});
