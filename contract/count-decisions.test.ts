import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { AccessDecisionResource, AccessRequestResource } from './api/v1alpha1.gen.ts';
import { type CountContext, countDecisions, targetDigest } from './count-decisions.ts';
import { isMappedPerson, personKeys } from './person-key.ts';
import type { PostgresTarget, ProxyConfig } from './proxy-config.ts';
import { requestDigest } from './request-digest.ts';

const T0 = Date.parse('2026-11-24T10:00:00Z');
const uids = { request: '11111111-1111-1111-1111-111111111111', policy: '22222222-2222-2222-2222-222222222222', target: '33333333-3333-3333-3333-333333333333' };
const at = (seconds: number): string => new Date(T0 + seconds * 1_000).toISOString().replace('.000Z', 'Z');
const alice = 'oidc:alice@bank.example';
const bob = 'oidc:bob@bank.example';
const carol = 'oidc:carol@bank.example';
const aliases = { 'alice-admin': alice, 'arn:aws:iam::1:user/alice': 'alice-admin', 'bob-iam': bob };
const used = { use: { state: 'Used' as const, pod: 'p', at: at(6) } };

const lax = request({ approvers: { groups: ['oidc:everyone'], required: 1 } });

describe('the phase in a cluster', () => {
  test.each<[string, AccessRequestResource, AccessDecisionResource[], number, unknown]>([
    ['pending until decided', request(), [], 1, { phase: 'Pending', approvals: 0, required: 2, nextDeadlineMs: T0 + 600_000, problem: null }],
    ['approved by two people of the policy’s group', request(), [by(bob, 5), by(carol, 7)], 8, { phase: 'Approved', approvals: 2, decidedAtMs: T0 + 7_000, expiresAtMs: T0 + 67_000 }],
    ['the number needed is the policy’s, whatever the request says', lax, [by(bob, 5, {}, lax)], 8, { phase: 'Pending', approvals: 1, required: 2 }],
    ['expired at the second of its deadline', request(), [], 600, { phase: 'Expired' }],
    ['denied by one', request(), [by(bob, 5, { decision: 'Deny' })], 8, { phase: 'Denied' }],
    ['a denial of the same second wins', request(), [by(bob, 5), by(carol, 5), by('oidc:dan@bank.example', 5, { decision: 'Deny' })], 8, { phase: 'Denied' }],
    ['a statement that was forwarded stays used, whoever denied it in that second', request({}, used), [by(bob, 5), by(carol, 5), by('oidc:dan@bank.example', 5, { decision: 'Deny' })], 8, { phase: 'Used' }],
    ['withdrawn by its holder', request({}, { use: { state: 'Withdrawn', at: at(4) } }), [by(bob, 5)], 8, { phase: 'Withdrawn', ignored: [{ reason: 'AfterFinal' }] }],
    ['a final phase that is stored stays, even if nothing else says so', request({}, { phase: 'Denied' }), [by(bob, 5), by(carol, 6)], 8, { phase: 'Denied' }],
    ['writing Approved into the status approves nothing', request({}, { phase: 'Approved', approvals: '2/2', decidedAt: at(1), expiresAt: at(900) }), [], 8, { phase: 'Pending', approvals: 0, decidedAtMs: null, expiresAtMs: null }],
    ['a window lasts as long as the policy says', windowRequest('2h'), [by(bob, 5, {}, windowRequest('2h'))], 8, { phase: 'Approved', expiresAtMs: T0 + 5_000 + 3_600_000 }],
    ['a window lasts no longer than was asked', windowRequest('30m'), [by(bob, 5, {}, windowRequest('30m'))], 8, { phase: 'Approved', expiresAtMs: T0 + 5_000 + 1_800_000 }],
    ['a window ends in the second of its end', windowRequest('30m'), [by(bob, 5, {}, windowRequest('30m'))], 1_805, { phase: 'Expired' }],
    ['a window that is revoked in the second of its approval', windowRequest('2h'), [by(bob, 5, {}, windowRequest('2h')), by(carol, 5, { decision: 'Revoke' }, windowRequest('2h'))], 8, { phase: 'Revoked' }],
    ['the longest time to decide is the policy’s', windowRequest('2h', { decideWithin: '24h' }), [by(bob, 900, {}, windowRequest('2h', { decideWithin: '24h' }))], 901, { phase: 'Expired', ignored: [{ reason: 'TooLate' }] }],
  ])('%s', (_name, asked, decisions, seconds, expected) => {
    expect(countDecisions(asked, decisions, context(seconds))).toMatchObject(expected as object);
  });
});

