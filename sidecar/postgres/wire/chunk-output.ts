import { SallyportError } from '../../core/errors.ts';
import type { FrameSink } from '../frame-sink.ts';

const scratchBytes = 65_536;

/**
 * Collects what one input chunk becomes on the other side, so that it leaves as one write.
 *
 * Neighbouring kept frames are one run; a chunk in which nothing changes leaves as the same buffer. Rewritten frames go through the sink part of this class
 * into a scratch buffer, without one allocation per row; a run that was handed out is never written again.
 */
export class ChunkOutput implements Omit<FrameSink, 'take'> {
  #parts: Buffer[] = [];
  #run: Buffer | null = null;
  #runStart = 0;
  #runEnd = 0;
  #bytes = 0;
  #scratch: Buffer = Buffer.alloc(0);
  #scratchStart = 0;
  #scratchEnd = 0;
  readonly #limitBytes: number;

  /** @param limitBytes most bytes of one rewritten run: a frame above it throws MASKED_ROW_TOO_LONG before anything is allocated. */
  constructor(limitBytes: number = 32 * 1024 * 1024) {
    this.#limitBytes = limitBytes;
  }

  /** Bytes collected so far. */
  get bytes(): number {
    return this.#bytes + this.length;
  }

  /** Passes bytes on as they lie. */
  keep(buffer: Buffer, start: number, end: number): void {
    if (this.#run === buffer && this.#runEnd === start) {
      this.#bytes += end - start;
      this.#runEnd = end;
      return;
    }
    this.#closeRuns();
    this.#bytes += end - start;
    this.#run = buffer;
    this.#runStart = start;
    this.#runEnd = end;
  }

  /** Adds bytes of our own. */
  add(buffer: Buffer): void {
    this.#closeRuns();
    this.#bytes += buffer.length;
    this.#parts.push(buffer);
  }

  /** Hands over everything collected as one buffer, null when nothing was, and starts anew. */
  take(): Buffer | null {
    this.#closeRuns();
    const parts = this.#parts;
    if (parts.length === 0) return null;
    this.#bytes = 0;
    this.#parts = [];
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  /** Sink: bytes of the open rewritten run. Call `beginFrame` before the first write of a frame. */
  get length(): number {
    return this.#scratchEnd - this.#scratchStart;
  }

  /** Kept bytes so far stand before the frame that is rewritten next. */
  beginFrame(): void {
    if (this.#run !== null) this.#closeRuns();
  }

  /** The open run from `from` on: the frame that was just written. Valid until the next write. */
  written(from: number): Buffer {
    return this.#scratch.subarray(this.#scratchStart + from, this.#scratchEnd);
  }

  copy(source: Uint8Array, start: number, end: number): void {
    const count = end - start;
    this.#reserve(count);
    // A short run is cheaper byte by byte than through a view.
    if (count <= 24) for (let at = 0; at < count; at += 1) this.#scratch[this.#scratchEnd + at] = source[start + at] as number;
    else this.#scratch.set(source.subarray(start, end), this.#scratchEnd);
    this.#scratchEnd += count;
  }

  writeInt32(value: number): void {
    this.#reserve(4);
    this.#scratchEnd = this.#scratch.writeInt32BE(value, this.#scratchEnd);
  }

  patchInt32(at: number, value: number): void {
    this.#scratch.writeInt32BE(value, this.#scratchStart + at);
  }

  truncate(length: number): void {
    this.#scratchEnd = Math.min(this.#scratchEnd, this.#scratchStart + length);
  }

  #reserve(count: number): void {
    if (this.#scratchEnd + count <= this.#scratch.length) return;
    const open = this.length;
    if (open + count > this.#limitBytes) throw new SallyportError('MASKED_ROW_TOO_LONG', { limitBytes: this.#limitBytes });
    const grown = Buffer.allocUnsafeSlow(Math.max(scratchBytes, Math.min((open + count) * 2, this.#limitBytes)));
    this.#scratch.copy(grown, 0, this.#scratchStart, this.#scratchEnd);
    this.#scratch = grown;
    this.#scratchStart = 0;
    this.#scratchEnd = open;
  }

  #closeRuns(): void {
    if (this.#run !== null) {
      this.#parts.push(this.#run.subarray(this.#runStart, this.#runEnd));
      this.#run = null;
    }
    if (this.#scratchEnd > this.#scratchStart) {
      this.#bytes += this.length;
      this.#parts.push(this.#scratch.subarray(this.#scratchStart, this.#scratchEnd));
      this.#scratchStart = this.#scratchEnd;
    }
  }
}
