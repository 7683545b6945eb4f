import { describe, expect, test } from '@jest/globals';
import type { AccessDecisionResource, AccessRequestResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import { requestDigest } from '../../../contract/request-digest.ts';
import type { IntegrityFacts } from '../integrity/integrity.ts';
import { keepRequest } from './kept-request.ts';
import { isFinished, pendingLimits, planRequest, type RequestFacts } from './plan.ts';

const T0 = Date.parse('2026-11-24T10:00:00Z');
const at = (seconds: number): string => new Date(T0 + seconds * 1_000).toISOString().replace('.000Z', 'Z');
const uids = { request: '11111111-1111-1111-1111-111111111111', policy: '22222222-2222-2222-2222-222222222222', target: '33333333-3333-3333-3333-333333333333' };
const [alice, bob, carol] = ['oidc:alice', 'oidc:bob', 'oidc:carol'] as const;
type Status = NonNullable<AccessRequestResource['status']>;

describe('the status of a request', () => {
  test('says that it waits, until when, and that somebody asked', () => {
    const plan = planRequest(facts({}));
    expect(plan).toMatchObject({
      status: { observedGeneration: 1, phase: 'Pending', approvals: '0/2', decisions: [], conditions: [{ type: 'Decided', status: 'False', reason: 'Pending' }] },
      events: [{ type: 'Normal', reason: 'Requested', note: 'oidc:alice asks for: Alter on public.orders' }], requeueAtMs: T0 + 600_000, restsOnConfig: false,
    });
    expect(JSON.stringify(plan.events)).not.toContain('ALTER TABLE');
  });

  test('is written once: the second look at the same facts changes nothing and says nothing', () => {
    const asked = request();
    const first = planRequest(facts({ request: asked, decisions: [by(bob, 5), by(alice, 6)] }));
    const second = planRequest(facts({ request: { ...asked, status: first.status! }, decisions: [by(bob, 5), by(alice, 6)], nowMs: T0 + 20_000 }));
    expect(first.status).toMatchObject({ approvals: '1/2', decisions: [{ name: 'd-bob-5', counted: true }, { name: 'd-alice-6', counted: false, ignoredReason: 'SelfApproval' }] });
    expect(second).toMatchObject({ status: null, events: [] });
  });

  test('says when and by whom it was approved, and until when that holds', () => {
    const plan = planRequest(facts({ request: request({ phase: 'Pending' }), decisions: [by(bob, 5), by(carol, 7)] }));
    expect(plan.status).toMatchObject({ phase: 'Approved', approvals: '2/2', decidedAt: at(7), expiresAt: at(67), conditions: [{ status: 'True', reason: 'Decided', message: 'approved by oidc:bob, oidc:carol' }] });
    expect(plan.events).toMatchObject([{ type: 'Normal', reason: 'Approved' }]);
    expect(plan.requeueAtMs).toBe(T0 + 67_000);
  });

  test.each<[string, Partial<RequestFacts>, Partial<Status>, string]>([
    ['expires', { nowMs: T0 + 600_000 }, { phase: 'Expired' }, 'Expired'],
    ['is denied by one', { decisions: [by(bob, 5, 'Deny')] }, { phase: 'Denied' }, 'Denied'],
    ['is withdrawn by its proxy', { request: request({ use: { state: 'Withdrawn', at: at(4) } }) }, { phase: 'Withdrawn' }, 'Withdrawn'],
    ['is withdrawn when its proxy is gone', { request: request({ phase: 'Pending', use: { state: 'Waiting', pod: 'p' } }), holderGone: true }, { phase: 'Withdrawn' }, 'HolderGone'],
    ['is superseded when the policy changed', { config: config(4) }, { phase: 'Superseded' }, 'Superseded'],
    ['is denied when its digest is not that of its spec', { request: forged() }, { phase: 'Denied' }, 'InvalidDigest'],
    ['is denied when its requester has too many', { pending: { ofRequester: pendingLimits.perRequester, ofNamespace: 0 } }, { phase: 'Denied' }, 'TooManyPending'],
    ['is denied when its namespace has too many', { pending: { ofRequester: 0, ofNamespace: pendingLimits.perNamespace } }, { phase: 'Denied' }, 'TooManyPending'],
    ['that was approved ends as Expired', { request: approved(), decisions: [by(bob, 5), by(carol, 7)], nowMs: T0 + 67_000 }, { phase: 'Expired', decidedAt: at(7), expiresAt: at(67) }, 'Expired'],
    ['that was approved ends as Revoked', { request: approved(), decisions: [by(bob, 5), by(carol, 7), by(bob, 9, 'Revoke')] }, { phase: 'Revoked' }, 'Revoked'],
    ['that was approved ends as Revoked when a denial of the same second shows up later', { request: approved(), decisions: [by(bob, 5), by(carol, 7), by('oidc:dan', 7, 'Deny')] }, { phase: 'Revoked' }, 'Denied'],
    ['that was approved ends as Revoked when the policy changed', { request: approved(), decisions: [by(bob, 5), by(carol, 7)], config: config(4) }, { phase: 'Revoked' }, 'Superseded'],
    ['that claims an approval which no decision bears out ends as Revoked', { request: approved() }, { phase: 'Revoked' }, 'Revoked'],
    ['that was used before the operator saw the approval is Approved', { request: request({ phase: 'Pending', use: { state: 'Used', at: at(8) } }), decisions: [by(bob, 5), by(carol, 7)] }, { phase: 'Approved', decidedAt: at(7) }, 'Decided'],
  ])('%s', (_name, change, status, reason) => {
    const plan = planRequest(facts(change));
    expect(plan.status).toMatchObject({ ...status, conditions: [{ reason }] });
    expect(plan.events.length).toBeGreaterThan(0);
  });

  test('asks for a config that is not from the cache before it ends a request because of the config', () => {
    expect(planRequest(facts({ config: config(4) })).restsOnConfig).toBe(true);
  });

  test('keeps the decisions that counted when the policy is gone and nobody can say so any more', () => {
    const before = planRequest(facts({ request: request({ phase: 'Pending' }), decisions: [by(bob, 5)] })).status!;
    expect(planRequest(facts({ request: request(before), decisions: [by(bob, 5)], config: config(4) })).status).toMatchObject({ decisions: before.decisions, approvals: '1/2' });
  });

  test('lists at most 16 decisions, those that count among them', () => {
    const many = Array.from({ length: 30 }, (_, index) => by('oidc:dan', index, 'Approve', ['oidc:sre'], `d-${String(index).padStart(2, '0')}`));
    const { decisions = [] } = planRequest(facts({ decisions: [...many, by(bob, 40)], nowMs: T0 + 50_000 })).status ?? {};
    expect(decisions).toHaveLength(16);
    expect(decisions.at(-1)).toMatchObject({ name: 'd-bob-40', counted: true });
  });
});

describe('while the admission policies are not in force', () => {
  const lost: IntegrityFacts = { holds: false, sinceMs: null, reason: 'PolicyMissing', message: 'a policy is missing' };

  test('no decision counts, and the request says why', () => {
    const plan = planRequest(facts({ integrity: lost, decisions: [by(bob, 5), by(carol, 6)] }));
    expect(plan.status).toMatchObject({ phase: 'Pending', approvals: '0/2', conditions: [{ status: 'Unknown', reason: 'PolicyMissing', message: 'no decision counts: a policy is missing' }] });
  });

  test('what was approved stays until its end and gets no new one', () => {
    const decisions = [by(bob, 5), by(carol, 7)];
    expect(planRequest(facts({ integrity: lost, request: approved(), decisions })).status).toMatchObject({ phase: 'Approved', expiresAt: at(67), conditions: [{ status: 'Unknown' }] });
    expect(planRequest(facts({ integrity: lost, request: approved(), decisions, nowMs: T0 + 67_000 })).status).toMatchObject({ phase: 'Expired' });
  });

  test('a statement whose proxy is gone is still withdrawn, and a claimed approval without an end is over', () => {
    const held = request({ phase: 'Pending', use: { state: 'Waiting', pod: 'p' } });
    expect(planRequest(facts({ integrity: lost, request: held, holderGone: true })).status).toMatchObject({ phase: 'Withdrawn', conditions: [{ reason: 'HolderGone' }] });
    expect(planRequest(facts({ integrity: lost, request: request({ phase: 'Pending', use: { state: 'Withdrawn', at: at(3) } }) })).status).toMatchObject({ phase: 'Withdrawn', conditions: [{ reason: 'Withdrawn' }] });
    expect(planRequest(facts({ integrity: lost, request: request({ phase: 'Approved' }) })).status).toMatchObject({ phase: 'Expired' });
  });

  test('a request still expires', () => {
    expect(planRequest(facts({ integrity: lost, nowMs: T0 + 600_000 })).status).toMatchObject({ phase: 'Expired' });
  });

  test('decisions of that time do not count afterwards', () => {
    const regained = { ...holds, sinceMs: T0 + 6_000 };
    expect(planRequest(facts({ integrity: regained, decisions: [by(bob, 5), by(carol, 7)] })).status).toMatchObject({ approvals: '1/2', decisions: [{ ignoredReason: 'BeforeIntegrity' }, { counted: true }] });
  });

  test('a namespace without a readable config decides nothing', () => {
    expect(planRequest(facts({ config: null, decisions: [by(bob, 5), by(carol, 6)] })).status).toMatchObject({ phase: 'Pending', conditions: [{ status: 'Unknown', reason: 'Pending' }] });
  });
});

describe('a finished request', () => {
  test.each<[string, Partial<Status>, boolean]>([
    ['new', {}, false], ['pending', { phase: 'Pending' }, false], ['approved', { phase: 'Approved' }, false], ['used before it was said to be approved', { phase: 'Pending', use: { state: 'Used' } }, false],
    ['used', { phase: 'Approved', use: { state: 'Used' } }, true], ['denied', { phase: 'Denied' }, true], ['superseded', { phase: 'Superseded' }, true],
  ])('%s', (_name, status, expected) => {
    expect(isFinished(request(status))).toBe(expected);
    if (expected) expect(planRequest(facts({ request: request(status), decisions: [by(bob, 5)] }))).toEqual({ status: null, events: [], requeueAtMs: null, restsOnConfig: false });
  });

  test('is cached without its statement but with its size', () => {
    const done = keepRequest(request({ phase: 'Denied' }));
    expect(done.spec.statement).toBeUndefined();
    expect(done.storedBytes).toBeGreaterThan(500);
    expect(keepRequest(request()).spec.statement).toBeDefined();
  });
});

const holds: IntegrityFacts = { holds: true, sinceMs: T0 - 60_000, reason: 'ApprovalIntegrity', message: '' };

function facts(change: Partial<RequestFacts>): RequestFacts {
  return { request: request(), decisions: [], config: config(3), aliases: {}, integrity: holds, holderGone: false, pending: { ofRequester: 0, ofNamespace: 0 }, nowMs: T0 + 10_000, ...change };
}

function approved(): AccessRequestResource {
  return request({ phase: 'Approved', approvals: '2/2', decidedAt: at(7), expiresAt: at(67), decisions: [] });
}

function forged(): AccessRequestResource {
  const asked = request();
  return { ...asked, spec: { ...asked.spec, statement: 'SELECT 1' } };
}

function request(status: Partial<Status> = {}): AccessRequestResource {
  const spec: AccessRequestResource['spec'] = {
    scope: 'Statement', requester: { username: alice }, policyRef: { name: 'orders', uid: uids.policy, generation: 3, rule: 'ddl' }, targetRef: { name: 'orders-db', uid: uids.target },
    action: 'Alter on public.orders', statement: 'ALTER TABLE orders ADD COLUMN a int', statementHMAC: `hmac-sha256:k:${'a'.repeat(64)}`, digest: '', approvers: { groups: ['oidc:dba'], required: 2 }, decideWithin: '10m',
  };
  return {
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessRequest', metadata: { name: 'r-1', namespace: 'payments', uid: uids.request, generation: 1, creationTimestamp: at(0) },
    spec: { ...spec, digest: requestDigest(spec) }, ...(Object.keys(status).length === 0 ? {} : { status }),
  };
}

function by(who: string, seconds: number, decision: 'Approve' | 'Deny' | 'Revoke' = 'Approve', asGroups: string[] = ['oidc:dba'], name = `d-${who.slice(5)}-${seconds}`): AccessDecisionResource {
  return {
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: { name, namespace: 'payments', uid: `uid-${name}`, creationTimestamp: at(seconds) },
    spec: { requestRef: { name: 'r-1', uid: uids.request }, policyRef: { name: 'orders' }, requester: { username: alice }, digest: request().spec.digest, decision, by: who, asGroups },
  };
}

function config(generation: number): ProxyConfig {
  return {
    schemaVersion: 1, namespace: 'payments',
    identityProviders: [{
      name: 'people', uid: 'i', generation: 1, type: 'OIDC', issuer: 'https://idp', audiences: ['a'], usernameClaim: 'sub', usernamePrefix: 'oidc:', groupsClaim: null, groupsPrefix: '', uidClaim: null,
      jwksUri: null, caBundle: null, algorithms: ['RS256'], clockSkewSeconds: 0,
    }],
    targets: [{
      name: 'orders-db', uid: uids.target, generation: 1, labels: {}, listenPort: 20_000,
      postgres: { host: 'db', port: 5432, tls: { mode: 'VerifyFull', serverName: null, channelBinding: 'Prefer', caSecret: null }, credentialsSecret: 's', databases: [] },
    }],
    policies: [{
      name: 'orders', uid: uids.policy, generation, digest: 'd', subjects: [{ kind: 'User', name: alice }], targets: ['orders-db'], access: { mode: 'Standing', approval: null }, when: [],
      limits: { sessionSeconds: null, idleSeconds: null, concurrentSessions: null, rowsPerStatement: null, bytesPerStatement: null },
      rules: [{
        name: 'ddl', action: 'RequireApproval', message: null, postgres: { statements: ['Alter'], databases: null, tables: null, where: null },
        approval: { groups: ['oidc:dba'], required: 2, decideWithinSeconds: 900, scope: 'Statement', grantTtlSeconds: null },
      }],
      masking: [], recording: { content: 'Full', durability: 'Write' },
    }],
  };
}