describe('nothing counts', () => {
  const two = (asked: AccessRequestResource): AccessDecisionResource[] => [by(bob, 5, {}, asked), by(carol, 6, {}, asked)];

  test('on a request whose digest is not that of its spec (InvalidDigest)', () => {
    const asked = request();
    asked.spec.statement = 'SELECT 1';
    expect(countDecisions(asked, two(asked), context(8))).toMatchObject({ phase: 'Denied', problem: 'InvalidDigest', counted: [], ignored: [{ reason: 'AfterFinal' }, { reason: 'AfterFinal' }] });
  });

  test.each<[string, AccessRequestResource, (config: ProxyConfig) => ProxyConfig]>([
    ['the policy has another generation', request(), (config) => withPolicy(config, { generation: 4 })],
    ['the policy has another uid', request(), (config) => withPolicy(config, { uid: 'ffffffff-2222-2222-2222-222222222222' })],
    ['the policy is gone', request(), (config) => ({ ...config, policies: [] })],
    ['the rule is gone', request(), (config) => withPolicy(config, { rules: [] })],
    ['the rule asks for no approval any more', request(), (config) => withPolicy(config, { rules: config.policies[0]!.rules.map((rule) => ({ ...rule, action: 'Deny' as const })) })],
    ['the policy no longer selects the target', request(), (config) => withPolicy(config, { targets: [] })],
    ['the target was made anew', request(), (config) => ({ ...config, targets: config.targets.map((target) => ({ ...target, uid: 'x' })) })],
    ['the scope is not the rule’s', windowRequest('1h', { policyRef: policyRef('ddl') }), (config) => config],
    ['a session is asked for under a standing policy', windowRequest('1h', { scope: 'Session' }), (config) => withPolicy(config, { access: { mode: 'Standing', approval: null } })],
  ])('once %s (Superseded)', (_name, asked, change) => {
    const now = context(8);
    expect(countDecisions(asked, two(asked), { ...now, config: change(now.config) })).toMatchObject({ phase: 'Superseded', problem: 'Superseded', counted: [], expiresAtMs: null });
  });
});

test('what was asked about a server ends (Superseded) when its Target leads elsewhere or logs in as somebody else; labels and generation do not matter', () => {
  const now = context(8);
  const target = now.config.targets[0] as PostgresTarget;
  const asked = windowRequest('1h', { facts: [{ name: 'target-digest', value: targetDigest(target) }] });
  const phase = (change: Partial<PostgresTarget>): string => countDecisions(asked, [by(bob, 5, {}, asked)], { ...now, config: { ...now.config, targets: [{ ...target, ...change }] } }).phase;
  expect([phase({ labels: { a: 'b' }, generation: 2 }), phase({ postgres: { ...target.postgres, host: 'prod' } }), phase({ postgres: { ...target.postgres, credentialsSecret: 'admin' } })]).toEqual(['Approved', 'Superseded', 'Superseded']);
});

