import ssh2 from 'ssh2';

/** A new Ed25519 key for one login, in OpenSSH's formats. */
export function newKey(): { readonly privateKey: string; readonly publicKey: string } {
  const { private: privateKey, public: publicKey } = ssh2.utils.generateKeyPairSync('ed25519');
  return { privateKey, publicKey };
}
