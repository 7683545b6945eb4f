import { cellWidth } from '../../core/terminal/cell-width.ts';
import { clusters, type LineBuffer, lineText } from './line-buffer.ts';

/** What stands on the screen: the text from the prompt on, and where the cursor is in it. Null: nothing, the cursor is at the start of a row. */
export interface Drawn {
  readonly text: string;
  readonly columns: number;
  readonly row: number;
  readonly atEnd: boolean;
}

/**
 * Draws prompt and line over what is drawn, and puts the cursor in its place. Pure: bytes for the terminal, and what is drawn then.
 * Text typed at the end is written by itself; everything else is drawn anew from the prompt's row on.
 */
export function drawLine(before: Drawn | null, prompt: string, line: LineBuffer, columns: number): { readonly output: string; readonly drawn: Drawn } {
  const text = prompt + lineText(line);
  const width = Math.max(columns, 2);
  const whole = layOut(text, width);
  const cursor = line.after === '' ? whole : layOut(prompt + line.before, width);
  const drawn = { text, columns: width, row: cursor.row, atEnd: line.after === '' };
  const added = before?.atEnd === true && before.columns === width && drawn.atEnd && text.startsWith(before.text) ? text.slice(before.text.length) : null;
  // A character that joins the one before it, a tab or a wrap needs the whole picture.
  if (added !== null && /^[ -~]*$/u.test(added) && before?.row === whole.row) return { output: added, drawn };
  const back = whole.row - cursor.row;
  return { output: `${toStart(before)}\x1b[J${whole.output}${back > 0 ? `\x1b[${back}A` : ''}${line.after === '' ? '' : `\r${cursor.column > 0 ? `\x1b[${cursor.column}C` : ''}`}`, drawn };
}

/** Leaves the line as it stands and goes to a new row below it. */
export function leaveLine(drawn: Drawn | null, prompt: string, line: LineBuffer, columns: number): string {
  return drawn === null || drawn.atEnd ? '\r\n' : `${drawLine(drawn, prompt, { before: lineText(line), after: '' }, columns).output}\r\n`;
}

/** Takes the line off the screen, for text that is to stand above it. */
export function eraseLine(drawn: Drawn | null): string {
  return drawn === null ? '' : `${toStart(drawn)}\x1b[J`;
}

function toStart(drawn: Drawn | null): string {
  return drawn === null ? '\r' : `${drawn.row > 0 ? `\x1b[${drawn.row}A` : ''}\r`;
}

/** The same picture on a terminal of another width: soft wraps move with it, as terminals do that lay text out anew. */
export function resizeDrawn(drawn: Drawn, prompt: string, line: LineBuffer, columns: number): Drawn {
  const width = Math.max(columns, 2);
  return { ...drawn, columns: width, row: layOut(prompt + line.before, width).row };
}

/** The text as the terminal gets it, and the cell behind it. The terminal wraps by itself, when the next character comes; behind the last one a blank makes it wrap. */
function layOut(text: string, columns: number): { readonly output: string; readonly row: number; readonly column: number } {
  let output = '';
  let row = 0;
  let column = 0;
  for (const cluster of clusters(text)) {
    if (cluster === '\n') {
      output += '\r\n';
      row++;
      column = 0;
      continue;
    }
    const cells = cluster === '\t' ? Math.max(1, Math.min(8 - (column % 8), columns - column)) : cellsOf(cluster);
    if (column + cells > columns) {
      row++;
      column = 0;
    }
    output += cluster === '\t' ? ' '.repeat(cells) : cluster;
    column += cells;
  }
  return column < columns ? { output, row, column } : { output: `${output} \r`, row: row + 1, column: 0 };
}

/** Most terminals count code point by code point. */
function cellsOf(cluster: string): number {
  return Array.from(cluster).reduce((sum, character) => sum + cellWidth(character), 0);
}
