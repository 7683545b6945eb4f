import { isUtf8 } from 'node:buffer';

/** Lets through valid UTF-8 without NUL, cut anywhere, as a byte string (one character per byte). A character in two chunks comes with the second one. */
export class Utf8Gate {
  #rest: Buffer = Buffer.alloc(0);

  /** @returns `valid`: what may pass; `bad`: right behind it stands a byte that is not text, and nothing more may follow. */
  push(chunk: Uint8Array): { readonly valid: string; readonly bad: boolean } {
    const part = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const all = this.#rest.length === 0 ? part : Buffer.concat([this.#rest, part]);
    const complete = all.subarray(0, all.length - unfinishedBytes(all));
    if (!isUtf8(complete) || complete.includes(0)) return { valid: all.toString('latin1', 0, validLength(all)), bad: true };
    const rest = all.subarray(complete.length);
    // E.g. ED A0: no third byte makes it a character.
    if (rest.length > 1 && !canBegin(rest)) return { valid: complete.toString('latin1'), bad: true };
    this.#rest = Buffer.from(rest);
    return { valid: complete.toString('latin1'), bad: false };
  }

  /** True when the stream ended within a character. */
  get unfinished(): boolean {
    return this.#rest.length > 0;
  }
}

/** Bytes at the end that may be the beginning of a character. */
function unfinishedBytes(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return byte <= 0xf4 && lengthOf(byte) > back ? back : 0;
  }
  return 0;
}

function lengthOf(lead: number): number {
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

function canBegin(bytes: Buffer): boolean {
  const padded = Buffer.concat([bytes, Buffer.alloc(lengthOf(bytes[0] as number) - bytes.length, 0x80)]);
  const high = Buffer.concat([bytes, Buffer.alloc(lengthOf(bytes[0] as number) - bytes.length, 0xbf)]);
  return isUtf8(padded) || isUtf8(high);
}

/** Length of the longest prefix that is whole characters other than NUL. Reads at most once, for the stream ends here. */
function validLength(bytes: Buffer): number {
  let at = 0;
  while (at < bytes.length) {
    const byte = bytes[at] as number;
    const length = lengthOf(byte);
    if (byte === 0 || (byte >= 0x80 && (byte < 0xc2 || byte > 0xf4 || at + length > bytes.length || !isUtf8(bytes.subarray(at, at + length))))) return at;
    at += length;
  }
  // bug-only: the caller saw that not all of it is valid
  return at;
}
