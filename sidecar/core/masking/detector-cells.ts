import type { DetectorName } from '../../../contract/detectors.ts';
import { mapBinaryArray, mapTextArray } from './array-cells.ts';
import { byteaBytes } from './bytea-text.ts';
import { byteString, type DetectorSet, fromByteString, replaceHits } from './detectors.ts';
import { maskJson } from './detector-json.ts';
import { mapBinaryRecord } from './record-cells.ts';
import type { CellMasker, FieldDescription } from './masker.ts';
import { readBinaryNumeric } from './number-style.ts';
import { redactedValue } from './redacted-values.ts';
import { readInteger } from './styles.ts';
import { isTextFamily, type TypeShape, typeShape } from './type-families.ts';

/** The second net for one column without a plan. */
export interface DetectorColumn {
  /** False: the cell cannot hold a match and `mask` need not be called; reads only its length or its bytes. */
  readonly mayHit: (bytes: Uint8Array, start: number, end: number) => boolean;
  /** The same view without a match; otherwise a value that decodes as the column's type. */
  readonly mask: CellMasker;
}

/**
 * Compiles the detectors for one column by its type, format and name.
 *
 * Text, JSON and unknown types have the match replaced; a number, date or address that is a match as a whole becomes its type's redacted value;
 * bytes that hold a match become empty; arrays and records are searched element by element.
 *
 * @returns null when the type can hold no match (bool, uuid, int2, …): its cells pass unread.
 */
export function compileDetectorColumn(
  field: Pick<FieldDescription, 'name' | 'typeOid' | 'format'>, detectors: DetectorSet, typeBase: ReadonlyMap<number, number>, arrayTypes: ReadonlySet<number> | null = null,
): DetectorColumn | null {
  return column(typeShape(field.typeOid, typeBase, arrayTypes), field.format, { detectors, context: detectors.contextOf(field.name), typeBase, arrayTypes }, 0);
}

interface Search {
  readonly detectors: DetectorSet;
  readonly context: ReadonlySet<DetectorName>;
  readonly typeBase: ReadonlyMap<number, number>;
  readonly arrayTypes: ReadonlySet<number> | null;
}

function column(shape: TypeShape, format: 0 | 1, search: Search, depth: number): DetectorColumn | null {
  const { detectors, context } = search;
  const { mayHit } = detectors;
  const { family } = shape;
  if (isTextFamily(family)) return { mayHit, mask: (cell) => maskPlain(cell, detectors, context) };
  switch (family) {
    case 'json':
    case 'jsonb': {
      const isPrefixed = family === 'jsonb' && format === 1;
      // An escape (`\u0040`) can stand for any character.
      return { mayHit: (bytes, start, end) => mayHit(bytes, start, end) || hasBackslash(bytes, start, end), mask: (cell) => maskJson(cell, isPrefixed ? 1 : 0, detectors, context) };
    }
    case 'int4':
    case 'int8':
      return wholeValue(family, format, search, format === 0 ? byteString : readInteger, format === 0 ? mayHit : (bytes, start, end) => !isSmall(bytes, start, end));
    case 'numeric':
      // A binary numeric that cannot be read is from a broken server: searched as the zero that replaces it.
      return wholeValue(family, format, search, format === 0 ? byteString : (cell) => readBinaryNumeric(cell) ?? '', format === 0 ? mayHit : (_, start, end) => end - start > 8);
    case 'float8':
      return wholeValue(family, format, search, (cell) => wholeFloat(format === 0 ? Number(byteString(cell)) : readDouble(cell)), () => true);
    case 'money':
      return format === 0 ? wholeValue(family, format, search, (cell) => byteString(cell).replace(/\.\d\d$|\D/g, ''), mayHit) : null;
    case 'date':
      // Without "birth" in the name, a date is no match; with it, every date is.
      return context.has('date-of-birth') && detectors.names.includes('date-of-birth') ? { mayHit: () => true, mask: () => redactedValue(family, format) } : null;
    case 'inet':
    case 'cidr':
      return detectors.names.includes('ip-address') ? { mayHit: () => true, mask: () => redactedValue(family, format) } : null;
    case 'macaddr':
    case 'macaddr8':
      return detectors.names.includes('device-id') ? { mayHit: () => true, mask: () => redactedValue(family, format) } : null;
    case 'bytea':
      return { mayHit: (_, start, end) => end - start > 2, mask: (cell) => maskBytes(cell, format, search) };
    case 'range':
    case 'multirange':
      return format === 0 ? wholeText(family, search) : null;
    case 'array':
      return shape.element === null ? null : arrayColumn(shape.element.shape, format, search, depth);
    case 'other':
      return format === 0 ? { mayHit, mask: (cell) => maskPlain(cell, detectors, context) } : unknownBinary(search, depth);
    default:
      return null;
  }
}

