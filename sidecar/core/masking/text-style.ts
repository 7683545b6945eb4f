/** How many letters and digits of a value stay readable under Partial. */
export interface KeptCharacters {
  readonly keepFirst: number;
  readonly keepLast: number;
}

const star = 0x2a;
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const encoder = new TextEncoder();
const letterOrDigit = /[\p{L}\p{N}]/u;

/**
 * Masks text under Partial: letters and digits become `*` but the kept ones; `-` and space stay; everything else becomes `*`.
 *
 * Never more than half of the letters and digits is kept; `keepLast` is served first. The number of characters does not change.
 *
 * @param cell UTF-8. Bytes that are not UTF-8 become `*`.
 */
export function partialText(cell: Uint8Array, kept: KeptCharacters): Uint8Array {
  const copy = new Uint8Array(cell);
  if (overwritePartialText(copy, 0, copy.length, kept)) return copy;
  const characters = [...decoder.decode(cell)];
  const count = characters.reduce((sum, character) => sum + (letterOrDigit.test(character) ? 1 : 0), 0);
  const { first, last } = keptOf(count, kept);
  let seen = 0;
  const masked = characters.map((character) => {
    if (!letterOrDigit.test(character)) return character === '-' || character === ' ' ? character : '*';
    seen += 1;
    return seen <= first || seen > count - last ? character : '*';
  });
  return encoder.encode(masked.join(''));
}

/** `partialText` for a cell that lies in a larger buffer; false, and nothing changed, when it is not ASCII. */
export function overwritePartialText(bytes: Uint8Array, start: number, end: number, kept: KeptCharacters): boolean {
  let count = 0;
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] as number;
    if (byte >= 0x80) return false;
    if (isLetterOrDigit(byte)) count += 1;
  }
  const { first, last } = keptOf(count, kept);
  let seen = 0;
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] as number;
    if (isLetterOrDigit(byte)) {
      seen += 1;
      if (seen > first && seen <= count - last) bytes[at] = star;
    } else if (byte !== 0x2d && byte !== 0x20) bytes[at] = star;
  }
  return true;
}

/** How many of `count` characters stay: at most half of them, the last ones first. */
export function keptOf(count: number, kept: KeptCharacters): { readonly first: number; readonly last: number } {
  const half = count >> 1;
  const last = Math.min(kept.keepLast, half);
  return { first: Math.min(kept.keepFirst, half - last), last };
}

function isLetterOrDigit(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
}