describe('a decision is ignored', () => {
  test.each<[string, AccessDecisionResource, string]>([
    ['that repeats another uid', by(bob, 5, { requestRef: { name: 'r-1', uid: '99999999-1111-1111-1111-111111111111' } }), 'UIDMismatch'],
    ['that repeats another name', by(bob, 5, { requestRef: { name: 'r-2', uid: uids.request } }), 'UIDMismatch'],
    ['that repeats another digest', by(bob, 5, { digest: `sha256:${'0'.repeat(64)}` }), 'DigestMismatch'],
    ['made under another policy, where admission would have asked for another right', by(bob, 5, { policyRef: { name: 'mine' } }), 'PolicyMismatch'],
    ['that names another requester', by(bob, 5, { requester: { username: 'oidc:x@bank.example' } }), 'RequesterMismatch'],
    ['that leaves the agent out', by(bob, 5, { requester: { username: alice } }), 'RequesterMismatch'],
    ['of the requester', by(alice, 5), 'SelfApproval'],
    ['of the requester in other letters', by('OIDC:Alice@Bank.example', 5), 'SelfApproval'],
    ['of the requester’s agent', by('oidc:robot', 5), 'SelfApproval'],
    ['of the requester under an alias', by('alice-admin', 5), 'SelfApproval'],
    ['of the requester under an alias of an alias', by('arn:aws:iam::1:user/alice', 5), 'SelfApproval'],
    ['of nobody that a provider or an alias knows', by('kubernetes-admin', 5), 'UnmappedIdentity'],
    ['of a workload', by('system:serviceaccount:sallyport-system:sallyport-operator', 5), 'UnmappedIdentity'],
    ['outside the approving groups', by(bob, 5, { asGroups: ['oidc:sre'] }), 'NotInApproverGroup'],
    ['of a group that the request names, but not the policy', by(bob, 5, { asGroups: ['oidc:everyone'] }), 'NotInApproverGroup'],
    ['in no group', by(bob, 5, { asGroups: [] }), 'NotInApproverGroup'],
    ['made in the second of the deadline', by(bob, 600), 'TooLate'],
    ['without a time', { ...by(bob, 5), metadata: { name: 'd', namespace: 'payments', uid: 'd' } }, 'TooLate'],
  ])('%s', (_name, decision, reason) => {
    const onLax = decision.spec.digest === request().spec.digest ? { ...decision, spec: { ...decision.spec, digest: lax.spec.digest } } : decision;
    const status = countDecisions(lax, [onLax], context(8));
    expect(status).toMatchObject({ phase: 'Pending', approvals: 0, counted: [], ignored: [{ uid: decision.metadata.uid, name: decision.metadata.name, reason }] });
  });

  test('when the same person approved before, under whatever name', () => {
    const status = countDecisions(request(), [by(bob, 5), by('bob-iam', 6), by('oidc:BOB@bank.example', 7)], context(8));
    expect(status).toMatchObject({ phase: 'Pending', approvals: 1, ignored: [{ reason: 'Duplicate' }, { reason: 'Duplicate' }] });
  });

  test('after the request is approved', () => {
    expect(countDecisions(request(), [by(bob, 5), by(carol, 6), by('oidc:dan@bank.example', 7)], context(8))).toMatchObject({ phase: 'Approved', approvals: 2, ignored: [{ reason: 'AfterFinal' }] });
  });

  test('on a request of somebody whom nobody can place: it could be any of the approvers', () => {
    const asked = request({ requester: { username: 'kubernetes-admin' } });
    expect(countDecisions(asked, [by(bob, 5, {}, asked)], context(8))).toMatchObject({ phase: 'Pending', ignored: [{ reason: 'UnmappedIdentity' }] });
  });

  test('of any of the agents behind the requester, and on a request whose chain of agents nobody can read', () => {
    const chain = (agents: string): AccessRequestResource => request({ facts: [{ name: 'agents', value: agents }] });
    const phases = [chain('oidc:robot < oidc:bob@bank.example < oidc:x'), chain(`sha256:${'0'.repeat(64)}`), chain('oidc:robot < oidc:x')].map((asked) => {
      const { phase, ignored } = countDecisions(asked, [by(bob, 5, {}, asked), by(carol, 6, {}, asked)], context(8));
      return [phase, ...ignored.map((one) => one.reason)];
    });
    expect(phases).toEqual([['Pending', 'SelfApproval'], ['Pending', 'UnmappedIdentity', 'UnmappedIdentity'], ['Approved']]);
  });

  test('but not on a request of a workload of a trusted cluster', () => {
    const asked = request({ requester: { username: 'system:serviceaccount:payments:batch' } });
    expect(countDecisions(asked, [by(bob, 5, {}, asked), by(carol, 5, {}, asked)], context(8))).toMatchObject({ phase: 'Approved' });
  });

  test('that was made while, or before, admission is not known to have been in force: it could be forged', () => {
    const counted = (integritySinceMs: number | null): unknown => countDecisions(request(), [by(bob, 5), by(carol, 6)], { ...context(8), integritySinceMs });
    expect(counted(T0 + 4_000)).toMatchObject({ phase: 'Approved', ignored: [] });
    expect(counted(T0 + 5_000)).toMatchObject({ phase: 'Pending', approvals: 1, ignored: [{ reason: 'BeforeIntegrity' }] });
    expect(counted(null)).toMatchObject({ phase: 'Pending', approvals: 0, ignored: [{ reason: 'BeforeIntegrity' }, { reason: 'BeforeIntegrity' }] });
  });

  test('but a denial is believed without that proof', () => {
    expect(countDecisions(request(), [by(bob, 5, { decision: 'Deny' })], { ...context(8), integritySinceMs: null })).toMatchObject({ phase: 'Denied' });
  });

  test('of another namespace or another request is not even listed', () => {
    const elsewhere = { ...by(bob, 5), metadata: { ...by(bob, 5).metadata, namespace: 'other' } };
    expect(countDecisions(request(), [elsewhere, by(bob, 5, { requestRef: { name: 'r-9', uid: 'u' } })], context(8)).entries).toEqual([]);
  });
});

