const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/**
 * A ULID: 48 bits of Unix time in ms, then 80 random bits, in Crockford's base 32. Sorts by time.
 *
 * @param random 10 random bytes.
 */
export function ulid(nowMs: number, random: Uint8Array): string {
  let value = BigInt(Math.floor(nowMs));
  for (let at = 0; at < 10; at += 1) value = value * 256n + BigInt(random[at] ?? 0);
  let text = '';
  for (let at = 0; at < 26; at += 1) {
    text = (alphabet[Number(value % 32n)] ?? '') + text;
    value /= 32n;
  }
  return text;
}
