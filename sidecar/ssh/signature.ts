import { type KeyObject, createPublicKey, verify } from 'node:crypto';
import ssh2 from 'ssh2';

import { WireReader } from './wire-reader.ts';

/** Least bits of an RSA key that signs anything for us. */
const leastRsaBits = 3_072;

/** Signature algorithms by the type of the key that may use them, with their hash; SHA-1 is in none. */
const hashes: Readonly<Record<string, Readonly<Record<string, string | null>>>> = {
  'ssh-ed25519': { 'ssh-ed25519': null },
  'ecdsa-sha2-nistp256': { 'ecdsa-sha2-nistp256': 'sha256' },
  'ecdsa-sha2-nistp384': { 'ecdsa-sha2-nistp384': 'sha384' },
  'ecdsa-sha2-nistp521': { 'ecdsa-sha2-nistp521': 'sha512' },
  'ssh-rsa': { 'rsa-sha2-256': 'sha256', 'rsa-sha2-512': 'sha512' },
};

/**
 * Does `signature` (a whole SSH signature: algorithm, then value) by the plain public key `key` (SSH's blob) hold for `data`?
 *
 * False too for a certificate in the place of a key, an RSA key under 3072 bits, SHA-1, and anything malformed. Never throws.
 */
export function signatureHolds(key: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean {
  try {
    const type = new WireReader(key).name();
    const fields = new WireReader(signature);
    const algorithm = fields.name();
    const value = fields.string();
    const hash = hashes[type]?.[algorithm];
    if (hash === undefined || !fields.atEnd) return false;
    const publicKey = readKey(key);
    if (type === 'ssh-rsa') return (publicKey.asymmetricKeyDetails?.modulusLength ?? 0) >= leastRsaBits && verify(hash, data, publicKey, value);
    if (hash === null) return verify(null, data, publicKey, value);
    return verify(hash, data, { key: publicKey, dsaEncoding: 'ieee-p1363' }, joinScalars(value, scalarBytes[type] ?? 0));
  } catch {
    return false;
  }
}

const scalarBytes: Readonly<Record<string, number>> = { 'ecdsa-sha2-nistp256': 32, 'ecdsa-sha2-nistp384': 48, 'ecdsa-sha2-nistp521': 66 };

function readKey(blob: Uint8Array): KeyObject {
  const parsed = ssh2.utils.parseKey(`${new WireReader(blob).name()} ${Buffer.from(blob).toString('base64')}`);
  if (parsed instanceof Error) throw parsed;
  return createPublicKey(parsed.getPublicPEM());
}

/** An SSH signature of ECDSA is two `mpint`s; Node takes two numbers of fixed length. */
function joinScalars(value: Uint8Array, length: number): Buffer {
  const fields = new WireReader(value);
  const scalars = [fields.string(), fields.string()].map((scalar) => (scalar[0] === 0 ? scalar.subarray(1) : scalar));
  if (!fields.atEnd || scalars.some((scalar) => scalar.length > length)) throw new RangeError('not a signature of this curve');
  return Buffer.concat(scalars.map((scalar) => Buffer.concat([Buffer.alloc(length - scalar.length), scalar])));
}