const people = [alice, 'OIDC:ALICE@bank.example', 'alice-admin', 'arn:aws:iam::1:user/alice', 'oidc:robot', bob, 'bob-iam', carol, 'oidc:dan@bank.example', 'kubernetes-admin'];
const anyDecision = fc.record({
  who: fc.constantFrom(...people), second: fc.integer({ min: 0, max: 8 }), decision: fc.constantFrom<'Approve' | 'Deny' | 'Revoke'>('Approve', 'Approve', 'Approve', 'Deny', 'Revoke'),
  asGroups: fc.subarray(['oidc:dba', 'oidc:leads', 'oidc:sre']), wrong: fc.constantFrom('', '', '', 'digest', 'uid', 'policy', 'requester'),
});
const anyDecisions = fc.array(anyDecision, { maxLength: 10 }).map((said) => said.map((one, index) => {
  const spec: Partial<AccessDecisionResource['spec']> = { decision: one.decision, asGroups: one.asGroups };
  if (one.wrong === 'digest') spec.digest = `sha256:${'0'.repeat(64)}`;
  if (one.wrong === 'uid') spec.requestRef = { name: 'r-1', uid: '99999999-1111-1111-1111-111111111111' };
  if (one.wrong === 'policy') spec.policyRef = { name: 'mine' };
  if (one.wrong === 'requester') spec.requester = { username: bob };
  return by(one.who, one.second, spec, request(), `d-${index}`);
}));

describe('for any decisions', () => {
  test('their order does not matter', () => {
    fc.assert(fc.property(anyDecisions.chain((decisions) => fc.tuple(fc.constant(decisions), fc.shuffledSubarray(decisions, { minLength: decisions.length }))), ([one, other]) => {
      expect(countDecisions(request(), other, context(9))).toEqual(countDecisions(request(), one, context(9)));
    }));
  });

  test('leaving out one that is ignored changes nothing', () => {
    fc.assert(fc.property(anyDecisions, (decisions) => {
      const all = countDecisions(request(), decisions, context(9));
      const ignored = new Set(all.ignored.map((one) => one.uid));
      const without = countDecisions(request(), decisions.filter((decision) => !ignored.has(decision.metadata.uid!)), context(9));
      expect({ ...without, ignored: [], entries: [] }).toEqual({ ...all, ignored: [], entries: [] });
    }));
  });

  test('nobody approves their own request, under no name', () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.constantFrom(...people.slice(0, 5)), fc.integer({ min: 0, max: 8 })), { maxLength: 8 }), (said) => {
      const status = countDecisions(request(), said.map(([who, second], index) => by(who, second, {}, request(), `d-${index}`)), context(9));
      expect(status).toMatchObject({ phase: 'Pending', approvals: 0, counted: [] });
    }));
  });

  test('an approval needs as many people as the policy says', () => {
    fc.assert(fc.property(anyDecisions, (decisions) => {
      const status = countDecisions(request(), decisions, context(9));
      const keyOf = personKeys(aliases);
      const approvers = new Set(status.entries.filter((entry) => entry.counted && entry.decision === 'Approve').map((entry) => keyOf(entry.by)));
      expect(status.approvals).toBe(approvers.size);
      if (status.phase === 'Approved') expect(approvers.size).toBe(2);
    }));
  });
});

describe('the digest of a request', () => {
  test('is recomputed from what was stored, and leaves out what is not bound', () => {
    const { spec } = request();
    expect(requestDigest({ ...spec, sessionRef: { name: 's' }, reason: 'why', digest: 'x' })).toBe(spec.digest);
    expect(requestDigest({ ...spec, statement: 'DROP TABLE b' })).not.toBe(spec.digest);
    expect(requestDigest({ ...spec, statementHMAC: 'x' })).not.toBe(spec.digest);
  });
});

describe('a person', () => {
  test('is one under all names that aliases join, also in chains and cycles', () => {
    const keyOf = personKeys({ a: 'b', b: 'c', c: 'a', d: 'c', E: 'f' });
    expect(new Set(['a', 'b', 'c', 'd', 'D'].map(keyOf)).size).toBe(1);
    expect(keyOf('e')).toBe(keyOf('F'));
    expect(keyOf('x')).not.toBe(keyOf('a'));
  });

  test('is known by the prefix of an OIDC provider or by an alias, byte by byte', () => {
    const { config } = context(0);
    const known = (name: string): boolean => isMappedPerson(name, config.identityProviders, aliases);
    expect([bob, 'bob-iam', 'oidc:'].map(known)).toEqual([true, true, false]);
    expect(['OIDC:bob', 'Bob-iam', 'system:serviceaccount:a:b', 'constructor'].map(known)).toEqual([false, false, false, false]);
  });
});

