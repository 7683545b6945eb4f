import { createPrivateKey, X509Certificate } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { makeListenerCertificate } from './listener-certificate.ts';

const now = Date.parse('2026-11-24T12:00:00Z');

test('a listener certificate verifies against its CA, fits its key, and names every Target of now and later', async () => {
  const made = await makeListenerCertificate('payments', ['orders-db'], now);
  const [leaf, ca] = [new X509Certificate(made.certificate), new X509Certificate(made.ca)];
  expect([leaf.verify(ca.publicKey), leaf.checkIssued(ca), leaf.checkPrivateKey(createPrivateKey(made.key)), ca.ca, leaf.ca]).toEqual([true, true, true, true, false]);
  expect(['orders-db.payments', 'later.payments.svc', 'later.payments.svc.cluster.local'].map((host) => leaf.checkHost(host) !== undefined)).toEqual([true, true, true]);
  expect(['orders-db.billing', 'a.b.payments.svc', 'payments.svc', 'later.billing.svc'].map((host) => leaf.checkHost(host))).toEqual([undefined, undefined, undefined, undefined]);
  expect([leaf.validFromDate.getTime() < now, leaf.validToDate.getTime() > now + 9 * 365 * 86_400_000]).toEqual([true, true]);
});

test('two namespaces share neither CA nor serial number, and the CA can sign nothing but listeners', async () => {
  const [one, two] = (await Promise.all([makeListenerCertificate('a', [], now), makeListenerCertificate('a', [], now)])).map(({ certificate, ca }) => ({ leaf: new X509Certificate(certificate), ca: new X509Certificate(ca) }));
  expect(one?.leaf.verify(two!.ca.publicKey)).toBe(false);
  expect([one?.leaf.serialNumber === two?.leaf.serialNumber, one?.leaf.keyUsage]).toEqual([false, ['1.3.6.1.5.5.7.3.1']]);
});

test('a namespace with many Targets has a certificate that still fits a handshake', async () => {
  const { certificate } = await makeListenerCertificate('payments', Array.from({ length: 512 }, (_, index) => `target-number-${index}`), now);
  expect(new X509Certificate(certificate).raw.length).toBeLessThan(4_096);
});
