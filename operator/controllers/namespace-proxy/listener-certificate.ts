// @peculiar/x509 needs the metadata API in place before it loads.
import 'reflect-metadata';
import { randomBytes } from 'node:crypto';
import * as x509 from '@peculiar/x509';

/** PEM texts of a listener certificate and of the CA that it verifies against. */
export interface ListenerCertificate {
  readonly certificate: string;
  readonly key: string;
  readonly ca: string;
}

/** Ten years, as kubeadm gives its CA: the CA's key is gone, so renewal means another CA (docs/operator.md). */
const lifetimeMs = 3_650 * 86_400_000;
/** Clients' clocks may be behind. */
const backdateMs = 3_600_000;

/**
 * Makes a certificate for the listeners of a namespace, from a CA made for it alone whose private key is dropped: nobody can ever issue another certificate with it.
 *
 * Wildcards cover Targets that come later. Some clients refuse a wildcard with one dot (`*.payments`), so the Targets of now are named beside it.
 */
export async function makeListenerCertificate(namespace: string, targets: readonly string[], nowMs: number): Promise<ListenerCertificate> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
  const newKeys = () => crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const [caKeys, leafKeys] = await Promise.all([newKeys(), newKeys()]);
  const validity = { notBefore: new Date(nowMs - backdateMs), notAfter: new Date(nowMs + lifetimeMs) };
  const caName = `CN=Sallyport listeners of ${namespace} ${randomBytes(4).toString('hex')}`;
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(), name: caName, ...validity, keys: caKeys, signingAlgorithm: algorithm,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true), await x509.SubjectKeyIdentifierExtension.create(caKeys.publicKey)],
  });
  const names = [`*.${namespace}.svc`, `*.${namespace}.svc.cluster.local`, `*.${namespace}`, ...[...targets].sort().slice(0, maxNames).map((target) => `${target}.${namespace}`)];
  const leaf = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(), subject: `CN=sallyport-proxy.${namespace}`, issuer: caName, ...validity, publicKey: leafKeys.publicKey, signingKey: caKeys.privateKey, signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true), new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns' as const, value }))), await x509.AuthorityKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  });
  const key = Buffer.from(await crypto.subtle.exportKey('pkcs8', leafKeys.privateKey) as ArrayBuffer).toString('base64').replaceAll(/.{64}(?=.)/g, '$&\n');
  return { certificate: `${leaf.toString('pem')}\n`, key: `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`, ca: `${ca.toString('pem')}\n` };
}

/** Keeps a handshake small: a namespace may hold 512 Targets. */
const maxNames = 64;

/** Positive, as RFC 5280 wants it. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x01;
  return bytes.toString('hex');
}
