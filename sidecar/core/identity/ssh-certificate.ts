import type { KeyObject } from 'node:crypto';
import { isAddressWithin } from './ssh-source-address.ts';
import { readKeyFields, readPublicKey, type SshKeyType, type SshSignatureType, verifySshSignature } from './ssh-public-key.ts';
import { SshReader } from './ssh-wire.ts';

/** What a client presented: RFC 4252 section 7 with a certificate (PROTOCOL.certkeys of OpenSSH). */
export interface PresentedCertificate {
  /** Name of the algorithm in the request, e.g. `rsa-sha2-512-cert-v01@openssh.com`. */
  readonly algorithm: string;
  /** The whole certificate. */
  readonly certificate: Uint8Array;
  /** Null where the client only asks whether the key would do. */
  readonly proof: { /** What was signed: session id and request. */ readonly data: Uint8Array; /** As it came, type and value. */ readonly signature: Uint8Array } | null;
}

/** What a certificate must meet. */
export interface CertificateTrust {
  /** Public keys of our user CAs: plain Ed25519 keys, whole. */
  readonly authorities: readonly Uint8Array[];
  /** `sallyport.dev/NAMESPACE`. */
  readonly principal: string;
  /** Unix time, ms. */
  readonly nowMs: number;
  /** Address that the client comes from. */
  readonly clientAddress: string;
}

/** What is wrong with a certificate; safe to log. */
export type CertificateDefect =
  | 'algorithm' | 'form' | 'not a user certificate' | 'unknown authority' | 'authority signature' | 'not yet valid' | 'expired' | 'principal' | 'critical option' | 'source address' | 'signature';

/** A certificate that met everything, its bearer's signature included. */
export interface UserCertificate {
  readonly keyId: string;
  readonly serial: bigint;
  /** Value by name, as stored. */
  readonly extensions: ReadonlyMap<string, Uint8Array>;
}

/** 'unsigned' says nothing but that the same certificate with a signature would do. */
export type CertificateOutcome =
  | { readonly outcome: 'verified'; readonly certificate: UserCertificate }
  | { readonly outcome: 'unsigned' }
  | { readonly outcome: 'refused'; readonly defect: CertificateDefect };

/** Longest certificate in bytes: a token of 16 KiB, its names, an RSA key. */
export const maxCertificateBytes = 32_768;

/**
 * Verifies a user certificate and that whoever presents it has its key. Everything is checked on every call (ssh.md 3.5 (a) to (e)); nothing is remembered.
 *
 * @returns one outcome; nothing is thrown for whatever bytes came.
 */
export function verifyUserCertificate(presented: PresentedCertificate, trust: CertificateTrust): CertificateOutcome {
  const algorithm = Object.hasOwn(algorithms, presented.algorithm) ? algorithms[presented.algorithm as keyof typeof algorithms] : null;
  if (algorithm === null) return refused('algorithm');
  const read = readCertificate(presented.certificate, algorithm.blobType, algorithm.keyType);
  if (read === null) return refused('form');
  if (read.type !== userCertificate) return refused('not a user certificate');
  const authority = trust.authorities.find((candidate) => isSame(candidate, read.signingKey));
  const authorityKey = authority === undefined ? null : readPublicKey(authority);
  if (authorityKey?.type !== 'ssh-ed25519') return refused('unknown authority');
  if (!verifySshSignature(authorityKey.key, 'ssh-ed25519', read.signedBytes, read.signature)) return refused('authority signature');
  const nowSeconds = BigInt(Math.floor(trust.nowMs / 1000));
  if (nowSeconds < read.validAfter) return refused('not yet valid');
  if (nowSeconds >= read.validBefore) return refused('expired');
  if (!read.principals.includes(trust.principal)) return refused('principal');
  for (const [name, value] of read.criticalOptions) {
    if (name !== 'source-address') return refused('critical option');
    if (!isAddressWithin(trust.clientAddress, wrappedText(value))) return refused('source address');
  }
  if (presented.proof === null) return { outcome: 'unsigned' };
  if (!verifySshSignature(read.key, algorithm.signatureType, presented.proof.data, presented.proof.signature)) return refused('signature');
  return { outcome: 'verified', certificate: { keyId: read.keyId, serial: read.serial, extensions: read.extensions } };
}

