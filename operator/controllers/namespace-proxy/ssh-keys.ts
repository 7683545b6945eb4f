import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';

/** An SSH host key: the private part in OpenSSH's format, the public one as one line `ssh-ed25519 BASE64`. */
export interface SshHostKey {
  readonly privateKey: string;
  readonly publicKey: string;
}

/** Makes the Ed25519 key that the SSH listeners of one namespace show. */
export function makeSshHostKey(): SshHostKey {
  const { privateKey } = generateKeyPairSync('ed25519');
  const { d = '', x = '' } = privateKey.export({ format: 'jwk' });
  const [seed, point] = [Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')];
  const publicBlob = Buffer.concat([field('ssh-ed25519'), field(point)]);
  // Twice the same number: how a reader knows that it has decrypted; nothing is encrypted here.
  const check = randomBytes(4);
  const inner = Buffer.concat([check, check, field('ssh-ed25519'), field(point), field(Buffer.concat([seed, point])), field('')]);
  const padding = Buffer.from(Array.from({ length: (8 - (inner.length % 8)) % 8 }, (_, index) => index + 1));
  const one = Buffer.from([0, 0, 0, 1]);
  const file = Buffer.concat([Buffer.from('openssh-key-v1\0'), field('none'), field('none'), field(''), one, field(publicBlob), field(Buffer.concat([inner, padding]))]);
  return {
    privateKey: `-----BEGIN OPENSSH PRIVATE KEY-----\n${file.toString('base64').replaceAll(/.{70}(?=.)/g, '$&\n')}\n-----END OPENSSH PRIVATE KEY-----\n`,
    publicKey: `ssh-ed25519 ${publicBlob.toString('base64')}`,
  };
}

/** Makes the authority that signs the certificates of SSH users: an Ed25519 key, PKCS #8 in PEM. */
export function makeSshUserCa(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** As OpenSSH prints it: `SHA256:` and base64 without padding. */
export function sshFingerprint(publicKey: string): string {
  return `SHA256:${createHash('sha256').update(Buffer.from(publicKey.split(' ')[1] ?? '', 'base64')).digest('base64').replace(/=+$/, '')}`;
}

function field(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
