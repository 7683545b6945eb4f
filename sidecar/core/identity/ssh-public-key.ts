import { createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto';
import { SshReader } from './ssh-wire.ts';

/** Types of keys that a person may log in with, as their public halves are named. */
export type SshKeyType = 'ssh-ed25519' | 'ecdsa-sha2-nistp256' | 'ssh-rsa';

/** Names of signatures that are accepted; never SHA-1. */
export type SshSignatureType = 'ssh-ed25519' | 'ecdsa-sha2-nistp256' | 'rsa-sha2-256' | 'rsa-sha2-512';

/** RSA modulus, in bits: below is too weak, above costs too much to verify. */
const rsaBits = { min: 3_072, max: 8_192 } as const;

/** Reads the fields of a key of one type, which stand after the type's name (and, in a certificate, after the nonce). Null: not a usable key. The caller asks the reader whether it broke. */
export function readKeyFields(type: SshKeyType, reader: SshReader): KeyObject | null {
  return importKey(fieldReaders[type](reader));
}

const fieldReaders: Readonly<Record<SshKeyType, (reader: SshReader) => JsonWebKey | null>> = {
  'ssh-ed25519': (reader) => {
    const point = reader.string();
    return point.length === 32 ? { kty: 'OKP', crv: 'Ed25519', x: base64url(point) } : null;
  },
  'ecdsa-sha2-nistp256': (reader) => {
    const [curve, point] = [reader.text(), reader.string()];
    if (curve !== 'nistp256' || point.length !== 65 || point[0] !== 4) return null;
    return { kty: 'EC', crv: 'P-256', x: base64url(point.subarray(1, 33)), y: base64url(point.subarray(33)) };
  },
  'ssh-rsa': (reader) => {
    const [exponent, modulus] = [reader.positive(), reader.positive()];
    const bits = modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24;
    if (bits < rsaBits.min || bits > rsaBits.max || exponent.length > 4 || ((exponent.at(-1) ?? 0) & 1) === 0) return null;
    return { kty: 'RSA', e: base64url(exponent), n: base64url(modulus) };
  },
};

/** A plain public key, whole, as `ssh-keygen` writes it in base64. Null: another type, a weak key, anything left over. */
export function readPublicKey(blob: Uint8Array): { readonly type: SshKeyType; readonly key: KeyObject; /** The fields after the name of the type. */ readonly fields: Uint8Array } | null {
  const reader = new SshReader(blob);
  const type = reader.text();
  if (!isKeyType(type)) return null;
  const start = reader.position;
  const key = readKeyFields(type, reader);
  return key !== null && reader.isAtEnd ? { type, key, fields: blob.subarray(start) } : null;
}

/** Whether `signature` (`string type, string value`, nothing after it) is the key's over `data`, made in exactly this way. */
export function verifySshSignature(key: KeyObject, type: SshSignatureType, data: Uint8Array, signature: Uint8Array): boolean {
  const reader = new SshReader(signature);
  const [named, value] = [reader.text(), reader.string()];
  if (!reader.isAtEnd || named !== type) return false;
  if (type === 'ssh-ed25519') return value.length === 64 && verify(null, data, key, value);
  if (type === 'ecdsa-sha2-nistp256') {
    const pair = fixedPair(value);
    return pair !== null && verify('sha256', data, { key, dsaEncoding: 'ieee-p1363' }, pair);
  }
  return verify(type === 'rsa-sha2-512' ? 'sha512' : 'sha256', data, key, value);
}

/** Two mpints as 32 bytes each, which node:crypto takes. */
function fixedPair(value: Uint8Array): Uint8Array | null {
  const reader = new SshReader(value);
  const numbers = [reader.positive(), reader.positive()];
  if (!reader.isAtEnd || numbers.some((number) => number.length > 32)) return null;
  return Buffer.concat(numbers.flatMap((number) => [new Uint8Array(32 - number.length), number]));
}

function isKeyType(text: string): text is SshKeyType {
  return Object.hasOwn(fieldReaders, text);
}

/** A point that is not on its curve is refused here. */
function importKey(jwk: JsonWebKey | null): KeyObject | null {
  if (jwk === null) return null;
  try {
    return createPublicKey({ key: jwk, format: 'jwk' });
  } catch {
    return null;
  }
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
}
