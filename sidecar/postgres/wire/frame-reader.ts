import { SallyportError } from '../../core/errors.ts';

/** How a message type may arrive: `assemble` = handed over whole, `stream` = handed on in parts, so that a 1 GB field needs no memory. */
export type FrameMode = 'refuse' | 'assemble' | 'stream';

/** Largest length (its own four bytes included) and mode of one message type. */
export interface FrameLimit {
  readonly maxBytes: number;
  readonly mode: FrameMode;
  /** With mode `stream`: frames up to this length are assembled all the same; default 0. */
  readonly streamAboveBytes?: number;
  /** Frames longer than `maxBytes` up to this length are announced (`tooLong`) and their bodies skipped, instead of ending the reading. */
  readonly skipUpToBytes?: number;
}

const headerBytes = 5;
const leastAssembly = 1_024;
const noBytes: Buffer = Buffer.alloc(0);

/**
 * Cuts a byte stream into PostgreSQL messages where they lie, without copying; only a frame that straddles chunks is assembled.
 *
 * Pull style: `feed` one chunk, then call `next` until it is false; `type`, `buffer`, `start`, `end` describe the frame (header included) or,
 * when `whole` is false, a part of a streamed one. Views are valid until the chunk is dropped by the caller.
 *
 * The reader never trusts a length: it checks against the limit of the type first, and holds at most twice as many bytes as have arrived, in one buffer,
 * however small the pieces are.
 * @throws SallyportError PROTOCOL_VIOLATION for a type without a limit or a length below 4, FRAME_TOO_LONG above the limit.
 */
export class FrameReader {
  type = 0;
  buffer: Buffer = Buffer.alloc(0);
  start = 0;
  end = 0;
  /** True when the frame is complete in `buffer`; false for a part of a streamed frame. */
  whole = true;
  /** For parts: this one begins the frame. */
  first = true;
  /** For parts: this one ends the frame. */
  last = true;
  /** Bytes of the whole frame, its header included, however many of them `buffer` holds. */
  total = 0;
  /** Longer than its limit: there is nothing in `buffer`, and the body will be skipped. */
  tooLong = false;

  readonly #maxBytes = new Float64Array(256);
  readonly #modes = new Uint8Array(256);
  readonly #streamAbove = new Float64Array(256);
  readonly #skipUpTo = new Float64Array(256);
  readonly #header = Buffer.alloc(headerBytes);
  #headerFill = 0;
  #chunk: Buffer = Buffer.alloc(0);
  #offset = 0;
  #streamLeft = 0;
  #skipLeft = 0;
  #assembly: Buffer = noBytes;
  #assemblyFill = 0;
  /** 0 while nothing is assembled. */
  #assemblyTotal = 0;

  constructor(limits: Readonly<Record<string, FrameLimit>>) {
    for (const [letter, limit] of Object.entries(limits)) {
      this.#maxBytes[letter.charCodeAt(0)] = limit.maxBytes;
      this.#streamAbove[letter.charCodeAt(0)] = limit.streamAboveBytes ?? 0;
      this.#skipUpTo[letter.charCodeAt(0)] = limit.skipUpToBytes ?? 0;
      this.setMode(letter.charCodeAt(0), limit.mode);
    }
  }

  /** Changes how a type arrives from the next header on, e.g. DataRow once a mask plan exists. */
  setMode(type: number, mode: FrameMode, maxBytes?: number): void {
    this.#modes[type] = mode === 'stream' ? 2 : mode === 'assemble' ? 1 : 0;
    if (maxBytes !== undefined) this.#maxBytes[type] = maxBytes;
  }

  /** Takes the next chunk; the one before must be used up. */
  feed(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#offset = 0;
  }

  /** True between frames: our own messages may be written here only. */
  get atBoundary(): boolean {
    return this.#streamLeft === 0 && this.#skipLeft === 0 && this.#assemblyTotal === 0 && this.#headerFill === 0;
  }

  /** True in the middle of a streamed frame, whose first bytes have gone on already. */
  get midStream(): boolean {
    return this.#streamLeft > 0;
  }

  /** Bytes that an unfinished frame holds now. */
  get heldBytes(): number {
    return this.#assembly.length;
  }

  /** Bytes of the chunk that were not looked at yet. */
  rest(): Buffer {
    return this.#chunk.subarray(this.#offset);
  }

