import { bodyCursor, expectEnd, readCString, readCStringBytes, readInt16, readUInt32 } from './cursor.ts';

/** Parse: prepares a statement; an empty name is the unnamed one. */
export interface ParseMessage {
  readonly name: string;
  /** The statement's bytes without terminator; a view. */
  readonly text: Buffer;
  /** OIDs, 0 = left to the server. */
  readonly parameterTypes: readonly number[];
}

/** Decodes a whole Parse frame. Throws PROTOCOL_VIOLATION. */
export function readParse(buffer: Buffer, start: number, end: number): ParseMessage {
  const cursor = bodyCursor(buffer, start, end);
  const name = readCString(cursor);
  const text = readCStringBytes(cursor);
  const parameterTypes: number[] = [];
  for (let left = readInt16(cursor) & 0xffff; left > 0; left--) parameterTypes.push(readUInt32(cursor));
  expectEnd(cursor);
  return { name, text, parameterTypes };
}
