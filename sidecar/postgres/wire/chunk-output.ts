/**
 * Collects what one input chunk becomes on the other side, so that it leaves as one write.
 *
 * Neighbouring kept frames are one run; a chunk in which nothing changes leaves as the same buffer.
 */
export class ChunkOutput {
  #parts: Buffer[] = [];
  #run: Buffer | null = null;
  #runStart = 0;
  #runEnd = 0;
  #bytes = 0;

  /** Bytes collected so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Passes bytes on as they lie. */
  keep(buffer: Buffer, start: number, end: number): void {
    this.#bytes += end - start;
    if (this.#run === buffer && this.#runEnd === start) {
      this.#runEnd = end;
      return;
    }
    this.#closeRun();
    this.#run = buffer;
    this.#runStart = start;
    this.#runEnd = end;
  }

  /** Adds bytes of our own. */
  add(buffer: Buffer): void {
    this.#closeRun();
    this.#bytes += buffer.length;
    this.#parts.push(buffer);
  }

  /** Hands over everything collected as one buffer, null when nothing was, and starts anew. */
  take(): Buffer | null {
    this.#closeRun();
    const parts = this.#parts;
    if (parts.length === 0) return null;
    this.#bytes = 0;
    this.#parts = [];
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  #closeRun(): void {
    if (this.#run === null) return;
    this.#parts.push(this.#run.subarray(this.#runStart, this.#runEnd));
    this.#run = null;
  }
}