  /** Moves to the next frame or part. False: feed more. */
  next(): boolean {
    const chunk = this.#chunk;
    const available = chunk.length - this.#offset;
    if (available === 0) return false;
    if (this.#streamLeft > 0) return this.#takePart(available);
    if (this.#assemblyTotal > 0) return this.#assemble(available);
    if (this.#skipLeft > 0) return this.#skip(available);
    if (this.#headerFill > 0 || available < headerBytes) return this.#straddledHeader(available);
    const start = this.#offset;
    const type = chunk[start] as number;
    const total = this.#checkedTotal(type, chunk.readUInt32BE(start + 1));
    this.type = type;
    this.total = total;
    if (total > (this.#maxBytes[type] as number) + 1) {
      this.#offset = start + headerBytes;
      return this.#announce(total);
    }
    if (available >= total) {
      this.#emit(chunk, start, start + total, true, true, true);
      this.#offset = start + total;
      return true;
    }
    this.#offset = chunk.length;
    if (this.#streams(type, total)) {
      this.#streamLeft = total - available;
      this.#emit(chunk, start, chunk.length, false, true, false);
      return true;
    }
    this.#startAssembly(total, chunk, start);
    return false;
  }

  #checkedTotal(type: number, length: number): number {
    const mode = this.#modes[type];
    if (mode === 0) throw new SallyportError('PROTOCOL_VIOLATION', { reason: 'unexpected message', type: describeType(type) });
    if (length < 4) throw new SallyportError('PROTOCOL_VIOLATION', { reason: 'length below 4', type: describeType(type) });
    if (length > (this.#maxBytes[type] as number) && length > (this.#skipUpTo[type] as number)) throw new SallyportError('FRAME_TOO_LONG', { type: describeType(type), length });
    return length + 1;
  }

  #streams(type: number, total: number): boolean {
    return this.#modes[type] === 2 && total > (this.#streamAbove[type] as number);
  }

  #straddledHeader(available: number): boolean {
    const take = Math.min(headerBytes - this.#headerFill, available);
    this.#chunk.copy(this.#header, this.#headerFill, this.#offset, this.#offset + take);
    this.#headerFill += take;
    this.#offset += take;
    if (this.#headerFill < headerBytes) return false;
    this.#headerFill = 0;
    const type = this.#header[0] as number;
    const total = this.#checkedTotal(type, this.#header.readUInt32BE(1));
    this.type = type;
    this.total = total;
    if (total > (this.#maxBytes[type] as number) + 1) return this.#announce(total);
    const header = Buffer.from(this.#header);
    const left = total - headerBytes;
    if (left === 0 || this.#streams(type, total)) {
      this.#streamLeft = left;
      this.#emit(header, 0, headerBytes, left === 0, true, left === 0);
      return true;
    }
    this.#startAssembly(total, header, 0);
    return this.next();
  }

  #takePart(available: number): boolean {
    const take = Math.min(this.#streamLeft, available);
    this.#streamLeft -= take;
    this.#emit(this.#chunk, this.#offset, this.#offset + take, false, false, this.#streamLeft === 0);
    this.#offset += take;
    return true;
  }

  #startAssembly(total: number, bytes: Buffer, start: number): void {
    this.#assemblyTotal = total;
    this.#assemblyFill = bytes.length - start;
    this.#assembly = Buffer.allocUnsafe(Math.min(total, Math.max(leastAssembly, this.#assemblyFill * 2)));
    bytes.copy(this.#assembly, 0, start);
  }

  #assemble(available: number): boolean {
    const take = Math.min(this.#assemblyTotal - this.#assemblyFill, available);
    const filled = this.#assemblyFill + take;
    if (filled > this.#assembly.length) {
      const grown = Buffer.allocUnsafe(Math.min(this.#assemblyTotal, filled * 2));
      this.#assembly.copy(grown, 0, 0, this.#assemblyFill);
      this.#assembly = grown;
    }
    this.#chunk.copy(this.#assembly, this.#assemblyFill, this.#offset, this.#offset + take);
    this.#offset += take;
    this.#assemblyFill = filled;
    if (filled < this.#assemblyTotal) return false;
    const frame = this.#assembly;
    this.#assembly = noBytes;
    this.#assemblyTotal = 0;
    this.#emit(frame, 0, filled, true, true, true);
    return true;
  }

  #announce(total: number): boolean {
    this.#skipLeft = total - headerBytes;
    this.#emit(noBytes, 0, 0, false, true, true);
    this.tooLong = true;
    return true;
  }

  #skip(available: number): boolean {
    const take = Math.min(this.#skipLeft, available);
    this.#skipLeft -= take;
    this.#offset += take;
    return this.next();
  }

  #emit(buffer: Buffer, start: number, end: number, whole: boolean, first: boolean, last: boolean): void {
    this.buffer = buffer;
    this.start = start;
    this.end = end;
    this.whole = whole;
    this.first = first;
    this.last = last;
    this.tooLong = false;
  }
}

function describeType(type: number): string {
  return type > 32 && type < 127 ? String.fromCharCode(type) : `0x${type.toString(16)}`;
}
