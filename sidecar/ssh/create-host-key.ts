import ssh2 from 'ssh2';

/** A new Ed25519 host key, OpenSSH's format. */
export function createHostKey(): string {
  return ssh2.utils.generateKeyPairSync('ed25519').private;
}
