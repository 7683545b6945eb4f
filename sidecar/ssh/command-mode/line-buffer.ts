/** A line being edited: what stands before the cursor, and after it. The cut is between characters as people see them (grapheme clusters). */
export interface LineBuffer {
  readonly before: string;
  readonly after: string;
}

/** Nothing typed. */
export const emptyLine: LineBuffer = { before: '', after: '' };

/** The whole line. */
export function lineText(line: LineBuffer): string {
  return line.before + line.after;
}

/** A line with the cursor at its end. */
export function lineOf(text: string): LineBuffer {
  return { before: text, after: '' };
}

/** Types a text at the cursor. */
export function insert(line: LineBuffer, text: string): LineBuffer {
  return { before: line.before + text, after: line.after };
}

/** Moves the cursor; at an end of the line it stays. */
export function move(line: LineBuffer, to: 'left' | 'right' | 'wordLeft' | 'wordRight' | 'home' | 'end'): LineBuffer {
  const text = lineText(line);
  return split(text, target(line, to));
}

/** Takes out what lies between the cursor and where `move` would bring it, or the nearest blank before it. */
export function cut(line: LineBuffer, to: 'left' | 'right' | 'wordLeft' | 'wordRight' | 'home' | 'end' | 'blankLeft'): { readonly line: LineBuffer; readonly removed: string } {
  const at = line.before.length;
  const other = to === 'blankLeft' ? runBack(line.before, (char) => char !== ' ' && char !== '\t' && char !== '\n') : target(line, to);
  const [from, until] = other < at ? [other, at] : [at, other];
  const text = lineText(line);
  return { line: { before: text.slice(0, from), after: text.slice(until) }, removed: text.slice(from, until) };
}

/** Exchanges the characters around the cursor, as Ctrl-T does. */
export function transpose(line: LineBuffer): LineBuffer {
  const moved = line.after === '' ? move(line, 'left') : line;
  const left = clusters(moved.before).at(-1);
  const right = clusters(moved.after)[0];
  if (left === undefined || right === undefined) return line;
  return { before: moved.before.slice(0, moved.before.length - left.length) + right + left, after: moved.after.slice(right.length) };
}

/** Writes the next word in capitals or small letters and moves behind it. */
export function changeWord(line: LineBuffer, change: (word: string) => string): LineBuffer {
  const { line: rest, removed } = cut(line, 'wordRight');
  return insert(rest, change(removed));
}

/** The last word between blanks; empty where there is none. */
export function lastWord(text: string): string {
  const trimmed = text.trimEnd();
  return trimmed.slice(runBack(trimmed, (char) => char.trim() !== ''));
}

/** Characters as people see them. */
export function clusters(text: string): readonly string[] {
  return /^[\u0020-\u007e]*$/u.test(text) ? text.split('') : Array.from(segmenter.segment(text), ({ segment }) => segment);
}

// A constant: it holds no state between calls.
const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** A cluster is not longer than this: only the end of a long line needs to be cut into clusters. */
const window = 128;

function target({ before, after }: LineBuffer, to: Parameters<typeof move>[1]): number {
  switch (to) {
    case 'home':
      return 0;
    case 'end':
      return before.length + after.length;
    case 'left':
      return before.length - (clusters(before.slice(-window)).at(-1)?.length ?? 0);
    case 'right':
      return before.length + (clusters(after.slice(0, window))[0]?.length ?? 0);
    case 'wordLeft':
      return runBack(before, isWordChar);
    case 'wordRight':
      return before.length + runForward(after, isWordChar);
    default:
      return to satisfies never;
  }
}

function split(text: string, at: number): LineBuffer {
  return { before: text.slice(0, at), after: text.slice(at) };
}

function isWordChar(char: string): boolean {
  return /[\p{L}\p{N}\p{M}_]/u.test(char);
}

/** Where the last word begins. Loops and no pattern: a pattern anchored at the end needs quadratic time for a line made to hurt. */
function runBack(text: string, isWord: (char: string) => boolean): number {
  const chars = Array.from(text);
  let at = chars.length;
  while (at > 0 && !isWord(chars[at - 1] ?? '')) at--;
  while (at > 0 && isWord(chars[at - 1] ?? '')) at--;
  return chars.slice(0, at).join('').length;
}

/** Where the first word ends. */
function runForward(text: string, isWord: (char: string) => boolean): number {
  const chars = Array.from(text);
  let at = 0;
  while (at < chars.length && !isWord(chars[at] ?? '')) at++;
  while (at < chars.length && isWord(chars[at] ?? '')) at++;
  return chars.slice(0, at).join('').length;
}