/** Text of an option or extension that has a value: a `string` within its `string`; null when it is anything else. */
export function wrappedText(value: Uint8Array): string | null {
  const reader = new SshReader(value);
  const text = reader.text();
  return reader.isAtEnd ? text : null;
}

const userCertificate = 1;

interface Algorithm {
  readonly blobType: string;
  readonly keyType: SshKeyType;
  readonly signatureType: SshSignatureType;
}

const rsaBlob = 'ssh-rsa-cert-v01@openssh.com';
const algorithms = {
  'ssh-ed25519-cert-v01@openssh.com': { blobType: 'ssh-ed25519-cert-v01@openssh.com', keyType: 'ssh-ed25519', signatureType: 'ssh-ed25519' },
  'ecdsa-sha2-nistp256-cert-v01@openssh.com': { blobType: 'ecdsa-sha2-nistp256-cert-v01@openssh.com', keyType: 'ecdsa-sha2-nistp256', signatureType: 'ecdsa-sha2-nistp256' },
  'rsa-sha2-256-cert-v01@openssh.com': { blobType: rsaBlob, keyType: 'ssh-rsa', signatureType: 'rsa-sha2-256' },
  'rsa-sha2-512-cert-v01@openssh.com': { blobType: rsaBlob, keyType: 'ssh-rsa', signatureType: 'rsa-sha2-512' },
} as const satisfies Readonly<Record<string, Algorithm>>;

interface ReadCertificate {
  readonly key: KeyObject;
  readonly serial: bigint;
  readonly type: number;
  readonly keyId: string;
  readonly principals: readonly string[];
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  readonly criticalOptions: ReadonlyMap<string, Uint8Array>;
  readonly extensions: ReadonlyMap<string, Uint8Array>;
  readonly signingKey: Uint8Array;
  readonly signature: Uint8Array;
  /** Everything before the signature. */
  readonly signedBytes: Uint8Array;
}

/** Every field in its order, and nothing after the last. */
function readCertificate(blob: Uint8Array, blobType: string, keyType: SshKeyType): ReadCertificate | null {
  if (blob.length > maxCertificateBytes) return null;
  const reader = new SshReader(blob);
  if (reader.text() !== blobType) return null;
  reader.string();
  const key = readKeyFields(keyType, reader);
  const [serial, type, keyId] = [reader.uint64(), reader.uint32(), reader.text()];
  const principals = readList(reader.string());
  const [validAfter, validBefore] = [reader.uint64(), reader.uint64()];
  const [criticalOptions, extensions] = [readMap(reader.string()), readMap(reader.string())];
  reader.string();
  const signingKey = reader.string();
  const signedBytes = blob.subarray(0, reader.position);
  const signature = reader.string();
  if (!reader.isAtEnd || key === null || principals === null || criticalOptions === null || extensions === null) return null;
  return { key, serial, type, keyId, principals, validAfter, validBefore, criticalOptions, extensions, signingKey, signature, signedBytes };
}

/** More names than any certificate of ours has. */
const maxEntries = 64;

function readList(bytes: Uint8Array): readonly string[] | null {
  const reader = new SshReader(bytes);
  const list: string[] = [];
  while (reader.hasMore && list.length < maxEntries) list.push(reader.text());
  return reader.isAtEnd ? list : null;
}

/** Names that stand twice or out of order are refused, as PROTOCOL.certkeys asks: two readers would not agree on what they mean. */
function readMap(bytes: Uint8Array): ReadonlyMap<string, Uint8Array> | null {
  const reader = new SshReader(bytes);
  const map = new Map<string, Uint8Array>();
  let before = '';
  while (reader.hasMore && map.size < maxEntries) {
    const name = reader.text();
    if (name <= before) return null;
    map.set(name, reader.string());
    before = name;
  }
  return reader.isAtEnd ? map : null;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function refused(defect: CertificateDefect): CertificateOutcome {
  return { outcome: 'refused', defect };
}
