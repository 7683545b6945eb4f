import type { CopyOptions } from '../core/sql/statement-facts.ts';
import { equal, singleByte } from './copy-text.ts';
import { type CopyRowReader, copyViolation, joined, type RowEndFinder, type RowRewriter, rowSplitter } from './copy-rows.ts';

/**
 * COPY CSV format with any one-byte delimiter, quote and escape: newlines inside quotes belong to the value, the NULL string counts only unquoted.
 *
 * @see PostgreSQL 18, COPY, "CSV Format"; `CopyAttributeOutCSV` in copyto.c
 */
export function csvRowReader(options: CopyOptions, rewriter: RowRewriter): CopyRowReader {
  const marks: Marks = { delimiter: singleByte(options.delimiter), quote: singleByte(options.quote), escape: singleByte(options.escape) };
  const nullString = Buffer.from(options.nullString, 'utf8');
  let isHeader = options.header;
  const rewrite = (row: Uint8Array): Uint8Array => {
    const parts: Uint8Array[] = [];
    let changed = false;
    let index = 0;
    const last = row.length - 1;
    const header = isHeader;
    isHeader = false;
    if (!header) rewriter.countRow();
    if (rewriter.columns === 0) {
      if (last > 0) throw copyViolation('column count');
      return row;
    }
    for (let at = 0; at <= last; index += 1) {
      if (index >= rewriter.columns) throw copyViolation('column count');
      const field = readField(row, at, marks);
      const rewritten = rewriteField(field, index, header);
      if (rewritten !== field.raw) changed = true;
      parts.push(rewritten, row.subarray(field.end, field.end + 1));
      at = field.end + 1;
    }
    if (index !== rewriter.columns) throw copyViolation('column count');
    return changed ? joined(parts) : row;
  };
  const rewriteField = (field: Field, index: number, header: boolean): Uint8Array => {
    if (!header && !field.isQuoted && equal(field.raw, nullString)) return field.raw;
    const masked = header ? rewriter.maskHeader(field.cell, index) : rewriter.maskCell(field.cell, index);
    if (masked === field.cell) return field.raw;
    if (masked === null) return nullString;
    const isSoleEndMark = rewriter.columns === 1 && equal(masked, endMark);
    return field.isQuoted || isSoleEndMark || equal(masked, nullString) || needsQuotes(masked, marks) ? quoted(masked, marks) : masked;
  };
  return rowSplitter(csvRowEnd(marks), rewriter.limitBytes, rewrite);
}

interface Marks {
  readonly delimiter: number;
  readonly quote: number;
  readonly escape: number;
}

interface Field {
  readonly raw: Uint8Array;
  readonly cell: Uint8Array;
  readonly isQuoted: boolean;
  /** Position of the delimiter or newline after the field. */
  readonly end: number;
}

const newline = 0x0a;
const endMark = Uint8Array.of(0x5c, 0x2e);

function csvRowEnd({ quote, escape }: Marks): RowEndFinder {
  let isQuoted = false;
  let afterEscape = false;
  const find = (bytes: Uint8Array, from: number): number => {
    for (let at = from; at < bytes.length; at += 1) {
      const byte = bytes[at] as number;
      if (afterEscape) {
        afterEscape = false;
        if (byte === quote || byte === escape) continue;
      }
      if (isQuoted && byte === escape && escape !== quote) afterEscape = true;
      // With escape = quote a doubled quote closes and opens again: the same in the end.
      else if (byte === quote) isQuoted = !isQuoted;
      else if (byte === newline && !isQuoted) return at + 1;
    }
    return -1;
  };
  return { find };
}

function readField(row: Uint8Array, start: number, marks: Marks): Field {
  if (row[start] === marks.quote) return readQuoted(row, start, marks);
  let end = start;
  while (row[end] !== marks.delimiter && row[end] !== newline) {
    if (row[end] === marks.quote || end >= row.length) throw copyViolation('a quote inside an unquoted CSV value');
    end += 1;
  }
  const raw = row.subarray(start, end);
  return { raw, cell: raw, isQuoted: false, end };
}

function readQuoted(row: Uint8Array, start: number, { delimiter, quote, escape }: Marks): Field {
  const cell = new Uint8Array(quotedLength(row, start, quote, escape));
  let length = 0;
  let at = start + 1;
  for (; at < row.length; at += 1) {
    const byte = row[at] as number;
    const next = row[at + 1];
    if (byte === escape && (next === quote || next === escape)) {
      at += 1;
      cell[length++] = next;
    } else if (byte === quote) break;
    else cell[length++] = byte;
  }
  const end = at + 1;
  if (at >= row.length || (row[end] !== delimiter && row[end] !== newline)) throw copyViolation('a CSV value goes on after its closing quote');
  return { raw: row.subarray(start, end), cell: cell.subarray(0, length), isQuoted: true, end };
}

/** Upper bound of the value's length: a row with many short values must not allocate its whole length for each. */
function quotedLength(row: Uint8Array, start: number, quote: number, escape: number): number {
  let at = start + 1;
  while (at < row.length) {
    if (row[at] === escape && (row[at + 1] === quote || row[at + 1] === escape)) at += 2;
    else if (row[at] === quote) break;
    else at += 1;
  }
  return at - start;
}

function needsQuotes(cell: Uint8Array, { delimiter, quote }: Marks): boolean {
  return cell.some((byte) => byte === delimiter || byte === quote || byte === newline || byte === 0x0d);
}

function quoted(cell: Uint8Array, { quote, escape }: Marks): Uint8Array {
  const raw = new Uint8Array(cell.length * 2 + 2);
  let length = 1;
  raw[0] = quote;
  for (const byte of cell) {
    if (byte === quote || byte === escape) raw[length++] = escape;
    raw[length++] = byte;
  }
  raw[length++] = quote;
  return raw.subarray(0, length);
}
