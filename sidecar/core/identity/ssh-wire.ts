/**
 * Reads the data types of RFC 4251 section 5 from bytes that anyone may have sent.
 *
 * A length is compared with what is left before anything is taken, and what is taken is a view: no allocation follows from a length. After the first fault
 * everything reads as empty, and `isAtEnd` is false for good: callers read to the end and ask once.
 */
export class SshReader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #broken = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Bytes consumed so far. */
  get position(): number {
    return this.#at;
  }

  /** Whether bytes are left to read. */
  get hasMore(): boolean {
    return !this.#broken && this.#at < this.#bytes.length;
  }

  /** Whether everything was read and nothing is left over. */
  get isAtEnd(): boolean {
    return !this.#broken && this.#at === this.#bytes.length;
  }

  uint32(): number {
    const taken = this.#take(4);
    return new DataView(taken.buffer, taken.byteOffset).getUint32(0);
  }

  uint64(): bigint {
    const taken = this.#take(8);
    return new DataView(taken.buffer, taken.byteOffset).getBigUint64(0);
  }

  /** `string`: a view of its bytes. */
  string(): Uint8Array {
    return this.#take(this.uint32());
  }

  /** `string` that must be valid UTF-8. */
  text(): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.string());
    } catch {
      this.#broken = true;
      return '';
    }
  }

  /** `mpint` that is positive and written in the shortest way: its magnitude without leading zeros. */
  positive(): Uint8Array {
    const bytes = this.string();
    const [first, second] = bytes;
    const isShortest = first !== undefined && first < 0x80 && (first !== 0 || (second !== undefined && second >= 0x80));
    if (!isShortest) this.#broken = true;
    return first === 0 ? bytes.subarray(1) : bytes;
  }

  #take(length: number): Uint8Array {
    if (this.#broken || length > this.#bytes.length - this.#at) {
      this.#broken = true;
      // The fixed sizes need something to read from; a string of a broken text is empty.
      return new Uint8Array(length <= 8 ? length : 0);
    }
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}

/** `string` of RFC 4251; text is written as UTF-8. */
export function sshString(value: Uint8Array | string): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  return Buffer.concat([sshUint32(bytes.length), bytes]);
}

/** `uint32` of RFC 4251. */
export function sshUint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** `uint64` of RFC 4251. */
export function sshUint64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}
