import { SallyportError } from '../../core/errors.ts';
import type { FieldDescription } from '../../core/masking/masker.ts';
import { bodyCursor, expectEnd, readCString, readInt16, readInt32, readUInt32 } from './cursor.ts';

/** Decodes a whole RowDescription frame. Throws PROTOCOL_VIOLATION. */
export function readRowDescription(buffer: Buffer, start: number, end: number): readonly FieldDescription[] {
  const cursor = bodyCursor(buffer, start, end);
  const fields: FieldDescription[] = [];
  for (let left = readInt16(cursor) & 0xffff; left > 0; left--) {
    const name = readCString(cursor);
    const tableOid = readUInt32(cursor);
    const attnum = readInt16(cursor);
    const typeOid = readUInt32(cursor);
    readInt16(cursor);
    const typeModifier = readInt32(cursor);
    const format = readInt16(cursor);
    if (format !== 0 && format !== 1) throw new SallyportError('PROTOCOL_VIOLATION', { reason: 'format code' });
    fields.push({ name, tableOid, attnum, typeOid, typeModifier, format });
  }
  expectEnd(cursor);
  return fields;
}

/** Writes a RowDescription frame with other names; sizes of types are taken from the original frame. */
export function renameColumns(buffer: Buffer, start: number, end: number, names: readonly string[]): Buffer {
  const cursor = bodyCursor(buffer, start, end);
  const count = readInt16(cursor) & 0xffff;
  const parts: Buffer[] = [Buffer.from(buffer.subarray(start, start + 7))];
  for (let index = 0; index < count; index++) {
    readCString(cursor);
    parts.push(Buffer.from(`${names[index] ?? `column_${index + 1}`}\0`), buffer.subarray(cursor.position, cursor.position + 18));
    cursor.position += 18;
  }
  const frame = Buffer.concat(parts);
  frame.writeUInt32BE(frame.length - 1, 1);
  return frame;
}
