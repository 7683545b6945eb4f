import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import * as x509 from '@peculiar/x509';
import { listenerCertificate } from './listener-certificate.ts';

let directory: string;
beforeEach(() => { directory = mkdtempSync(join(tmpdir(), 'sallyport-certificate-')); });
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('the certificate of the listeners', () => {
  const files = (): readonly [string, string] => [join(directory, 'tls.crt'), join(directory, 'tls.key')];
  const never = (error: Error): void => { throw error; };

  test('says when it ends, and is another one once its files are renewed', async () => {
    await writePair(2_000_000_000_000);
    const certificate = listenerCertificate(...files(), never);
    expect(certificate.expiresAtMs()).toBe(2_000_000_000_000);
    const before = certificate.secureContext();
    expect(certificate.secureContext()).toBe(before);
    await writePair(2_100_000_000_000, 'renewed '.repeat(20));
    expect(certificate.expiresAtMs()).toBe(2_100_000_000_000);
    expect(certificate.secureContext()).not.toBe(before);
  });

  test('stays the last good one while its files do not fit, and tells', async () => {
    await writePair(2_000_000_000_000);
    const problems: string[] = [];
    const certificate = listenerCertificate(...files(), (error) => problems.push(error.message));
    const before = certificate.secureContext();
    writeFileSync(files()[0], 'half a certifica');
    expect(certificate.secureContext()).toBe(before);
    expect(certificate.expiresAtMs()).toBe(2_000_000_000_000);
    expect(problems.length).toBeGreaterThan(0);
  });

  test('is refused at the start when a file is missing', () => {
    expect(() => listenerCertificate(...files(), never)).toThrow('ENOENT');
  });

  async function writePair(notAfterMs: number, name = 'listener'): Promise<void> {
    x509.cryptoProvider.set(webcrypto as unknown as Crypto);
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
    const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as CryptoKeyPair;
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({ name: `CN=${name}`, keys, signingAlgorithm: algorithm, notBefore: new Date(0), notAfter: new Date(notAfterMs) });
    writeFileSync(files()[0], certificate.toString('pem'));
    writeFileSync(files()[1], x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY'));
  }
});
