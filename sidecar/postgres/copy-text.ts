import type { CopyOptions } from '../core/sql/statement-facts.ts';
import { type CopyRowReader, copyViolation, joined, type RowRewriter, rowSplitter } from './copy-rows.ts';

/**
 * COPY text format: one row per line, fields between delimiters, backslash escapes, a NULL string that is compared before escapes are read.
 *
 * @see PostgreSQL 18, COPY, "Text Format"; `CopyAttributeOutText` in copyto.c
 */
export function textRowReader(options: CopyOptions, rewriter: RowRewriter): CopyRowReader {
  const delimiter = singleByte(options.delimiter);
  const nullString = Buffer.from(options.nullString, 'utf8');
  let isHeader = options.header;
  // A newline in data is written `\n`: a raw one always ends the row.
  const finder = { find: (bytes: Uint8Array, from: number): number => bytes.indexOf(newline, from) + 1 || -1 };
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
      const end = fieldEnd(row, at, delimiter);
      const raw = row.subarray(at, end);
      const rewritten = field(raw, index, header);
      if (rewritten !== raw) changed = true;
      parts.push(rewritten, row.subarray(end, end + 1));
      at = end + 1;
    }
    if (index !== rewriter.columns) throw copyViolation('column count');
    return changed ? joined(parts) : row;
  };
  const field = (raw: Uint8Array, index: number, header: boolean): Uint8Array => {
    if (!header && equal(raw, nullString)) return raw;
    const cell = raw.includes(backslash) ? unescaped(raw) : raw;
    const masked = header ? rewriter.maskHeader(cell, index) : rewriter.maskCell(cell, index);
    if (masked === cell) return raw;
    return masked === null ? nullString : escaped(masked, delimiter);
  };
  return rowSplitter(finder, rewriter.limitBytes, rewrite);
}

/** The byte of an option that COPY limits to one single-byte character. */
export function singleByte(option: string): number {
  const bytes = Buffer.from(option, 'utf8');
  if (bytes.length !== 1) throw copyViolation('an option of COPY is not one byte');
  return bytes[0] as number;
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

const [newline, backslash] = [0x0a, 0x5c];

function fieldEnd(row: Uint8Array, from: number, delimiter: number): number {
  let at = from;
  while (at < row.length && row[at] !== delimiter && row[at] !== newline) at += row[at] === backslash ? 2 : 1;
  // The row ends with its newline, so only a backslash right before it leads past the end.
  if (at >= row.length) throw copyViolation('a backslash before the end of the row');
  return at;
}

// b f n r t v and what they stand for.
const controlLetters: ReadonlyMap<number, number> = new Map([[0x62, 8], [0x66, 12], [0x6e, 10], [0x72, 13], [0x74, 9], [0x76, 11]]);
const controlBytes: ReadonlyMap<number, number> = new Map([...controlLetters].map(([letter, byte]) => [byte, letter]));

function unescaped(raw: Uint8Array): Uint8Array {
  const cell = new Uint8Array(raw.length);
  let length = 0;
  for (let at = 0; at < raw.length; at += 1) {
    const byte = raw[at] as number;
    if (byte !== backslash) cell[length++] = byte;
    else {
      at += 1;
      const next = raw[at] as number;
      const numeric = codeAfterBackslash(raw, at);
      if (numeric === null) cell[length++] = controlLetters.get(next) ?? next;
      else {
        cell[length++] = numeric.byte;
        at = numeric.end - 1;
      }
    }
  }
  return cell.subarray(0, length);
}

/** `\ooo` (1 to 3 octal digits) and `\xhh` (1 or 2 hex digits): legal in the format, though the server writes neither. */
function codeAfterBackslash(raw: Uint8Array, at: number): { readonly byte: number; readonly end: number } | null {
  const isHex = raw[at] === 0x78;
  const digits = /^(?:[0-7]{1,3}|x[0-9A-Fa-f]{1,2})/.exec(String.fromCharCode(...raw.subarray(at, at + 3)))?.[0];
  if (digits === undefined) return null;
  return { byte: Number.parseInt(isHex ? digits.slice(1) : digits, isHex ? 16 : 8) & 0xff, end: at + digits.length };
}

function escaped(cell: Uint8Array, delimiter: number): Uint8Array {
  const raw = new Uint8Array(cell.length * 2);
  let length = 0;
  for (const byte of cell) {
    const letter = controlBytes.get(byte);
    if (letter !== undefined || byte === backslash || byte === delimiter) raw[length++] = backslash;
    raw[length++] = letter ?? byte;
  }
  return raw.subarray(0, length);
}
