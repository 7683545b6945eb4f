import { createHash, timingSafeEqual } from 'node:crypto';

import type { SshTarget } from '../../contract/proxy-config.ts';
import { signatureHolds } from './signature.ts';
import { WireReader } from './wire-reader.ts';

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

/** Judges the host key (or host certificate) that a target showed; pure. No trust on first use: what is neither pinned nor certified is refused. */
export function judgeHostKey(shown: Uint8Array, pins: HostKeyPins, nowMs: number): HostKeyVerdict {
  if (pins.hostKeys.some((key) => sameBytes(blobOf(key), shown))) return { outcome: 'accepted', fingerprint: fingerprint(shown) };
  try {
    return judgeCertificate(shown, pins, nowMs);
  } catch {
    return { outcome: 'refused', fingerprint: fingerprint(shown), reason: 'the host key cannot be read' };
  }
}

function judgeCertificate(shown: Uint8Array, pins: HostKeyPins, nowMs: number): HostKeyVerdict {
  const fields = new WireReader(shown);
  const type = fields.name();
  const count = keyFields[type];
  if (count === undefined) return { outcome: 'refused', fingerprint: fingerprint(shown), reason: 'the host key is not pinned' };
  fields.string(); // nonce
  const key = Array.from({ length: count }, () => fields.string());
  fields.uint64(); // serial
  const kind = fields.uint32();
  fields.string(); // key id
  const principals = readNames(fields.string());
  const [after, before] = [fields.uint64(), fields.uint64()];
  const criticalOptions = fields.string();
  fields.string(); // extensions
  fields.string(); // reserved
  const authority = fields.string();
  const signed = shown.subarray(0, fields.position);
  const signature = fields.string();

  const inner = fingerprint(plainBlob(type, key));
  const refused = (reason: string): HostKeyVerdict => ({ outcome: 'refused', fingerprint: inner, reason });
  const now = BigInt(Math.floor(nowMs / 1_000));
  if (!fields.atEnd) return refused('the host certificate has bytes behind its end');
  if (kind !== 2) return refused('the certificate is not one of a host');
  // Byte-equal to a plain key of the Target: a certificate as authority never is.
  if (!pins.hostCertificateAuthorities.some((pinned) => sameBytes(blobOf(pinned), authority))) return refused('the host certificate is of another authority');
  if (!signatureHolds(authority, signed, signature)) return refused('the signature of the host certificate does not verify');
  if (now < after || now >= before) return refused('the host certificate is not valid now');
  if (criticalOptions.length > 0) return refused('the host certificate has an option that is not known here');
  if (!principals.includes(pins.host.toLowerCase())) return refused('the host certificate names another host');
  return { outcome: 'accepted', fingerprint: inner };
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

function readNames(packed: Uint8Array): readonly string[] {
  const fields = new WireReader(packed);
  const names: string[] = [];
  while (!fields.atEnd) names.push(fields.string().toString('utf8').toLowerCase());
  return names;
}

function plainBlob(certificateType: string, key: readonly Buffer[]): Buffer {
  const type = Buffer.from(certificateType.replace('-cert-v01@openssh.com', ''));
  return Buffer.concat([type, ...key].flatMap((field) => [uint32(field.length), field]));
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
