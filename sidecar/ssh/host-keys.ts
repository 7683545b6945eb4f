import { createHash, timingSafeEqual } from 'node:crypto';

import type { SshTarget } from '../../contract/proxy-config.ts';
import { readPublicKey, verifySshSignature } from '../core/identity/ssh-public-key.ts';
import { SshReader, sshString } from '../core/identity/ssh-wire.ts';

/** What a Target says about the keys of its host. */
export type HostKeyPins = Pick<SshTarget['ssh'], 'host' | 'hostKeys' | 'hostCertificateAuthorities'>;

/** Whether the key that a target showed is the one it must have. */
export type HostKeyVerdict =
  | { readonly outcome: 'accepted'; /** `SHA256:...` of the plain key. */ readonly fingerprint: string }
  | { readonly outcome: 'refused'; readonly fingerprint: string; /** A constant sentence, for the log. */ readonly reason: string };

/** Plain host key algorithms by the type of the pinned key. */
const plain: Readonly<Record<string, readonly string[]>> = {
  'ssh-ed25519': ['ssh-ed25519'],
  'ecdsa-sha2-nistp256': ['ecdsa-sha2-nistp256'],
  'ecdsa-sha2-nistp384': ['ecdsa-sha2-nistp384'],
  'ecdsa-sha2-nistp521': ['ecdsa-sha2-nistp521'],
  'ssh-rsa': ['rsa-sha2-512', 'rsa-sha2-256'],
};
const certificates = [
  'ssh-ed25519-cert-v01@openssh.com', 'ecdsa-sha2-nistp256-cert-v01@openssh.com', 'ecdsa-sha2-nistp384-cert-v01@openssh.com', 'ecdsa-sha2-nistp521-cert-v01@openssh.com',
  'rsa-sha2-512-cert-v01@openssh.com', 'rsa-sha2-256-cert-v01@openssh.com',
];
const certificateSuffix = '-cert-v01@openssh.com';
/** Fields of the public key inside a certificate. */
const keyFields: Readonly<Record<string, number>> = {
  'ssh-ed25519-cert-v01@openssh.com': 1, 'ssh-rsa-cert-v01@openssh.com': 2,
  'ecdsa-sha2-nistp256-cert-v01@openssh.com': 2, 'ecdsa-sha2-nistp384-cert-v01@openssh.com': 2, 'ecdsa-sha2-nistp521-cert-v01@openssh.com': 2,
};

/** The host key algorithms to offer a target: certificates where it has an authority, then the types of its pinned keys. Empty: nothing could be verified. */
export function hostKeyAlgorithms(pins: HostKeyPins): readonly string[] {
  const pinned = pins.hostKeys.flatMap((key) => plain[key.split(' ')[0] ?? ''] ?? []);
  return [...new Set([...(pins.hostCertificateAuthorities.length > 0 ? certificates : []), ...pinned])];
}

/** Judges the host key (or host certificate) that a target showed; pure. No trust on first use: what is neither pinned nor certified is refused. Never throws. */
export function judgeHostKey(shown: Uint8Array, pins: HostKeyPins, nowMs: number): HostKeyVerdict {
  if (pins.hostKeys.some((key) => sameBytes(blobOf(key), shown))) return { outcome: 'accepted', fingerprint: fingerprint(shown) };
  const certificate = readHostCertificate(shown);
  if (certificate === null) return { outcome: 'refused', fingerprint: fingerprint(shown), reason: 'the host key is not pinned' };
  const reason = certificateProblem(certificate, pins, nowMs);
  return reason === null ? { outcome: 'accepted', fingerprint: certificate.fingerprint } : { outcome: 'refused', fingerprint: certificate.fingerprint, reason };
}

interface HostCertificate {
  /** Of the plain key inside. */
  readonly fingerprint: string;
  readonly kind: number;
  readonly principals: readonly string[];
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  readonly criticalOptions: Uint8Array;
  readonly authority: Uint8Array;
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
}

/** PROTOCOL.certkeys of OpenSSH. Null: no certificate, or one with a fault in its form. */
function readHostCertificate(shown: Uint8Array): HostCertificate | null {
  const reader = new SshReader(shown);
  const type = reader.text();
  const count = keyFields[type];
  if (count === undefined) return null;
  reader.string(); // nonce
  const key = Array.from({ length: count }, () => reader.string());
  reader.uint64(); // serial
  const kind = reader.uint32();
  reader.string(); // key id
  const principals = readNames(reader.string());
  const [validAfter, validBefore, criticalOptions] = [reader.uint64(), reader.uint64(), reader.string()];
  reader.string(); // extensions
  reader.string(); // reserved
  const authority = reader.string();
  const signed = shown.subarray(0, reader.position);
  const signature = reader.string();
  if (!reader.isAtEnd || principals === null) return null;
  const plainKey = Buffer.concat([type.replace(certificateSuffix, ''), ...key].map(sshString));
  return { fingerprint: fingerprint(plainKey), kind, principals, validAfter, validBefore, criticalOptions, authority, signed, signature };
}

/** A constant sentence, or null. */
function certificateProblem(certificate: HostCertificate, pins: HostKeyPins, nowMs: number): string | null {
  const now = BigInt(Math.floor(nowMs / 1_000));
  if (certificate.kind !== 2) return 'the certificate is not one of a host';
  // Byte-equal to a plain key of the Target: a certificate as authority never is.
  if (!pins.hostCertificateAuthorities.some((pinned) => sameBytes(blobOf(pinned), certificate.authority))) return 'the host certificate is of another authority';
  if (!isSigned(certificate)) return 'the signature of the host certificate does not verify';
  if (now < certificate.validAfter || now >= certificate.validBefore) return 'the host certificate is not valid now';
  if (certificate.criticalOptions.length > 0) return 'the host certificate has an option that is not known here';
  return certificate.principals.includes(pins.host.toLowerCase()) ? null : 'the host certificate names another host';
}

function isSigned({ authority, signed, signature }: HostCertificate): boolean {
  const key = readPublicKey(authority);
  if (key === null) return false;
  const algorithms = key.type === 'ssh-rsa' ? (['rsa-sha2-512', 'rsa-sha2-256'] as const) : ([key.type] as const);
  return algorithms.some((algorithm) => verifySshSignature(key.key, algorithm, signed, signature));
}

/** The fingerprints that a Target expects: of its pinned keys, then of its authorities. */
export function pinnedFingerprints(pins: HostKeyPins): readonly string[] {
  return [...pins.hostKeys, ...pins.hostCertificateAuthorities].map((key) => fingerprint(blobOf(key)));
}

/** As OpenSSH prints it: `SHA256:` and base64 without padding. */
export function fingerprint(blob: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

function blobOf(pinned: string): Buffer {
  return Buffer.from(pinned.split(' ')[1] ?? '', 'base64');
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length > 0 && a.length === b.length && timingSafeEqual(a, b);
}

function readNames(packed: Uint8Array): readonly string[] | null {
  const reader = new SshReader(packed);
  const names: string[] = [];
  while (reader.hasMore) names.push(reader.text().toLowerCase());
  return reader.isAtEnd ? names : null;
}
