import { SallyportError } from '../../core/errors.ts';
import { bodyCursor, type Cursor, expectEnd, readBytes, readCString, readInt16, readInt32 } from './cursor.ts';

/** One parameter value; `value` null is SQL NULL, else a view into the frame. */
export interface BoundParameter {
  readonly format: 0 | 1;
  readonly value: Buffer | null;
}

/** Bind: makes a portal of a statement and its parameters. */
export interface BindMessage {
  readonly portal: string;
  readonly statement: string;
  readonly parameters: readonly BoundParameter[];
  /** As sent: none = all text, one = for all, else one per column. */
  readonly resultFormats: readonly (0 | 1)[];
}

/** Decodes a whole Bind frame. Throws PROTOCOL_VIOLATION. */
export function readBind(buffer: Buffer, start: number, end: number): BindMessage {
  const cursor = bodyCursor(buffer, start, end);
  const portal = readCString(cursor);
  const statement = readCString(cursor);
  const formats = readFormats(cursor);
  const count = readInt16(cursor) & 0xffff;
  if (formats.length > 1 && formats.length !== count) throw new SallyportError('PROTOCOL_VIOLATION', { reason: 'parameter formats do not fit' });
  const parameters: BoundParameter[] = [];
  for (let index = 0; index < count; index++) {
    const length = readInt32(cursor);
    const format = (formats.length === 1 ? formats[0] : formats[index]) ?? 0;
    parameters.push({ format, value: length === -1 ? null : readBytes(cursor, length) });
  }
  const resultFormats = readFormats(cursor);
  expectEnd(cursor);
  return { portal, statement, parameters, resultFormats };
}

/** The format of one column under the rule of Bind: none = text, one = for all. */
export function formatOf(formats: readonly (0 | 1)[], column: number): 0 | 1 {
  return (formats.length === 1 ? formats[0] : formats[column]) ?? 0;
}

function readFormats(cursor: Cursor): (0 | 1)[] {
  const formats: (0 | 1)[] = [];
  for (let left = readInt16(cursor) & 0xffff; left > 0; left--) {
    const format = readInt16(cursor);
    if (format !== 0 && format !== 1) throw new SallyportError('PROTOCOL_VIOLATION', { reason: 'format code' });
    formats.push(format);
  }
  return formats;
}
