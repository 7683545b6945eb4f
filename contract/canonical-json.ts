import { canonicalize } from 'json-canonicalize';

/**
 * Writes a value as canonical JSON: sorted keys, one spelling of each number, no spaces; equal data gives equal bytes.
 *
 * @param value plain JSON data; `undefined` members are left out.
 * @see RFC 8785 (JCS)
 */
export function canonicalJson(value: unknown): string {
  return canonicalize(value);
}
