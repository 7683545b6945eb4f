import { describe, expect, test } from '@jest/globals';
import type { IdentityProviderResource } from '../../../contract/api/v1alpha1.gen.ts';
import { checkIssuer } from './check-issuer.ts';
import type { FetchJson } from './check-issuer.ts';
import { providerStatus } from './start.ts';

const provider = (change: Partial<IdentityProviderResource['spec']> = {}): IdentityProviderResource => ({
  apiVersion: 'sallyport.dev/v1alpha1', kind: 'IdentityProvider', metadata: { name: 'company', generation: 3 },
  spec: { type: 'OIDC', issuer: 'https://idp.example/realm', audiences: ['sallyport'], claims: { username: 'email', usernamePrefix: 'oidc:' }, algorithms: ['RS256', 'ES256'], clockSkew: '30s', ...change },
});
const discovery = { issuer: 'https://idp.example/realm', jwks_uri: 'https://idp.example/keys' };
const rsa = { kty: 'RSA', n: 'x', e: 'AQAB' };
const asked: string[] = [];
const answering = (answers: Readonly<Record<string, unknown>>): FetchJson => async (url) => {
  asked.push(url);
  if (!(url in answers)) throw new Error(`${new URL(url).host} answered 404`);
  return answers[url];
};
const both = (keys: unknown, document: unknown = discovery): FetchJson => answering({ 'https://idp.example/realm/.well-known/openid-configuration': document, 'https://idp.example/keys': { keys } });
const check = (fetchJson: FetchJson, change: Partial<IdentityProviderResource['spec']> = {}) => checkIssuer(provider(change), fetchJson, AbortSignal.timeout(1_000));

describe('an issuer', () => {
  test('is reachable when its document names it and it publishes a key that can sign', async () => {
    expect(await check(both([rsa, { kty: 'EC', crv: 'P-256' }]))).toEqual({ outcome: 'reachable', keys: 2 });
  });
  test('with its own jwksURI is asked for the keys alone', async () => {
    asked.length = 0;
    expect(await check(answering({ 'https://keys.example/jwks': { keys: [rsa] } }), { jwksURI: 'https://keys.example/jwks' })).toEqual({ outcome: 'reachable', keys: 1 });
    expect(asked).toEqual(['https://keys.example/jwks']);
  });
  test.each([
    ['does not answer', answering({}), 'DiscoveryFailed'],
    ['says that it is somebody else', both([rsa], { ...discovery, issuer: 'https://evil.example' }), 'IssuerMismatch'],
    ['sends no document', both([rsa], []), 'IssuerMismatch'],
    ['sends its clients to plain http for the keys', both([rsa], { ...discovery, jwks_uri: 'http://idp.example/keys' }), 'DiscoveryFailed'],
    ['publishes no keys', both('none'), 'DiscoveryFailed'],
    ['publishes keys for encryption only', both([{ ...rsa, use: 'enc' }]), 'NoUsableKey'],
    ['publishes keys of another curve and algorithm', both([{ kty: 'EC', crv: 'P-384' }, { ...rsa, alg: 'RS512' }, { kty: 'OKP' }, null]), 'NoUsableKey'],
  ])('that %s is not reachable', async (_name, fetchJson, reason) => {
    expect(await check(fetchJson)).toMatchObject({ outcome: 'failed', reason });
  });
});

describe('the status', () => {
  const reachable = { outcome: 'reachable', keys: 1 } as const;
  const failed = { outcome: 'failed', reason: 'DiscoveryFailed', message: 'idp.example answered 500' } as const;
  const now = Date.parse('2026-11-24T12:00:00Z');
  const summary = (status: ReturnType<typeof providerStatus>): unknown => status.conditions.map(({ type, status: is, reason }) => `${type}=${is}/${reason}`);
  test('is ready when accepted and reachable', () => {
    expect(providerStatus(provider(), [], reachable, now)).toMatchObject({ observedGeneration: 3, keysFetchedAt: '2026-11-24T12:00:00Z' });
    expect(summary(providerStatus(provider(), [], reachable, now))).toEqual(['Accepted=True/Accepted', 'Reachable=True/Reachable', 'Ready=True/Ready']);
  });
  test('says why not', () => {
    const problem = { severity: 'rejected', kind: 'IdentityProvider', name: 'company', path: ['spec', 'claims', 'usernamePrefix'], reason: 'PrefixConflict', message: 'taken' } as const;
    expect(summary(providerStatus(provider(), [problem], failed, now))).toEqual(['Accepted=False/PrefixConflict', 'Reachable=False/DiscoveryFailed', 'Ready=False/PrefixConflict', 'Stalled=True/PrefixConflict']);
  });
  test('does not change when the keys are fetched again: it would never come to rest', () => {
    const before = providerStatus(provider(), [], reachable, now);
    expect(providerStatus({ ...provider(), status: before }, [], reachable, now + 600_000)).toEqual(before);
  });
});
