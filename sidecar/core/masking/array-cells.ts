import type { CellMasker } from './masker.ts';

/**
 * Applies a masker to every element of an array in text form (`{a,"b c",NULL}`, nested and with bounds too).
 *
 * @returns the same view when no element changes; null when the text is not an array literal, and then the caller must hide the cell.
 */
export function mapTextArray(cell: Uint8Array, mask: CellMasker): Uint8Array | null {
  let at = boundsLength(cell);
  if (cell[at] !== openBrace) return null;
  const out: (Uint8Array | number)[] = [cell.subarray(0, at)];
  let depth = 0;
  let changed = false;
  do {
    const byte = cell[at];
    if (byte === undefined) return null;
    if (byte === openBrace || byte === closeBrace || byte === comma) {
      depth += byte === openBrace ? 1 : byte === closeBrace ? -1 : 0;
      out.push(byte);
      at += 1;
      continue;
    }
    const element = byte === doubleQuote ? quotedElement(cell, at) : plainElement(cell, at);
    if (element === null) return null;
    const masked = element.value === null ? null : mask(element.value);
    if (masked === element.value) out.push(cell.subarray(at, element.end));
    else {
      changed = true;
      out.push(masked === null ? nullLiteral : quoted(masked));
    }
    at = element.end;
  } while (depth > 0);
  if (at !== cell.length) return null;
  return changed ? concat(out) : cell;
}

/**
 * Applies a masker to every element of an array in binary form: dimensions, has-null flag, element OID, (size, lower bound) per dimension,
 * then length-prefixed elements. Lengths and the flag are set anew.
 *
 * @returns the same view when no element changes; null when the bytes are not an array, and then the caller must hide the cell.
 * @see PostgreSQL 18, `array_send` in arrayfuncs.c; MAXDIM = 6
 */
export function mapBinaryArray(cell: Uint8Array, mask: CellMasker): Uint8Array | null {
  if (cell.length < 12) return null;
  const view = new DataView(cell.buffer, cell.byteOffset, cell.length);
  const dimensions = view.getInt32(0);
  if (dimensions < 0 || dimensions > 6) return null;
  const headerEnd = 12 + dimensions * 8;
  if (cell.length < headerEnd) return null;
  const out: (Uint8Array | number)[] = [];
  let at = headerEnd;
  let changed = false;
  let hasNull = false;
  while (at < cell.length) {
    if (cell.length - at < 4) return null;
    const length = view.getInt32(at);
    const start = at + 4;
    if (length < -1 || (length > 0 && length > cell.length - start)) return null;
    const value = length === -1 ? null : cell.subarray(start, start + length);
    const masked = value === null ? null : mask(value);
    if (masked !== value) changed = true;
    hasNull ||= masked === null;
    out.push(int32(masked === null ? -1 : masked.length));
    if (masked !== null) out.push(masked);
    at = start + Math.max(length, 0);
  }
  if (!changed) return cell;
  const header = new Uint8Array(cell.subarray(0, headerEnd));
  header.set(int32(hasNull ? 1 : 0), 4);
  return concat([header, ...out]);
}

/** The empty array of an element type, in binary form. */
export function emptyBinaryArray(elementOid: number): Uint8Array {
  const bytes = new Uint8Array(12);
  new DataView(bytes.buffer).setUint32(8, elementOid);
  return bytes;
}

const [openBrace, closeBrace, comma, doubleQuote, backslash] = [0x7b, 0x7d, 0x2c, 0x22, 0x5c];
const nullLiteral = new TextEncoder().encode('NULL');

/** Length of `[0:1][2:3]=` in front of the braces, else 0. */
function boundsLength(cell: Uint8Array): number {
  if (cell[0] !== 0x5b) return 0;
  const equals = cell.indexOf(0x3d);
  return equals > 0 && equals < 200 ? equals + 1 : 0;
}

interface Element {
  readonly value: Uint8Array | null;
  readonly end: number;
}

function quotedElement(cell: Uint8Array, start: number): Element | null {
  const value = new Uint8Array(endOfQuoted(cell, start));
  let length = 0;
  for (let at = start + 1; at < cell.length; at += 1) {
    const byte = cell[at] as number;
    if (byte === doubleQuote) return { value: value.subarray(0, length), end: at + 1 };
    if (byte === backslash) at += 1;
    const literal = cell[at];
    if (literal === undefined) return null;
    value[length] = literal;
    length += 1;
  }
  return null;
}

/** Upper bound of the element's length, so that a long array does not allocate its whole length per element. */
function endOfQuoted(cell: Uint8Array, start: number): number {
  let at = start + 1;
  while (at < cell.length && cell[at] !== doubleQuote) at += cell[at] === backslash ? 2 : 1;
  return at - start;
}

function plainElement(cell: Uint8Array, start: number): Element | null {
  let end = start;
  while (end < cell.length && cell[end] !== comma && cell[end] !== closeBrace) {
    if (cell[end] === backslash || cell[end] === openBrace) return null;
    end += 1;
  }
  const value = cell.subarray(start, end);
  const isNull = value.length === 4 && String.fromCharCode(...value).toUpperCase() === 'NULL';
  return { value: isNull ? null : value, end };
}

function quoted(value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(value.length * 2 + 2);
  let length = 1;
  bytes[0] = doubleQuote;
  for (const byte of value) {
    if (byte === doubleQuote || byte === backslash) bytes[length++] = backslash;
    bytes[length++] = byte;
  }
  bytes[length] = doubleQuote;
  return bytes.subarray(0, length + 1);
}

function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value);
  return bytes;
}

function concat(parts: readonly (Uint8Array | number)[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce<number>((sum, part) => sum + (typeof part === 'number' ? 1 : part.length), 0));
  let at = 0;
  for (const part of parts) {
    if (typeof part === 'number') bytes[at++] = part;
    else {
      bytes.set(part, at);
      at += part.length;
    }
  }
  return bytes;
}
