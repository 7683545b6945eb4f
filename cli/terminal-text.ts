import { printableText } from '../contract/printable-text.ts';

/** A recorded value on one line: control characters as `\xNN`, what reorders or hides text as `\u{HEX}`. Nothing in it can drive a terminal. */
export function shownValue(text: string): string {
  return printableText(text.replace(controls, escapeByte), { oneLine: true });
}

/** A recorded text that may have several lines; tabs become spaces. */
export function shownText(text: string): string {
  return printableText(text.replaceAll('\t', '    ').replaceAll('\r\n', '\n').replace(controlsButLines, escapeByte));
}

/** Columns needed for a text, counting East Asian wide characters and emoji as two. */
export function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += /\p{Mn}/u.test(character) ? 0 : wide.test(character) ? 2 : 1;
  return width;
}

/** Pads to a width in columns. */
export function padded(text: string, width: number, side: 'left' | 'right' = 'right'): string {
  const blanks = ' '.repeat(Math.max(0, width - widthOf(text)));
  return side === 'left' ? blanks + text : text + blanks;
}

/** A table with a header line; columns two blanks apart. */
export function table(rows: readonly (readonly string[])[], right: ReadonlySet<number> = new Set()): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => widthOf(row[column] ?? ''))));
  return rows.map((row) => `${row.map((cell, column) => padded(cell, widths[column] ?? 0, right.has(column) ? 'left' : 'right')).join('  ').trimEnd()}\n`).join('');
}

const controls = /[\u0000-\u001f\u007f-\u009f]/g;
const controlsButLines = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g;
const wide = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;

function escapeByte(character: string): string {
  return `\\x${(character.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`;
}
