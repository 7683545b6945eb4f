import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { SallyportError } from '../errors.ts';
import { readPublicKey } from './ssh-public-key.ts';
import { sshString, sshUint32, sshUint64 } from './ssh-wire.ts';

/** The certificate authority of a namespace for SSH users. */
export interface SshUserCa {
  /** Plain public keys whose certificates count: of the signing key first, then of the one that is to follow it. */
  readonly authorities: readonly Uint8Array[];
  /** Signs a user certificate; see `CertificateContent`. Null: the key is of no accepted type, or too weak. */
  issue(content: CertificateContent): Uint8Array | null;
}

/** What a certificate is to say. */
export interface CertificateContent {
  /** Plain public key, whole: Ed25519, ECDSA P-256 or RSA of 3,072 bits and more. */
  readonly publicKey: Uint8Array;
  readonly keyId: string;
  readonly serial: bigint;
  readonly principal: string;
  /** Unix times, s. */
  readonly validAfter: number;
  readonly validBefore: number;
  /** Texts by name. */
  readonly extensions: Readonly<Record<string, string>>;
  /** 32 random bytes. */
  readonly nonce: Uint8Array;
}

/**
 * The authority of an Ed25519 private key in PKCS #8 PEM, and of the key that is to follow it, if there is one: what either signed counts, the first signs.
 *
 * @throws SallyportError CONFIG_INVALID for any other text.
 */
export function readUserCa(pem: string, nextPem: string | null): SshUserCa {
  const key = readPrivateKey(pem);
  const authorities = [key, ...(nextPem === null ? [] : [readPrivateKey(nextPem)])].map(publicBlob);
  return { authorities, issue: (content) => issueCertificate(content, key, authorities[0] ?? new Uint8Array()) };
}

/** A new authority's private key, PKCS #8 PEM. */
export function createUserCaKey(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function readPrivateKey(pem: string): KeyObject {
  const invalid = (): SallyportError => new SallyportError('CONFIG_INVALID', { file: 'ssh user CA', reason: 'not an Ed25519 private key in PKCS #8 PEM' });
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    // The parser's error may repeat parts of the text.
    throw invalid();
  }
  if (key.asymmetricKeyType !== 'ed25519') throw invalid();
  return key;
}

/** The public half of an Ed25519 private key, as SSH writes it. */
function publicBlob(key: KeyObject): Uint8Array {
  const { x } = createPublicKey(key).export({ format: 'jwk' });
  return Buffer.concat([sshString('ssh-ed25519'), sshString(Buffer.from(x ?? '', 'base64url'))]);
}

const userCertificate = 1;

/** PROTOCOL.certkeys of OpenSSH. */
function issueCertificate(content: CertificateContent, key: KeyObject, authority: Uint8Array): Uint8Array | null {
  const subject = readPublicKey(content.publicKey);
  if (subject === null) return null;
  const extensions = Object.entries(content.extensions).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, text]) => Buffer.concat([sshString(name), sshString(sshString(text))]));
  const body = Buffer.concat([
    sshString(`${subject.type}-cert-v01@openssh.com`), sshString(content.nonce), subject.fields,
    sshUint64(content.serial), sshUint32(userCertificate), sshString(content.keyId), sshString(sshString(content.principal)),
    sshUint64(BigInt(content.validAfter)), sshUint64(BigInt(content.validBefore)), sshString(''), sshString(Buffer.concat(extensions)), sshString(''), sshString(authority),
  ]);
  return Buffer.concat([body, sshString(Buffer.concat([sshString('ssh-ed25519'), sshString(sign(null, body, key))]))]);
}
