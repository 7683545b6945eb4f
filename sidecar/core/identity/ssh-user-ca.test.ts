import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import type { Identity } from './identity.ts';
import { mapClaims } from './map-claims.ts';
import { verifyUserCertificate, wrappedText } from './ssh-certificate.ts';
import { certificatePrincipal, identityExtension, readIdentityExtension, writeIdentityExtension } from './ssh-identity-extension.ts';
import { createUserCaKey, readUserCa, type SshUserCa } from './ssh-user-ca.ts';
import { sshString } from './ssh-wire.ts';

const nowMs = Date.parse('2026-11-24T12:00:00Z');
const nowSeconds = nowMs / 1000;
const provider: ProxyConfig['identityProviders'][number] = {
  name: 'corp', uid: 'u', generation: 1, type: 'OIDC', issuer: 'https://id.example', audiences: ['sallyport'], usernameClaim: 'email', usernamePrefix: 'oidc:', groupsClaim: 'groups', groupsPrefix: '', uidClaim: null, jwksUri: null, caBundle: null,
  algorithms: ['ES256'], clockSkewSeconds: 30,
};
const config: ProxyConfig = { schemaVersion: 1, namespace: 'payments', identityProviders: [provider], targets: [], policies: [] } as unknown as ProxyConfig;
const claims = { iss: provider.issuer, sub: 'ada', aud: ['sallyport'], exp: nowSeconds + 600, iat: nowSeconds, email: 'ada@bank.example', groups: ['sre'], act: { sub: 'agent-7' }, department: 'Zahlungen €' };
const identity = identityOf(claims);
const bearer = generateKeyPairSync('ed25519');
const publicKey = Buffer.concat([sshString('ssh-ed25519'), sshString(Buffer.from(bearer.publicKey.export({ format: 'jwk' }).x ?? '', 'base64url'))]);
const data = Buffer.from('session');

function identityOf(of: Readonly<Record<string, unknown>>): Identity {
  const mapped = mapClaims(of, provider);
  if (mapped.outcome === 'denied') throw new Error(mapped.denial.code);
  return mapped.identity;
}

function issue(ca: SshUserCa, key: Uint8Array = publicKey): Uint8Array | null {
  const extension = writeIdentityExtension(identity) ?? '';
  return ca.issue({ publicKey: key, keyId: identity.username, serial: 7n, principal: certificatePrincipal('payments'), validAfter: nowSeconds - 30, validBefore: nowSeconds + 600, extensions: { [identityExtension]: extension, 'a@x': '' }, nonce: Buffer.alloc(32, 1) });
}

function judge(certificate: Uint8Array, authorities: readonly Uint8Array[], atMs = nowMs): ReturnType<typeof verifyUserCertificate> {
  const signature = Buffer.concat([sshString('ssh-ed25519'), sshString(sign(null, data, bearer.privateKey))]);
  return verifyUserCertificate({ algorithm: 'ssh-ed25519-cert-v01@openssh.com', certificate, proof: { data, signature } }, { authorities, principal: certificatePrincipal('payments'), nowMs: atMs, clientAddress: '10.0.0.1' });
}

describe('the authority', () => {
  test('what it issues verifies, and carries the identity', () => {
    const ca = readUserCa(createUserCaKey(), null);
    const outcome = judge(issue(ca) ?? new Uint8Array(), ca.authorities);
    if (outcome.outcome !== 'verified') throw new Error(JSON.stringify(outcome));
    const text = wrappedText(outcome.certificate.extensions.get(identityExtension) ?? new Uint8Array());
    expect(readIdentityExtension(text ?? '', config, nowMs)).toEqual({ ...identity, authMethod: 'Certificate' });
  });

  test('it ends when it says', () => {
    const ca = readUserCa(createUserCaKey(), null);
    expect(judge(issue(ca) ?? new Uint8Array(), ca.authorities, nowMs + 600_000)).toEqual({ outcome: 'refused', defect: 'expired' });
  });

  test('a key that is to follow counts, but does not sign yet', () => {
    const [old, next] = [createUserCaKey(), createUserCaKey()];
    const both = readUserCa(old, next);
    expect(both.authorities).toEqual([...readUserCa(old, null).authorities, ...readUserCa(next, null).authorities]);
    expect(judge(issue(readUserCa(next, null)) ?? new Uint8Array(), both.authorities).outcome).toBe('verified');
    expect(judge(issue(both) ?? new Uint8Array(), readUserCa(next, null).authorities)).toEqual({ outcome: 'refused', defect: 'unknown authority' });
  });

  test.each([
    ['a type that nobody takes', sshString('ssh-dss')], ['a key with a byte after it', Buffer.concat([publicKey, Buffer.from([0])])], ['a key that is cut', publicKey.subarray(0, 40)], ['nothing', new Uint8Array()],
  ])('it issues nothing for %s', (_name, key) => {
    expect(issue(readUserCa(createUserCaKey(), null), key)).toBeNull();
  });

  test.each([['no PEM', 'secret-that-is-not-a-key'], ['an RSA key', generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()]])('%s is no authority, and is not repeated in the error', (_name, pem) => {
    expect(() => readUserCa(pem, null)).toThrow(/^CONFIG_INVALID: [^\n]{1,80}$/);
  });
});

describe('the identity of a certificate', () => {
  const text = writeIdentityExtension(identity) ?? '';
  const read = (over: Partial<typeof provider>): Identity | null => readIdentityExtension(text, { ...config, identityProviders: [{ ...provider, ...over }] }, nowMs);

  test('it has the names that the provider gives now', () => {
    expect(read({ usernamePrefix: 'corp:' })?.username).toBe('corp:ada@bank.example');
  });

  test.each([
    ['its provider is gone', () => read({ name: 'other' })], ['its provider has another issuer', () => read({ issuer: 'https://other.example' })], ['its audience is no longer accepted', () => read({ audiences: ['another'] })],
    ['its claims name nobody now', () => read({ usernameClaim: 'upn' })],
    ['the token has expired', () => readIdentityExtension(text, config, nowMs + 630_000)],
    ['it is of another version', () => readIdentityExtension(text.replace('"v":1', '"v":2'), config, nowMs)],
    ['its claims are of another issuer', () => readIdentityExtension(text.replaceAll('"iss":"https://id.example"', '"iss":"https://no.example"'), config, nowMs)],
    ['it holds no claims', () => readIdentityExtension(JSON.stringify({ v: 1, provider: 'corp', issuer: provider.issuer, claims: [] }), config, nowMs)],
    ['it is no object', () => readIdentityExtension('[]', config, nowMs)], ['it is no JSON', () => readIdentityExtension('{', config, nowMs)], ['it is too long', () => readIdentityExtension(' '.repeat(30_000) + text, config, nowMs)],
  ])('nobody is meant when %s', (_name, run) => {
    expect(run()).toBeNull();
  });

  test('claims that are too long for a certificate are not put into one', () => {
    expect(writeIdentityExtension({ ...identity, claims: { ...claims, groups: Array.from({ length: 1_000 }, (_, i) => `a-group-with-a-long-name-${i}`) } })).toBeNull();
  });
});