function hasBackslash(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) if (bytes[at] === 0x5c) return true;
  return false;
}

/** A match in a text cell is replaced where it stands. */
function maskPlain(cell: Uint8Array, detectors: DetectorSet, context: ReadonlySet<DetectorName>): Uint8Array | null {
  const text = byteString(cell);
  const hits = detectors.find(text, context);
  if (hits.length === 0) return cell;
  return hits.some((hit) => hit.style === 'Null') ? null : fromByteString(replaceHits(text, hits, detectors.replacement));
}

function wholeValue(
  family: 'int4' | 'int8' | 'numeric' | 'float8' | 'money', format: 0 | 1, { detectors, context }: Search, read: (cell: Uint8Array) => string, mayHit: DetectorColumn['mayHit'],
): DetectorColumn {
  const value = redactedValue(family, format);
  return {
    mayHit,
    mask: (cell) => {
      const hits = detectors.find(read(cell).replace(/^-/, ''), context);
      if (hits.length === 0) return cell;
      return hits.some((hit) => hit.style === 'Null') ? null : value;
    },
  };
}

function wholeText(family: 'range' | 'multirange', { detectors, context }: Search): DetectorColumn {
  return { mayHit: detectors.mayHit, mask: (cell) => (detectors.find(byteString(cell), context).length === 0 ? cell : redactedValue(family, 0)) };
}

/** No detector looks at fewer than three digits. */
function isSmall(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end - 1; at += 1) if (bytes[at] !== 0) return false;
  return (bytes[end - 1] as number) < 100;
}

/** A float that holds a whole number of card or account size, as digits. */
function wholeFloat(value: number): string {
  return Number.isSafeInteger(value) && Math.abs(value) >= 1e7 ? Math.abs(value).toString() : '';
}

function readDouble(cell: Uint8Array): number {
  return cell.length === 8 ? new DataView(cell.buffer, cell.byteOffset, 8).getFloat64(0) : Number.NaN;
}

function maskBytes(cell: Uint8Array, format: 0 | 1, { detectors, context }: Search): Uint8Array | null {
  const bytes = format === 0 ? byteaBytes(cell) : cell;
  if (!detectors.mayHit(bytes, 0, bytes.length)) return cell;
  const hits = detectors.find(byteString(bytes), context);
  if (hits.length === 0) return cell;
  return hits.some((hit) => hit.style === 'Null') ? null : redactedValue('bytea', format);
}

function arrayColumn(element: TypeShape, format: 0 | 1, search: Search, depth: number): DetectorColumn | null {
  const inner = column(element, format, search, depth + 1);
  if (inner === null) return null;
  const map = format === 0 ? mapTextArray : mapBinaryArray;
  const maskElement: CellMasker = (cell) => (inner.mayHit(cell, 0, cell.length) ? inner.mask(cell) : cell);
  // What is no array is searched as what it is: bytes.
  return { mayHit: format === 0 && element.family !== 'bytea' ? search.detectors.mayHit : () => true, mask: (cell) => map(cell, maskElement) ?? maskUnknown(cell, search) };
}

/** Types without a rule in binary: a record is searched field by field, anything else as text between other bytes. */
function unknownBinary(search: Search, depth: number): DetectorColumn {
  const fieldMask = (oid: number): CellMasker | null => {
    // Records within records within records: past four levels the bytes are searched as they are.
    const inner = depth > 4 ? null : column(typeShape(oid, search.typeBase, search.arrayTypes), 1, search, depth + 1);
    return inner === null ? null : (cell) => (inner.mayHit(cell, 0, cell.length) ? inner.mask(cell) : cell);
  };
  return { mayHit: () => true, mask: (cell) => mapBinaryRecord(cell, fieldMask) ?? maskUnknown(cell, search) };
}

/** A match among unknown bytes is overwritten with `*`: no length changes, so that the form around it stays. */
function maskUnknown(cell: Uint8Array, { detectors, context }: Search): Uint8Array | null {
  if (!detectors.mayHit(cell, 0, cell.length)) return cell;
  const text = byteString(cell);
  const hits = detectors.find(text, context);
  if (hits.length === 0) return cell;
  return hits.some((hit) => hit.style === 'Null') ? null : fromByteString(replaceHits(text, hits, (hit) => '*'.repeat(hit.end - hit.start)));
}
