import { SallyportError } from '../../core/errors.ts';

/** Reads the fields of one message body; every read is checked against the frame's end. Throws SallyportError PROTOCOL_VIOLATION. */
export interface Cursor {
  readonly buffer: Buffer;
  position: number;
  readonly end: number;
}

/** A cursor over the body of a frame that starts with its five header bytes. */
export function bodyCursor(buffer: Buffer, start: number, end: number): Cursor {
  return { buffer, position: start + 5, end };
}

export function readByte(cursor: Cursor): number {
  need(cursor, 1);
  return cursor.buffer[cursor.position++] as number;
}

export function readInt16(cursor: Cursor): number {
  need(cursor, 2);
  const value = cursor.buffer.readInt16BE(cursor.position);
  cursor.position += 2;
  return value;
}

export function readInt32(cursor: Cursor): number {
  need(cursor, 4);
  const value = cursor.buffer.readInt32BE(cursor.position);
  cursor.position += 4;
  return value;
}

export function readUInt32(cursor: Cursor): number {
  return readInt32(cursor) >>> 0;
}

/** A view, not a copy. */
export function readBytes(cursor: Cursor, count: number): Buffer {
  if (count < 0) violation('negative length');
  need(cursor, count);
  const bytes = cursor.buffer.subarray(cursor.position, cursor.position + count);
  cursor.position += count;
  return bytes;
}

/** Bytes up to the terminator, which is consumed. */
export function readCStringBytes(cursor: Cursor): Buffer {
  const stop = cursor.buffer.indexOf(0, cursor.position);
  if (stop < 0 || stop >= cursor.end) violation('string without terminator');
  const bytes = cursor.buffer.subarray(cursor.position, stop);
  cursor.position = stop + 1;
  return bytes;
}

/** Names and tags; bytes that are not UTF-8 become U+FFFD, so two such names may look alike: callers compare what the server told. */
export function readCString(cursor: Cursor): string {
  const stop = cursor.buffer.indexOf(0, cursor.position);
  if (stop < 0 || stop >= cursor.end) violation('string without terminator');
  const text = stop === cursor.position ? '' : cursor.buffer.toString('utf8', cursor.position, stop);
  cursor.position = stop + 1;
  return text;
}

/** The body must be used up exactly. */
export function expectEnd(cursor: Cursor): void {
  if (cursor.position !== cursor.end) violation('body longer than its fields');
}

function need(cursor: Cursor, count: number): void {
  if (cursor.end - cursor.position < count) violation('body shorter than its fields');
}

function violation(reason: string): never {
  throw new SallyportError('PROTOCOL_VIOLATION', { reason });
}
