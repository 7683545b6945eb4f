import { type CopyRowReader, copyViolation, joined, type RowEndFinder, type RowRewriter, rowSplitter } from './copy-rows.ts';

/**
 * COPY binary format: file header, then per tuple a field count and length-prefixed values, then a trailer of count -1.
 * As the server does, the header leaves with the first tuple (or the trailer).
 *
 * @see PostgreSQL 18, COPY, "Binary Format"
 */
export function binaryRowReader(rewriter: RowRewriter): CopyRowReader {
  let isFirst = true;
  let isOver = false;
  const rewrite = (row: Uint8Array): Uint8Array => {
    if (isOver) throw copyViolation('data after the trailer');
    const view = new DataView(row.buffer, row.byteOffset, row.length);
    const start = isFirst ? headerLength(row, view) : 0;
    isFirst = false;
    const count = view.getInt16(start);
    if (count === -1) {
      isOver = true;
      return row;
    }
    if (count !== rewriter.columns) throw copyViolation('column count');
    rewriter.countRow();
    return rewriteTuple(row, view, start, rewriter);
  };
  const splitter = rowSplitter(binaryRowEnd(), rewriter.limitBytes, rewrite);
  const end = (): readonly Uint8Array[] => {
    const rest = splitter.end();
    if (!isOver) throw copyViolation('the trailer is missing');
    return rest;
  };
  return { push: (body) => splitter.push(body), end };
}

const signature = Uint8Array.of(0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0x00);
const headerFixedBytes = 19;

function headerLength(row: Uint8Array, view: DataView): number {
  if (row.length < headerFixedBytes || signature.some((byte, at) => row[at] !== byte)) throw copyViolation('binary signature');
  // Flag bits 16 to 31 change the format in ways that this reader does not know; bit 16 is the OID column of old servers.
  if (view.getUint32(11) >>> 16 !== 0) throw copyViolation('binary flags');
  return headerFixedBytes + view.getInt32(15);
}

function rewriteTuple(row: Uint8Array, view: DataView, start: number, rewriter: RowRewriter): Uint8Array {
  const parts: Uint8Array[] = [];
  let copied = 0;
  let at = start + 2;
  for (let index = 0; index < rewriter.columns; index += 1) {
    const length = view.getInt32(at);
    const valueAt = at + 4;
    at = valueAt + Math.max(length, 0);
    if (length === -1) continue;
    const cell = row.subarray(valueAt, at);
    const masked = rewriter.maskCell(cell, index);
    if (masked === cell) continue;
    const prefix = new Uint8Array(4);
    new DataView(prefix.buffer).setInt32(0, masked === null ? -1 : masked.length);
    parts.push(row.subarray(copied, valueAt - 4), prefix, masked ?? new Uint8Array(0));
    copied = at;
  }
  if (parts.length === 0) return row;
  parts.push(row.subarray(copied));
  return joined(parts);
}

/** Counts through header, field count, lengths and values, however the bytes are cut. */
function binaryRowEnd(): RowEndFinder {
  let step: 'header' | 'extension' | 'count' | 'length' | 'value' = 'header';
  let fieldsLeft = 0;
  // Bytes to skip in the current step, or to gather for a number.
  let wanted = headerFixedBytes - 4;
  let number = 0;
  let extension = false;
  const begin = (next: typeof step, bytes: number): void => {
    step = next;
    wanted = bytes;
    number = 0;
  };
  const afterField = (): boolean => {
    if (fieldsLeft > 0) begin('length', 4);
    else begin('count', 2);
    return fieldsLeft === 0;
  };
  /** A number is complete: returns true when the row ends here. */
  const take = (): boolean => {
    if (step === 'count') {
      fieldsLeft = (number << 16) >> 16;
      if (fieldsLeft < -1) throw copyViolation('field count');
      if (fieldsLeft === -1) fieldsLeft = 0;
      return afterField();
    }
    const length = number | 0;
    if (extension) {
      if (length < 0) throw copyViolation('header extension');
      extension = false;
      begin(length > 0 ? 'extension' : 'count', length > 0 ? length : 2);
      return false;
    }
    if (length < -1) throw copyViolation('field length');
    fieldsLeft -= 1;
    if (length <= 0) return afterField();
    begin('value', length);
    return false;
  };
  const find = (bytes: Uint8Array, from: number): number => {
    let at = from;
    while (at < bytes.length) {
      if (step === 'header' || step === 'extension' || step === 'value') {
        const skipped = Math.min(wanted, bytes.length - at);
        at += skipped;
        wanted -= skipped;
        if (wanted > 0) return -1;
        if (step === 'header') {
          begin('length', 4);
          extension = true;
        } else if (step === 'extension') begin('count', 2);
        else if (afterField()) return at;
        continue;
      }
      number = (number << 8) | (bytes[at] as number);
      at += 1;
      wanted -= 1;
      if (wanted === 0 && take()) return at;
    }
    return -1;
  };
  return { find };
}
