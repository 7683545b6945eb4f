import { SallyportError } from '../core/errors.ts';

/** Where rewritten frames go: one growing buffer per input chunk, written to the socket once. */
export interface FrameSink {
  /** Bytes held so far; also the position of the next byte. */
  readonly length: number;
  /** Copies `source[start, end)`. */
  copy(source: Uint8Array, start: number, end: number): void;
  writeInt32(value: number): void;
  /** Overwrites four bytes that were written before. */
  patchInt32(at: number, value: number): void;
  /** Forgets everything from `length` on: a frame that turned out to be broken. */
  truncate(length: number): void;
  /** Hands over what is held, as a buffer of its own, and starts anew. */
  take(): Buffer;
}

/**
 * @param limitBytes most bytes held at a time; a write above it throws SallyportError `MASKED_ROW_TOO_LONG` before anything is allocated.
 */
export function createFrameSink(limitBytes: number, initialBytes = 65_536): FrameSink {
  let bytes = Buffer.allocUnsafe(Math.min(initialBytes, limitBytes));
  let used = 0;
  const reserve = (count: number): void => {
    const needed = used + count;
    if (needed <= bytes.length) return;
    if (needed > limitBytes) throw new SallyportError('MASKED_ROW_TOO_LONG', { limitBytes });
    const grown = Buffer.allocUnsafe(Math.min(limitBytes, Math.max(needed, bytes.length * 2)));
    bytes.copy(grown, 0, 0, used);
    bytes = grown;
  };
  return {
    get length() { return used; },
    copy: (source, start, end) => {
      const count = end - start;
      reserve(count);
      // A short run is cheaper byte by byte than through a view.
      if (count <= 24) for (let at = 0; at < count; at += 1) bytes[used + at] = source[start + at] as number;
      else bytes.set(source.subarray(start, end), used);
      used += count;
    },
    writeInt32: (value) => {
      reserve(4);
      used = bytes.writeInt32BE(value, used);
    },
    patchInt32: (at, value) => {
      bytes.writeInt32BE(value, at);
    },
    truncate: (length) => {
      used = Math.min(used, length);
    },
    take: () => {
      const taken = bytes.subarray(0, used);
      bytes = Buffer.allocUnsafe(Math.min(initialBytes, limitBytes));
      used = 0;
      return taken;
    },
  };
}
