import type { CellMasker } from './masker.ts';

/**
 * Applies maskers to the fields of a composite value in binary form: field count, then per field type OID, length (-1 = NULL) and value.
 *
 * @param maskOf the masker for a field's type, or null to leave it.
 * @returns the same view when no field changes; null when the bytes are not a record.
 * @see PostgreSQL 18, `record_send` in rowtypes.c; at most 1,664 columns (MaxTupleAttributeNumber)
 */
export function mapBinaryRecord(cell: Uint8Array, maskOf: (typeOid: number) => CellMasker | null): Uint8Array | null {
  if (cell.length < 4) return null;
  const view = new DataView(cell.buffer, cell.byteOffset, cell.length);
  const count = view.getInt32(0);
  if (count < 1 || count > 1664) return null;
  const parts: Uint8Array[] = [cell.subarray(0, 4)];
  let at = 4;
  let changed = false;
  for (let field = 0; field < count; field += 1) {
    if (cell.length - at < 8) return null;
    const length = view.getInt32(at + 4);
    const start = at + 8;
    if (length < -1 || length > cell.length - start) return null;
    const end = start + Math.max(length, 0);
    const value = cell.subarray(start, end);
    const mask = length === -1 ? null : maskOf(view.getUint32(at));
    const masked = mask === null ? value : mask(value);
    if (masked === value) parts.push(cell.subarray(at, end));
    else {
      changed = true;
      const head = new Uint8Array(cell.subarray(at, start));
      new DataView(head.buffer).setInt32(4, masked === null ? -1 : masked.length);
      parts.push(head, masked ?? new Uint8Array(0));
    }
    at = end;
  }
  if (at !== cell.length) return null;
  return changed ? Buffer.concat(parts) : cell;
}
