import { SallyportError } from '../core/errors.ts';

/** Reads and rewrites the rows of one COPY; see `CopyMask`. */
export interface CopyRowReader {
  push(body: Uint8Array): readonly Uint8Array[];
  end(): readonly Uint8Array[];
}

/** What a row reader needs from the mask. */
export interface RowRewriter {
  readonly columns: number;
  /** Longest row held, in bytes. */
  readonly limitBytes: number;
  /** Masks a decoded, non-NULL cell: the same view when nothing changes, null for SQL NULL. */
  maskCell(cell: Uint8Array, index: number): Uint8Array | null;
  maskHeader(cell: Uint8Array, index: number): Uint8Array;
  countRow(): void;
}

/** Finds where rows end, byte by byte; keeps its state between calls, so that the bytes of a row may come in any pieces. */
export interface RowEndFinder {
  /** @returns the position after the row's last byte in `bytes[from, bytes.length)`, and is then ready for the next row; -1 when the row goes on. */
  find(bytes: Uint8Array, from: number): number;
}

/**
 * Splits CopyData bodies into rows and rewrites each. Bytes of an incomplete row are kept in a buffer that doubles up to the limit.
 *
 * @param rewrite gets one whole row; returns the same view when nothing changes.
 */
export function rowSplitter(finder: RowEndFinder, limitBytes: number, rewrite: (row: Uint8Array) => Uint8Array): CopyRowReader {
  let held = new Uint8Array(0);
  let used = 0;
  const keep = (bytes: Uint8Array): void => {
    const needed = used + bytes.length;
    if (needed > limitBytes) throw new SallyportError('MASKED_ROW_TOO_LONG', { limitBytes });
    if (needed > held.length) {
      const grown = new Uint8Array(Math.min(limitBytes, Math.max(needed, held.length * 2, 1024)));
      grown.set(held.subarray(0, used));
      held = grown;
    }
    held.set(bytes, used);
    used = needed;
  };
  const push = (body: Uint8Array): readonly Uint8Array[] => {
    const rows: Uint8Array[] = [];
    let at = 0;
    while (at < body.length) {
      const end = finder.find(body, at);
      const piece = body.subarray(at, end === -1 ? body.length : end);
      if (end === -1 || used > 0) keep(piece);
      else if (piece.length > limitBytes) throw new SallyportError('MASKED_ROW_TOO_LONG', { limitBytes });
      if (end === -1) return rows;
      // Held bytes are copied out: the buffer is used again for the next row while the caller still has this one.
      rows.push(rewrite(used > 0 ? held.slice(0, used) : piece));
      used = 0;
      at = end;
    }
    return rows;
  };
  const end = (): readonly Uint8Array[] => {
    if (used > 0) throw copyViolation('the last row is incomplete');
    return [];
  };
  return { push, end };
}

export function copyViolation(what: string): SallyportError {
  return new SallyportError('TARGET_PROTOCOL_VIOLATION', { message: 'CopyData', what });
}

/** Joins parts into one array. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}
