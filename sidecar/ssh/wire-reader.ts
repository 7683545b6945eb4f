/** Reads the fields of an SSH structure (RFC 4251, 5) in order. State, because it stands somewhere. Every read throws RangeError past the end: lengths are checked before they are used. */
export class WireReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes read so far. */
  get position(): number {
    return this.#at;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  uint32(): number {
    return this.#take(4).readUInt32BE();
  }

  uint64(): bigint {
    return this.#take(8).readBigUInt64BE();
  }

  /** A `string`: a view, not a copy. */
  string(): Buffer {
    return this.#take(this.uint32());
  }

  /** A `string` of printable ASCII; RangeError for other bytes. */
  name(): string {
    const bytes = this.string();
    if (bytes.some((byte) => byte < 0x20 || byte > 0x7e)) throw new RangeError('not printable ASCII');
    return bytes.toString('latin1');
  }

  #take(length: number): Buffer {
    if (length > this.#bytes.length - this.#at) throw new RangeError('the field ends behind the end of its structure');
    const taken = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return taken;
  }
}
