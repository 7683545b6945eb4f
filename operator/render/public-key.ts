import { createPublicKey } from 'node:crypto';
import type { JsonWebKey } from 'node:crypto';

/** A public key as `TYPE BASE64`, or why it cannot be that of a host. */
export type HostKey = { readonly outcome: 'key'; readonly key: string } | { readonly outcome: 'refused'; readonly message: string };

/** Smallest modulus of an RSA key, bits. */
const minRsaBits = 2_048;

/** Reads one line of OpenSSH's public key format, its comment left out. The base64 must be canonical and hold exactly one key of the named type, which must be one that a host can have. */
export function readHostKey(text: string): HostKey {
  const [type = '', base64 = ''] = text.split(' ');
  if (type.startsWith('sk-')) return refuse('a key of a hardware token belongs to a person, a host has none');
  const blob = Buffer.from(base64, 'base64');
  if (blob.length === 0 || blob.toString('base64') !== base64) return refuse('the part after the type is not the base64 of a key');
  const fields = readFields(blob);
  if (fields === null) return refuse('the key is cut off or has bytes behind its end');
  if (fields[0]?.toString('latin1') !== type) return refuse('the key is of another type than it says');
  const jwk = toJwk(type, fields.slice(1));
  if (jwk === null || !isKey(jwk)) return refuse(`this is no ${type} key`);
  if (type === 'ssh-rsa' && (fields[2]?.length ?? 0) * 8 < minRsaBits) return refuse(`an RSA key has at least ${minRsaBits} bits`);
  return { outcome: 'key', key: `${type} ${base64}` };
}

function refuse(message: string): HostKey {
  return { outcome: 'refused', message };
}

/** Length-prefixed fields that fill the blob, or null. */
function readFields(blob: Buffer): readonly Buffer[] | null {
  const fields: Buffer[] = [];
  let at = 0;
  while (at < blob.length) {
    if (at + 4 > blob.length) return null;
    const end = at + 4 + blob.readUInt32BE(at);
    if (end > blob.length) return null;
    fields.push(blob.subarray(at + 4, end));
    at = end;
  }
  return fields;
}

const curves: Readonly<Record<string, { readonly name: string; readonly crv: string; readonly size: number }>> = {
  'ecdsa-sha2-nistp256': { name: 'nistp256', crv: 'P-256', size: 32 },
  'ecdsa-sha2-nistp384': { name: 'nistp384', crv: 'P-384', size: 48 },
  'ecdsa-sha2-nistp521': { name: 'nistp521', crv: 'P-521', size: 66 },
};

function toJwk(type: string, fields: readonly Buffer[]): JsonWebKey | null {
  const [first, second, extra] = fields;
  if (first === undefined || extra !== undefined) return null;
  if (type === 'ssh-ed25519') return second === undefined && first.length === 32 ? { kty: 'OKP', crv: 'Ed25519', x: first.toString('base64url') } : null;
  if (second === undefined) return null;
  if (type === 'ssh-rsa') return { kty: 'RSA', e: first.toString('base64url'), n: second.toString('base64url') };
  const curve = curves[type];
  if (curve === undefined || first.toString('latin1') !== curve.name || second.length !== 1 + 2 * curve.size || second[0] !== 4) return null;
  return { kty: 'EC', crv: curve.crv, x: second.subarray(1, 1 + curve.size).toString('base64url'), y: second.subarray(1 + curve.size).toString('base64url') };
}

/** OpenSSL checks that the point lies on its curve. */
function isKey(jwk: JsonWebKey): boolean {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' }).type === 'public';
  } catch {
    return false;
  }
}
