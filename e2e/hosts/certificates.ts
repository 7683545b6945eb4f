import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { webcrypto } from 'node:crypto';

/** A certificate and its private key, both PEM. */
export interface CertificatePair {
  readonly certificate: string;
  readonly key: string;
}

/** A certificate authority that lives for one test run. */
export interface Authority {
  /** PEM of the authority, for clients that verify. */
  readonly ca: string;
  issue(input: { readonly commonName: string; readonly dnsNames?: readonly string[]; readonly ips?: readonly string[]; readonly algorithm?: 'ES256' | 'Ed25519' | 'RS256'; readonly client?: boolean }): Promise<CertificatePair>;
}

const algorithms = {
  ES256: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', publicExponent: new Uint8Array([1, 0, 1]), modulusLength: 2048 },
  Ed25519: { name: 'Ed25519' },
} as const;

/** Makes an authority; certificates are valid from one hour ago for one week. */
export async function createAuthority(name = 'Sallyport test authority'): Promise<Authority> {
  x509.cryptoProvider.set(webcrypto as unknown as Crypto);
  const caKeys = (await webcrypto.subtle.generateKey(algorithms.ES256, true, ['sign', 'verify'])) as CryptoKeyPair;
  const validity = { notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 7 * 86_400_000) };
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    keys: caKeys,
    signingAlgorithm: algorithms.ES256,
    ...validity,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true)],
  });
  return {
    ca: ca.toString('pem'),
    issue: async (input) => {
      const keys = (await webcrypto.subtle.generateKey(algorithms[input.algorithm ?? 'ES256'], true, ['sign', 'verify'])) as CryptoKeyPair;
      const names: x509.JsonGeneralNames = [
        ...(input.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
        ...(input.ips ?? []).map((value) => ({ type: 'ip' as const, value })),
      ];
      const certificate = await x509.X509CertificateGenerator.create({
        subject: `CN=${input.commonName}`,
        issuer: ca.subject,
        publicKey: keys.publicKey,
        signingKey: caKeys.privateKey,
        signingAlgorithm: algorithms.ES256,
        ...validity,
        extensions: [
          new x509.ExtendedKeyUsageExtension([input.client ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth]),
          ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
        ],
      });
      const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
      return { certificate: certificate.toString('pem'), key: `-----BEGIN PRIVATE KEY-----\n${key.replace(/(.{64})/g, '$1\n')}\n-----END PRIVATE KEY-----\n` };
    },
  };
}
