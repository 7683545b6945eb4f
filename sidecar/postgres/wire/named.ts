import { SallyportError } from '../../core/errors.ts';
import { bodyCursor, expectEnd, readByte, readCString, readInt32 } from './cursor.ts';

/** Describe and Close name a statement or a portal. */
export interface NamedMessage {
  readonly kind: 'statement' | 'portal';
  readonly name: string;
}

/** Decodes a whole Describe or Close frame. Throws PROTOCOL_VIOLATION. */
export function readNamed(buffer: Buffer, start: number, end: number): NamedMessage {
  const cursor = bodyCursor(buffer, start, end);
  const kind = readByte(cursor);
  if (kind !== 0x53 && kind !== 0x50) throw new SallyportError('PROTOCOL_VIOLATION', { reason: 'neither statement nor portal' });
  const name = readCString(cursor);
  expectEnd(cursor);
  return { kind: kind === 0x53 ? 'statement' : 'portal', name };
}

/** Execute: runs a portal; `maxRows` 0 = all. */
export interface ExecuteMessage {
  readonly portal: string;
  readonly maxRows: number;
}

/** Decodes a whole Execute frame. Throws PROTOCOL_VIOLATION. */
export function readExecute(buffer: Buffer, start: number, end: number): ExecuteMessage {
  const cursor = bodyCursor(buffer, start, end);
  const portal = readCString(cursor);
  const maxRows = readInt32(cursor);
  expectEnd(cursor);
  return { portal, maxRows };
}