function policyRef(rule?: string): AccessRequestResource['spec']['policyRef'] {
  return { name: 'orders', uid: uids.policy, generation: 3, ...(rule === undefined ? {} : { rule }) };
}

function request(change: Partial<AccessRequestResource['spec']> = {}, status: AccessRequestResource['status'] = {}): AccessRequestResource {
  const spec: AccessRequestResource['spec'] = {
    scope: 'Statement', requester: { username: alice, actor: 'oidc:robot' }, policyRef: policyRef('ddl'), targetRef: { name: 'orders-db', uid: uids.target }, action: 'Alter on public.orders',
    statement: 'ALTER TABLE orders ADD COLUMN a int', statementHMAC: `hmac-sha256:k1:${'a'.repeat(64)}`, digest: '', approvers: { groups: ['oidc:dba'], required: 2 }, decideWithin: '10m', ...change,
  };
  return { apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessRequest', metadata: { name: 'r-1', namespace: 'payments', uid: uids.request, creationTimestamp: at(0) }, spec: { ...spec, digest: requestDigest(spec) }, status };
}

function windowRequest(grantTTL: string, change: Partial<AccessRequestResource['spec']> = {}): AccessRequestResource {
  const { statement: _statement, statementHMAC: _hmac, ...spec } = request().spec;
  const asked = { ...spec, scope: 'Window' as const, policyRef: policyRef(), grantTTL, ...change };
  return { ...request(), spec: { ...asked, digest: requestDigest(asked) } };
}

function by(who: string, seconds: number, change: Partial<AccessDecisionResource['spec']> = {}, asked: AccessRequestResource = request(), name = `d-${who.replaceAll(/[^a-z]/gi, '')}-${seconds}`): AccessDecisionResource {
  return {
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: { name, namespace: 'payments', uid: `uid-${name}`, creationTimestamp: at(seconds) },
    spec: {
      requestRef: { name: 'r-1', uid: uids.request }, policyRef: { name: 'orders' }, requester: { username: asked.spec.requester.username, ...(asked.spec.requester.actor === undefined ? {} : { actor: asked.spec.requester.actor }) },
      digest: asked.spec.digest, decision: 'Approve', by: who, asGroups: ['oidc:dba'], ...change,
    },
  };
}

function withPolicy(config: ProxyConfig, change: Partial<ProxyConfig['policies'][number]>): ProxyConfig {
  return { ...config, policies: config.policies.map((policy) => ({ ...policy, ...change })) };
}

function context(seconds: number): CountContext {
  const approval = { groups: ['oidc:dba', 'oidc:leads'], required: 2, decideWithinSeconds: 900, scope: 'Statement' as const, grantTtlSeconds: null };
  const common = { generation: 1, audiences: ['sallyport'], usernameClaim: 'email', groupsClaim: 'groups', uidClaim: null, jwksUri: null, caBundle: null, algorithms: ['RS256' as const], clockSkewSeconds: 5 };
  return {
    aliases, nowMs: T0 + seconds * 1_000,
    config: {
      schemaVersion: 1, namespace: 'payments',
      identityProviders: [
        { ...common, name: 'people', uid: 'i1', type: 'OIDC', issuer: 'https://idp', usernamePrefix: 'oidc:', groupsPrefix: 'oidc:' },
        { ...common, name: 'workloads', uid: 'i2', type: 'ServiceAccount', issuer: 'https://cluster', usernamePrefix: '', groupsPrefix: '' },
      ],
      targets: [{
        name: 'orders-db', uid: uids.target, generation: 1, labels: {}, listenPort: 20_000,
        postgres: { host: 'db', port: 5432, tls: { mode: 'VerifyFull', serverName: null, channelBinding: 'Prefer', caSecret: null }, credentialsSecret: 's', databases: [] },
      }],
      policies: [{
        name: 'orders', uid: uids.policy, generation: 3, digest: 'd', subjects: [{ kind: 'User', name: alice }], targets: ['orders-db'],
        access: { mode: 'OnRequest', approval: { ...approval, required: 1, scope: 'Window', grantTtlSeconds: 3_600 } }, when: [],
        limits: { sessionSeconds: null, idleSeconds: null, concurrentSessions: null, rowsPerStatement: null, bytesPerStatement: null },
        rules: [{ name: 'ddl', action: 'RequireApproval', message: null, approval, postgres: { statements: ['Alter'], databases: null, tables: null, where: null } }],
        masking: [], recording: { content: 'Full', durability: 'Write' },
      }],
    },
  };
}
