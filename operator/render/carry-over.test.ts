import { describe, expect, test } from '@jest/globals';
import type { AccessPolicyResource, IdentityProviderResource, TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import type { ProxyConfig } from '../../contract/proxy-config.ts';
import { renderProxyConfig } from './proxy-config.ts';
import type { RenderInput } from './proxy-config.ts';

const target = (name: string, labels: Readonly<Record<string, string>> = { env: 'prod' }, databases: string[] = ['d'], generation = 1): TargetResource => ({
  apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata: { name, uid: `uid-${name}`, generation, labels: { ...labels } },
  spec: { postgres: { host: 'db', port: 5432, tls: { mode: 'VerifyFull', channelBinding: 'Prefer' }, credentials: { secretRef: { name: 's' } }, databases } },
});
const policy = (name: string, spec: Partial<AccessPolicyResource['spec']> = {}, generation = 1): AccessPolicyResource => ({
  apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessPolicy', metadata: { name, uid: `uid-${name}`, generation },
  spec: { subjects: [{ kind: 'Group', name: 'g' }], targets: { selector: { matchLabels: { env: 'prod' } } }, access: { mode: 'Standing' }, ...spec },
});
const provider = (name: string, usernamePrefix: string, clockSkew = '30s', generation = 1): IdentityProviderResource => ({
  apiVersion: 'sallyport.dev/v1alpha1', kind: 'IdentityProvider', metadata: { name, uid: `uid-${name}`, generation, creationTimestamp: name === 'old' ? '2026-01-01T00:00:00Z' : '2026-02-01T00:00:00Z' },
  spec: { type: 'OIDC', issuer: `https://${name}.example`, audiences: ['a'], claims: { username: 'sub', usernamePrefix }, algorithms: ['RS256'], clockSkew },
});
const render = (input: Partial<RenderInput>): ReturnType<typeof renderProxyConfig> => renderProxyConfig({ namespace: 'payments', targets: [], policies: [], identityProviders: [], ...input });
const summary = ({ config, carried }: { readonly config: ProxyConfig; readonly carried: unknown }): unknown => ({ targets: config.targets.map((each) => [each.name, each.generation]), policies: config.policies.map((each) => [each.name, each.generation, ...each.targets]), carried });
const broken: Partial<AccessPolicyResource['spec']> = { subjects: [{ kind: 'Claims', expression: 'claims.(' }] };

describe('a broken policy with a last good version', () => {
  test.each([
    ['a Deny', { rules: [{ name: 'r', action: 'Deny' as const, postgres: { statements: ['Drop' as const] } }] }, false],
    ['a mask', { masking: [{ detectors: ['email'], style: 'Redact' as const, predicates: 'Deny' as const }] }, false],
    ['a limit', { limits: { rowsPerStatement: 5 } }, false],
    ['durable records', { recording: { content: 'Full' as const, durability: 'Fsync' as const } }, false],
    ['nothing but an Allow', { rules: [{ name: 'r', action: 'Allow' as const, postgres: { statements: ['Select' as const] } }] }, true],
  ])('that had %s: a Target that is new since then is served: %s', (_name, part, isServed) => {
    const lastGood = render({ targets: [target('a')], policies: [policy('p', part)] }).config;
    // What is written now restricts nothing, so only the older version can tell.
    const outcome = render({ targets: [target('a'), target('b')], policies: [policy('p', { ...broken, rules: [{ name: 'r', action: 'Allow', postgres: { statements: ['Select'] } }] }, 2)], lastGood });
    expect(summary(outcome)).toEqual({ targets: isServed ? [['a', 1], ['b', 1]] : [['a', 1]], policies: [['p', 1, 'a']], carried: [{ kind: 'AccessPolicy', name: 'p', generation: 1 }] });
  });
});

test('a broken Target stays as it was, with the labels and port of now', () => {
  const lastGood = render({ targets: [target('a')], listenPorts: new Map([['a', 20_000]]) }).config;
  const outcome = render({ targets: [target('a', { env: 'test' }, [], 2)], listenPorts: new Map([['a', 20_001]]), lastGood });
  expect(outcome.config.targets).toMatchObject([{ name: 'a', generation: 1, labels: { env: 'test' }, listenPort: 20_001 }]);
  expect(render({ targets: [target('a', {}, [], 2)], lastGood }).config.targets).toMatchObject([{ listenPort: 20_000 }]);
});

test('a broken Target that was never accepted is left out', () => {
  expect(render({ targets: [target('a', {}, [])], lastGood: render({}).config }).config.targets).toEqual([]);
});

describe('a broken IdentityProvider', () => {
  test('stays as it was', () => {
    const lastGood = render({ identityProviders: [provider('old', 'a:')] }).config;
    const outcome = render({ identityProviders: [provider('old', 'b:', '2h', 2)], lastGood });
    expect([outcome.config.identityProviders.map((each) => [each.usernamePrefix, each.generation]), outcome.carried]).toEqual([[['a:', 1]], [{ kind: 'IdentityProvider', name: 'old', generation: 1 }]]);
  });
  test('does not stay where its names would be those of another one now', () => {
    const lastGood = render({ identityProviders: [provider('old', 'a:'), provider('young', 'b:')] }).config;
    const outcome = render({ identityProviders: [provider('old', 'b:', '30s', 2), provider('young', 'b:')], lastGood });
    expect([outcome.config.identityProviders.map((each) => each.name), outcome.carried]).toEqual([['old'], []]);
  });
});
