import type { Algorithms, ServerHostKeyAlgorithm } from 'ssh2';

/** What both legs offer, best first; nothing else is spoken. The client's order wins, so towards a target this one does. */
const offered: Required<Pick<Algorithms, 'kex' | 'cipher' | 'hmac' | 'compress'>> = {
  // Group exchange is never listed: as client ssh2 would take any prime.
  kex: ['curve25519-sha256', 'curve25519-sha256@libssh.org', 'diffie-hellman-group16-sha512'],
  cipher: ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com', 'aes256-ctr', 'chacha20-poly1305@openssh.com'],
  hmac: ['hmac-sha2-256-etm@openssh.com', 'hmac-sha2-512-etm@openssh.com'],
  compress: ['none'],
};

/** Sent as `SSH-2.0-Sallyport`: no version, nothing about the library. */
export const ident = 'Sallyport';

/** Algorithms of our own server. */
export function serverAlgorithms(): Algorithms {
  return { ...structuredClone(offered), serverHostKey: ['ssh-ed25519', 'rsa-sha2-512', 'rsa-sha2-256'] };
}

/** Algorithms towards a target: only the kinds of host keys that its pins can verify, certificates among them (`hostKeyAlgorithms`). */
export function targetAlgorithms(hostKeys: readonly string[]): Algorithms {
  // The names of certificates are those that our patch teaches ssh2.
  return { ...structuredClone(offered), serverHostKey: hostKeys as ServerHostKeyAlgorithm[] };
}

/** Terrapin (CVE-2023-48795): a peer without strict key exchange could lose messages of this cipher unseen. aes-gcm and ctr with etm cannot. */
export function needsStrictKex(cipher: string): boolean {
  return cipher === 'chacha20-poly1305@openssh.com';
}
