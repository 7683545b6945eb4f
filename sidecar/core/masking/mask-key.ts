import { createHmac, createSecretKey, hkdfSync } from 'node:crypto';
import { SallyportError } from '../errors.ts';
import type { MaskKey } from './masker.ts';

/**
 * Derives the masking key of one namespace and epoch (HKDF-SHA-256) from the namespace's secret.
 *
 * @param secret at least 32 bytes from a CSPRNG (Secret `sallyport-proxy-hmac`, or the data directory in directory mode).
 * @param scope `epoch` grows with each rotation; equal secret and scope give equal tokens in every replica.
 * @throws SallyportError `CONFIG_INVALID` when the secret is shorter than 32 bytes: a short key makes every token guessable.
 */
export function createMaskKey(secret: Uint8Array, scope: { readonly namespace: string; readonly epoch: number }): MaskKey {
  if (secret.length < 32) throw new SallyportError('CONFIG_INVALID', { field: 'mask key', bytes: secret.length });
  const key = createSecretKey(Buffer.from(hkdfSync('sha256', secret, new Uint8Array(0), `sallyport/mask/v1/${scope.namespace}/${scope.epoch}`, 32)));
  // A key object and one update are four times as fast as a raw key and three updates.
  const hmac = (domain: string, canonicalText: string): Uint8Array => createHmac('sha256', key).update(`${domain}\0${canonicalText}`).digest();
  return { keyId: base32(hmac('key-id', '')).slice(0, 8), hmac };
}

/**
 * The stand-in for a hidden value in records and requests: joinable, not readable.
 *
 * @param domain the column (`schema.table.column`) or the detector; holds no NUL.
 * @returns `hmac:<key_id>:<26 base32>`: the first 128 bits of HMAC-SHA-256(key, domain, 0x00, value).
 */
export function hmacToken(key: MaskKey, domain: string, value: string): string {
  return `hmac:${key.keyId}:${base32(key.hmac(domain, value).subarray(0, 16))}`;
}

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';

/** RFC 4648 base32 in lower case, without padding. */
export function base32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = ((held << 8) | byte) & 0xfff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += alphabet[(held >> bits) & 31];
    }
  }
  return bits > 0 ? text + alphabet[(held << (5 - bits)) & 31] : text;
}
