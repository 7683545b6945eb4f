// Whole: one bench, and every promise of the approvals that a session notices.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { requestDigest } from '../../../contract/request-digest.ts';
import type { AccessRequestResource } from '../../../contract/api/v1alpha1.gen.ts';
import { type ApprovalBench, approvalBench, aSessionAsk, aStatementAsk, aWindowAsk } from '../../../tools/testkit/cluster-approvals.ts';
import { anIdentity } from '../../../tools/testkit/policies.ts';
import { settle, until } from '../../../tools/testkit/settle.ts';
import { type Identity, subjectKey } from '../../core/identity/identity.ts';
import type { ApprovalOutcome, PendingApproval } from '../../core/ports.ts';
import { accessRequestKind } from './kinds.ts';

const alice: Identity = { ...anIdentity({ user: 'alice' }), username: 'oidc:alice' };

let bench: ApprovalBench;

beforeEach(() => {
  bench = approvalBench();
});

afterEach(async () => {
  await bench[Symbol.asyncDispose]();
});

/** The outcome, or 'waiting' while there is none. */
async function outcomeOf(pending: PendingApproval): Promise<ApprovalOutcome | 'waiting'> {
  await settle();
  return Promise.race([pending.outcome, Promise.resolve('waiting' as const)]);
}

describe('a held statement', () => {
  test('becomes a request that shows it whole, with digests that anyone can check against it', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk({ parameters: ['1', 'x'] }));

    const spec = bench.request(pending.name)?.spec;
    expect(spec).toMatchObject({
      scope: 'Statement', requester: { username: 'oidc:alice', uid: 'alice' }, policyRef: { name: 'oncall', generation: 1, rule: 'ddl' }, targetRef: { name: 'orders-db' }, sessionRef: { name: 's-S1' },
      action: 'Alter on public.orders', statement: 'ALTER TABLE orders ADD note text', parameters: ['1', 'x'], statementHMAC: `hmac-sha256:k1:${'ab'.repeat(32)}`,
      approvers: { groups: ['dba'], required: 1 }, decideWithin: '900s',
    });
    expect(Object.fromEntries((spec?.facts ?? []).map(({ name, value }) => [name, value]))).toMatchObject({ database: 'orders', 'search-path': 'public', 'transaction-open': 'false', 'policy-digest': 'sha256:oncall', 'bound-digest': aStatementAsk({ parameters: ['1', 'x'] }).digest });
    expect(spec?.digest).toBe(spec === undefined ? '' : requestDigest(spec));
    expect(pending.name).toMatch(/^r-[0-9a-f]{20}-1$/);
    expect(pending.decideByMs).toBe(bench.clock.now() + 900_000);
    expect(replica.announced).toEqual([`Requested ${pending.name}`]);
  });

  test('is released once by the approval of an eligible person, and its use is stored before', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk());
    expect(await outcomeOf(pending)).toBe('waiting');
    bench.decide(pending.name, 'Approve');

    expect(await outcomeOf(pending)).toMatchObject({ outcome: 'approved', approvers: [{ key: 'oidc:bob', username: 'oidc:bob', method: 'kubernetes', decidedAtMs: bench.clock.now() }], grant: null });
    expect([await pending.use(), await pending.use()]).toEqual([true, false]);
    expect(bench.request(pending.name)?.status?.use).toEqual({ state: 'Used', pod: 'sallyport-proxy-0', session: 'S1', at: '2026-11-24T12:00:00Z' });
    expect(replica.events.map(({ code, facts }) => [code, facts['decision'], (facts['approver'] as { username?: string } | undefined)?.username])).toEqual([
      ['request.created', undefined, undefined], ['request.decided', 'Approve', 'oidc:bob'],
    ]);
  });

  test.each([
    ['whoever writes the phase', (name: string) => put(name, { phase: 'Approved', approvals: '1/1', decidedAt: '2026-11-24T12:00:00Z' })],
    ['the requester in other letters', (name: string) => bench.decide(name, 'Approve', 'oidc:ALICE')],
    ['somebody outside the group', (name: string) => bench.decide(name, 'Approve', 'oidc:bob', { asGroups: ['sre'] })],
    ['a name of no provider', (name: string) => bench.decide(name, 'Approve', 'bob')],
    ['a decision on something else', (name: string) => bench.decide(name, 'Approve', 'oidc:bob', { digest: `sha256:${'0'.repeat(64)}` })],
    ['a decision on an earlier object of the name', (name: string) => bench.decide(name, 'Approve', 'oidc:bob', { requestRef: { name, uid: '99999999-9999-4999-8999-999999999999' } })],
  ])('is not released by %s', async (_who, act) => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk());
    act(pending.name);
    expect(await outcomeOf(pending)).toBe('waiting');
    expect(await pending.use()).toBe(false);
    expect(bench.request(pending.name)?.status?.use?.state).toBe('Waiting');
  });

  test('is refused by a denial, with the words of who denied it', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk());
    bench.decide(pending.name, 'Deny');
    expect(await outcomeOf(pending)).toEqual({ outcome: 'denied', request: pending.name, approver: 'oidc:bob', reason: 'because' });
    expect(await pending.use()).toBe(false);
  });

  test('expires by the clock, with or without an API server', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk());
    bench.api.faults.add({ fault: { kind: 'reset' }, times: Infinity });
    bench.clock.advance(900_000);
    expect(await outcomeOf(pending)).toEqual({ outcome: 'expired', request: pending.name });
    expect(replica.events.at(-1)).toMatchObject({ code: 'request.expired', facts: { phase: 'Expired' } });
  });

  test('that its user takes back is withdrawn, and an approval that comes later releases nothing', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk());
    await pending.withdraw('HOLD_CANCELLED');
    bench.decide(pending.name, 'Approve');
    await settle();
    expect(bench.request(pending.name)?.status?.use).toMatchObject({ state: 'Withdrawn', pod: 'sallyport-proxy-0' });
    expect([await pending.outcome, await pending.use()]).toEqual([{ outcome: 'withdrawn', request: pending.name }, false]);
    expect(replica.events.at(-1)).toMatchObject({ code: 'request.withdrawn', facts: { phase: 'Withdrawn', reason: 'HOLD_CANCELLED' } });
  });

  test('that is taken back while the API server is away is withdrawn once it is there', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk());
    bench.api.faults.add({ fault: { kind: 'reset' }, times: Infinity, when: ({ verb }) => verb === 'update' });
    await pending.withdraw('HOLD_CANCELLED');
    bench.api.faults.clear();
    await until(() => bench.request(pending.name)?.status?.use?.state === 'Withdrawn', { clock: bench.clock, stepMs: 500 });
  });

  test('is not released when the policy changed while it waited', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk());
    bench.setConfig((config) => ({ ...config, policies: config.policies.map((policy) => ({ ...policy, generation: 2 })) }));
    bench.decide(pending.name, 'Approve');
    expect(await outcomeOf(pending)).toEqual({ outcome: 'withdrawn', request: pending.name, code: 'APPROVAL_SUPERSEDED' });
    expect(await pending.use()).toBe(false);
  });

  test('whose request is deleted is asked anew', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk());
    bench.api.remove(accessRequestKind, 'payments', pending.name);
    expect(await outcomeOf(pending)).toEqual({ outcome: 'withdrawn', request: pending.name, askAnew: true });
  });

  test('too large to be seen whole is refused before a request exists', async () => {
    const replica = await bench.replica();
    for (const ask of [aStatementAsk({ text: `SELECT '${'x'.repeat(32_768)}'` }), aStatementAsk({ searchPath: 'x'.repeat(513) }), aStatementAsk({ parameters: Array.from({ length: 257 }, () => '1') })]) {
      expect(await replica.approvals.ask(ask)).toEqual({ outcome: 'refused', code: 'APPROVAL_TOO_LARGE' });
    }
    expect(bench.requests()).toEqual([]);
  });

  test('of an agent names the agent as the API server knows it, and all of a chain', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk({ actors: ['bot', 'scheduler'] }));
    expect(bench.request(pending.name)?.spec).toMatchObject({ requester: { username: 'oidc:alice', actor: 'oidc:bot' }, facts: expect.arrayContaining([{ name: 'agents', value: 'oidc:bot < oidc:scheduler' }]) });
    bench.decide(pending.name, 'Approve', 'oidc:BOT');
    expect(await outcomeOf(pending)).toBe('waiting');
  });

  test('tells an approver what to type', async () => {
    const replica = await bench.replica();
    expect(replica.approvals.howToDecide('r-1')).toBe('sallyport approve r-1 -n payments (read it with: kubectl get areq r-1 -n payments -o yaml)');
  });
});

describe('integrity that is not proven', () => {
  test.each([
    ['does not hold', () => { bench.integrity.holds = false; }], ['was never checked', () => { bench.integrity.checkedAtMs = null; }], ['was checked a quarter of an hour ago', () => bench.clock.advance(900_000)],
  ])('because it %s lets nobody ask', async (_why, lose) => {
    const replica = await bench.replica();
    lose();
    expect(await replica.approvals.ask(aStatementAsk())).toEqual({ outcome: 'refused', code: 'APPROVAL_INTEGRITY' });
    expect(bench.requests()).toEqual([]);
  });

  test('makes an approval that comes then release nothing', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk());
    bench.integrity.holds = false;
    bench.decide(pending.name, 'Approve');
    expect(await outcomeOf(pending)).toEqual({ outcome: 'withdrawn', request: pending.name, code: 'APPROVAL_INTEGRITY' });
    await settle();
    expect([await pending.use(), bench.request(pending.name)?.status?.use?.state]).toEqual([false, 'Withdrawn']);
  });

  test('between the approval and its use stops the use', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk());
    bench.decide(pending.name, 'Approve');
    await outcomeOf(pending);
    bench.integrity.holds = false;
    expect(await pending.use()).toBe(false);
  });

  test('leaves no grant standing when it is lost, and those that stood when nobody has looked for a while', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aWindowAsk());
    bench.decide(pending.name, 'Approve');
    await outcomeOf(pending);
    const grants = (): number => replica.approvals.grants(subjectKey(alice), 'orders-db', alice).length;
    bench.clock.advance(1_000_000);
    expect(grants()).toBe(1);
    bench.integrity.holds = false;
    expect(grants()).toBe(0);
  });
});

describe('without an API server', () => {
  test('nothing is asked', async () => {
    const replica = await bench.replica();
    bench.api.faults.add({ fault: { kind: 'reset' }, times: Infinity });
    expect(await replica.approvals.ask(aStatementAsk())).toEqual({ outcome: 'refused', code: 'APPROVAL_UNAVAILABLE' });
  });

  test.each([['reset'], ['reset-after']] as const)('an approved statement is not released (%s)', async (kind) => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk());
    bench.decide(pending.name, 'Approve');
    await outcomeOf(pending);
    bench.api.faults.add({ fault: { kind }, times: 1, when: ({ verb }) => verb === 'update' });
    expect(await pending.use()).toBe(false);
    bench.api.faults.clear();
    // What may have been written is burned, not offered again.
    expect(await pending.use()).toBe(false);
  });

  test('nothing is released by a record that could not be written', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk());
    replica.failRecords();
    bench.decide(pending.name, 'Approve');
    expect(await outcomeOf(pending)).toEqual({ outcome: 'withdrawn', request: pending.name, code: 'RECORDER_FAILED' });
    expect(await pending.use()).toBe(false);
  });

  test('a request that cannot be recorded is taken back', async () => {
    const replica = await bench.replica();
    replica.failRecords();
    expect(await replica.approvals.ask(aStatementAsk())).toEqual({ outcome: 'refused', code: 'APPROVAL_UNAVAILABLE' });
    await settle();
    expect(bench.requests().map(({ status }) => status?.use?.state)).toEqual(['Withdrawn']);
  });
});

test('a window is for the database that the approver was shown, and another one is asked for apart', async () => {
  const replica = await bench.replica();
  const pending = await replica.ask(aWindowAsk());
  bench.decide(pending.name, 'Approve');
  await settle();
  expect(replica.approvals.grants(subjectKey(alice), 'orders-db', alice)).toMatchObject([{ requestName: pending.name, database: 'orders' }]);
  const other = await replica.ask(aWindowAsk('S2', 'payroll'));
  expect([await outcomeOf(other), bench.requests().length]).toEqual(['waiting', 2]);
});

test('a window is for the server that was asked about: a Target that leads elsewhere ends it', async () => {
  const replica = await bench.replica();
  const pending = await replica.ask(aWindowAsk());
  bench.decide(pending.name, 'Approve');
  await settle();
  const grants = (): number => replica.approvals.grants(subjectKey(alice), 'orders-db', alice).length;
  expect(grants()).toBe(1);
  bench.setConfig((config) => ({ ...config, targets: config.targets.map((target) => ('postgres' in target ? { ...target, postgres: { ...target.postgres, host: 'elsewhere' } } : target)) }));
  expect(grants()).toBe(0);
});

test('an approval that counts anew has to be recorded anew', async () => {
  const replica = await bench.replica();
  const name = askByHand('Window');
  bench.decide(name, 'Approve');
  await settle();
  const grants = (): number => replica.approvals.grants(subjectKey(alice), 'orders-db', alice).length;
  expect(grants()).toBe(1);
  // The rules of admission were away for a moment: what was decided before counts no more.
  bench.integrity.sinceMs = bench.clock.now() + 1_000;
  bench.tellStatus();
  await settle();
  expect(grants()).toBe(0);
  replica.failRecords();
  bench.clock.advance(3_000);
  bench.decide(name, 'Approve', 'oidc:eve');
  await settle();
  expect(grants()).toBe(0);
});

test('a proof of integrity from the future proves nothing: a clock that is ahead must not stand for the operator', async () => {
  const replica = await bench.replica();
  bench.integrity.checkedAtMs = bench.clock.now() + 86_400_000;
  expect(await replica.approvals.ask(aStatementAsk())).toEqual({ outcome: 'refused', code: 'APPROVAL_INTEGRITY' });
});

describe('the same ask', () => {
  test('of two replicas is one object; who is first runs it, the other asks anew under the next number', async () => {
    const [one, two] = [await bench.replica(), await bench.replica()];
    const first = await one.ask(aStatementAsk({ sessionId: 'S1' }));
    const second = await two.ask(aStatementAsk({ sessionId: 'S2' }));
    expect([second.name, bench.requests().length]).toEqual([first.name, 1]);
    bench.decide(first.name, 'Approve');
    await Promise.all([outcomeOf(first), outcomeOf(second)]);

    expect([await first.use(), await second.use(), second.usedElsewhere?.()]).toEqual([true, false, true]);
    const anew = await two.ask(aStatementAsk({ sessionId: 'S2' }));
    expect(anew.name).toBe(first.name.replace(/-1$/, '-2'));
  });

  test('that one session takes back is asked anew by the other', async () => {
    const [one, two] = [await bench.replica(), await bench.replica()];
    const first = await one.ask(aStatementAsk({ sessionId: 'S1' }));
    const second = await two.ask(aStatementAsk({ sessionId: 'S2' }));
    await first.withdraw('HOLD_CANCELLED');
    expect(await outcomeOf(second)).toEqual({ outcome: 'withdrawn', request: first.name, askAnew: true });
  });

  test('of two sessions of one replica stays while one of them waits', async () => {
    const replica = await bench.replica();
    const first = await replica.ask(aStatementAsk({ sessionId: 'S1' }));
    const second = await replica.ask(aStatementAsk({ sessionId: 'S2' }));
    await first.withdraw('HOLD_CANCELLED');
    bench.decide(first.name, 'Approve');
    expect(await outcomeOf(second)).toMatchObject({ outcome: 'approved' });
    expect(await second.use()).toBe(true);
  });

  test('at the same moment makes one object', async () => {
    const [one, two] = [await bench.replica(), await bench.replica()];
    const pending = await Promise.all([one.ask(aStatementAsk({ sessionId: 'S1' })), two.ask(aStatementAsk({ sessionId: 'S2' })), one.ask(aStatementAsk({ sessionId: 'S3' }))]);
    expect([new Set(pending.map(({ name }) => name)).size, bench.requests().length]).toEqual([1, 1]);
  });

  test('finds the name taken by something else and goes on to the next number', async () => {
    const replica = await bench.replica();
    const first = await replica.ask(aStatementAsk());
    await first.withdraw('HOLD_CANCELLED');
    // The other replica has not seen any of it.
    const other = await bench.replica();
    bench.api.faults.clear();
    expect((await other.ask(aStatementAsk())).name).toBe(first.name.replace(/-1$/, '-2'));
  });

  test('of another person, or of another text, is another request', async () => {
    const replica = await bench.replica();
    const names = await Promise.all([aStatementAsk(), aStatementAsk({ user: 'carol' }), aStatementAsk({ text: 'DROP TABLE orders' })].map(async (ask) => (await replica.ask(ask)).name));
    expect(new Set(names.map((name) => name.slice(0, 22))).size).toBe(3);
  });
});

describe('the status that the operator writes meanwhile', () => {
  test('costs a conflict and no approval', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk());
    bench.decide(pending.name, 'Approve');
    await outcomeOf(pending);
    // The proxy's copy is older than what the operator writes now.
    bench.api.faults.add({ fault: { kind: 'status', status: 409, reason: 'Conflict' }, times: 2, when: ({ verb }) => verb === 'update' });
    expect(await pending.use()).toBe(true);
    expect(bench.request(pending.name)?.status?.use?.state).toBe('Used');
  });

  test('is left as it is by the use', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aStatementAsk());
    bench.decide(pending.name, 'Approve');
    await outcomeOf(pending);
    put(pending.name, { observedGeneration: 1, phase: 'Approved', approvals: '1/1', decidedAt: '2026-11-24T12:00:00Z' });
    expect(await pending.use()).toBe(true);
    expect(bench.request(pending.name)?.status).toMatchObject({ observedGeneration: 1, phase: 'Approved', approvals: '1/1', decidedAt: '2026-11-24T12:00:00Z', use: { state: 'Used' } });
  });
});

describe('limits', () => {
  test('twenty requests of one person wait, the next is refused, others may still ask', async () => {
    const replica = await bench.replica();
    for (let n = 0; n < 20; n++) await replica.ask(aStatementAsk({ text: `SELECT ${n}` }));
    expect(await replica.approvals.ask(aStatementAsk({ text: 'SELECT 20' }))).toEqual({ outcome: 'refused', code: 'TOO_MANY_REQUESTS' });
    expect(await replica.approvals.ask(aStatementAsk({ text: 'SELECT 20', user: 'carol' }))).toMatchObject({ outcome: 'pending' });
    // The same ask costs no new object.
    expect(await replica.approvals.ask(aStatementAsk({ text: 'SELECT 3', sessionId: 'S2' }))).toMatchObject({ outcome: 'pending' });
  });

  test('two hundred requests of a namespace wait, whoever asks next is refused', async () => {
    const replica = await bench.replica();
    for (let user = 0; user < 10; user++) for (let n = 0; n < 20; n++) await replica.ask(aStatementAsk({ text: `SELECT ${n}`, user: `u${user}` }));
    expect(await replica.approvals.ask(aStatementAsk({ user: 'carol' }))).toEqual({ outcome: 'refused', code: 'TOO_MANY_REQUESTS' });
  });

  test('a quota of the namespace is told as what it is', async () => {
    const replica = await bench.replica();
    bench.api.faults.add({ fault: { kind: 'text', status: 403, text: JSON.stringify({ kind: 'Status', status: 'Failure', reason: 'Forbidden', message: 'exceeded quota: requests', code: 403 }) }, when: ({ verb }) => verb === 'create' });
    expect(await replica.approvals.ask(aStatementAsk())).toEqual({ outcome: 'refused', code: 'TOO_MANY_REQUESTS' });
  });
});

describe('a window', () => {
  const grants = (replica: Awaited<ReturnType<ApprovalBench['replica']>>, who = alice) => replica.approvals.grants(subjectKey(who), 'orders-db', who);

  test('that people asked for with kubectl and others approved is in force in every replica, for that person, until it is over', async () => {
    const [one, two] = [await bench.replica(), await bench.replica()];
    const name = askByHand('Window');
    bench.decide(name, 'Approve');
    await settle();
    for (const replica of [one, two]) {
      expect(grants(replica)).toMatchObject([{ requestName: name, scope: 'Window', sessionId: null, rule: 'win', subject: subjectKey(alice), approvers: ['oidc:bob'], expiresAtMs: bench.clock.now() + 3_600_000 }]);
    }
    expect(grants(one, { ...alice, username: 'oidc:mallory' })).toEqual([]);
    expect(grants(one, { ...alice, actors: [{ issuer: alice.issuer, subject: 'bot' }] })).toEqual([]);
    bench.api.faults.add({ fault: { kind: 'reset' }, times: Infinity });
    bench.clock.advance(3_600_000);
    expect(grants(one)).toEqual([]);
  });

  test('ends in the moment in which an approver revokes it, and whoever holds on to it is told', async () => {
    const replica = await bench.replica();
    const name = askByHand('Window');
    bench.decide(name, 'Approve');
    await settle();
    let told = 0;
    replica.approvals.subscribe(() => told++);
    bench.clock.advance(2_000);
    bench.decide(name, 'Revoke', 'oidc:eve');
    await settle();
    expect([grants(replica), told]).toEqual([[], 1]);
    expect(replica.events.map(({ facts }) => facts['decision'])).toEqual(['Approve', 'Revoke']);
  });

  test('that a held statement asked for covers it and what follows', async () => {
    const replica = await bench.replica();
    const pending = await replica.ask(aWindowAsk());
    expect(bench.request(pending.name)?.spec).toMatchObject({ scope: 'Window', grantTTL: '3600s', action: 'Alter for a time window on public.orders' });
    expect(bench.request(pending.name)?.spec.statement).toBeUndefined();
    bench.decide(pending.name, 'Approve');
    expect(await outcomeOf(pending)).toMatchObject({ outcome: 'approved', grant: { scope: 'Window' } });
    expect([await pending.use(), grants(replica).length]).toEqual([true, 1]);
  });

  test('for an agent is not one for the person, and not the other way round', async () => {
    const replica = await bench.replica();
    const name = askByHand('Window', { requester: { username: 'oidc:alice', actor: 'oidc:bot' } });
    bench.decide(name, 'Approve');
    await settle();
    expect(grants(replica)).toEqual([]);
    expect(grants(replica, { ...alice, actors: [{ issuer: alice.issuer, subject: 'bot' }] })).toHaveLength(1);
  });

  test('is not for somebody who was given the name later', async () => {
    const replica = await bench.replica();
    const name = askByHand('Window', { requester: { username: 'oidc:alice', uid: 'alice' } });
    bench.decide(name, 'Approve');
    await settle();
    const successor = { ...alice, subject: 'alice-2' };
    expect([grants(replica).length, grants(replica, successor)]).toEqual([1, []]);
  });
});

describe('a session that needs an approval', () => {
  test('is opened under it by the first that waits; the other asks anew', async () => {
    const replica = await bench.replica();
    const first = await replica.ask(aSessionAsk('S1'));
    const second = await replica.ask(aSessionAsk('S2'));
    bench.decide(first.name, 'Approve');
    expect(await outcomeOf(first)).toMatchObject({ outcome: 'approved' });
    expect(await outcomeOf(second)).toEqual({ outcome: 'withdrawn', request: first.name, askAnew: true });
    expect(replica.approvals.grants(subjectKey(alice), 'vault', alice)).toMatchObject([{ scope: 'Session', sessionId: 'S1' }]);
    expect(await first.use()).toBe(true);
  });

  test('of two replicas is opened once', async () => {
    const [one, two] = [await bench.replica(), await bench.replica()];
    const first = await one.ask(aSessionAsk('S1'));
    const second = await two.ask(aSessionAsk('S2'));
    bench.decide(first.name, 'Approve');
    const outcomes = [await outcomeOf(first), await outcomeOf(second)].map((outcome) => (outcome === 'waiting' ? outcome : outcome.outcome)).sort();
    expect(outcomes).toEqual(['approved', 'withdrawn']);
  });

  test('waits for its user: who hangs up comes back to the same request and opens under its approval', async () => {
    const replica = await bench.replica();
    const first = await replica.ask(aSessionAsk('S1'));
    await first.withdraw('CONNECTION_LOST');
    bench.decide(first.name, 'Approve');
    await settle();
    expect(bench.request(first.name)?.status?.use).toBeUndefined();
    const again = await replica.ask(aSessionAsk('S2'));
    expect([again.name, await outcomeOf(again)]).toEqual([first.name, expect.objectContaining({ outcome: 'approved' })]);
    expect(replica.approvals.grants(subjectKey(alice), 'vault', alice)).toMatchObject([{ sessionId: 'S2' }]);
  });

  test('that was asked for and approved with kubectl before is opened by who then comes', async () => {
    const replica = await bench.replica();
    const name = askByHand('Session');
    bench.decide(name, 'Approve');
    await settle();
    expect(replica.approvals.grants(subjectKey(alice), 'vault', alice)).toEqual([]);
    const pending = await replica.ask(aSessionAsk('S7'));
    expect([pending.name, await outcomeOf(pending)]).toEqual([name, expect.objectContaining({ outcome: 'approved' })]);
  });
});

describe('the end of a proxy', () => {
  test('withdraws what is held and leaves requests for sessions to their users', async () => {
    const replica = await bench.replica();
    const held = await replica.ask(aStatementAsk());
    const session = await replica.ask(aSessionAsk());
    await replica.approvals[Symbol.asyncDispose]();
    expect([(await held.outcome).outcome, bench.request(held.name)?.status?.use?.state, bench.request(session.name)?.status?.use]).toEqual(['withdrawn', 'Withdrawn', undefined]);
    expect(await replica.approvals.ask(aStatementAsk())).toEqual({ outcome: 'refused', code: 'APPROVAL_UNAVAILABLE' });
  });
});

describe('races', () => {
  test('two replicas that hold the same approved statement forward it exactly once, and never while the API server is away', async () => {
    let races = 0;
    let forwarded = 0;
    await fc.assert(fc.asyncProperty(
      fc.record({ first: fc.constantFrom(0, 1), turns: fc.nat({ max: 6 }), operator: fc.boolean(), lost: fc.constantFrom('none', 'reset', 'reset-after'), isAway: fc.boolean() }),
      async ({ first, turns, operator, lost, isAway }) => {
        await using world = approvalBench();
        const replicas = [await world.replica(), await world.replica()];
        const pending = await Promise.all(replicas.map((replica, index) => replica.ask(aStatementAsk({ sessionId: `S${index}` }))));
        const name = pending[0]?.name ?? '';
        world.decide(name, 'Approve');
        await settle(8);
        if (isAway) world.api.faults.add({ fault: { kind: 'reset' }, times: Infinity });
        else if (lost !== 'none') world.api.faults.add({ fault: { kind: lost }, times: 1, when: ({ verb }) => verb === 'update' });
        const racing = [pending[first]?.use() ?? Promise.resolve(false)];
        for (let turn = 0; turn < turns; turn++) await Promise.resolve();
        racing.push(pending[1 - first]?.use() ?? Promise.resolve(false));
        if (operator) await world.api.client('operator').request({ method: 'PATCH', path: `/apis/sallyport.dev/v1alpha1/namespaces/payments/accessrequests/${name}/status`, contentType: 'application/merge-patch+json', body: { status: { observedGeneration: 1, phase: 'Approved', approvals: '1/1' } } }).catch(() => undefined);
        const released = (await Promise.all(racing)).filter(Boolean).length;
        const stored = world.request(name)?.status?.use?.state;
        races++;
        forwarded += released;
        if (isAway) expect([released, stored]).toEqual([0, 'Waiting']);
        else if (lost === 'reset-after') expect(released).toBeLessThanOrEqual(1);
        else expect([released, stored]).toEqual([1, 'Used']);
        if (released === 1) expect(stored).toBe('Used');
      },
    ), { numRuns: 1_000, seed: 7 });
    expect([races, forwarded > 300]).toEqual([1_000, true]);
  }, 120_000);
});

/** Somebody else than the proxy writes the status. */
function put(name: string, status: NonNullable<AccessRequestResource['status']>): void {
  const request = bench.request(name);
  if (request === null) throw new Error('no such request');
  bench.api.put<AccessRequestResource>(accessRequestKind, { ...request, status: { ...request.status, ...status } }, 'sallyport-operator');
}

/** What a person applies with kubectl. */
function askByHand(scope: 'Window' | 'Session', over: Partial<AccessRequestResource['spec']> = {}): string {
  const target = scope === 'Window' ? { name: 'orders-db', uid: '22222222-2222-4222-8222-222222222222' } : { name: 'vault', uid: '33333333-3333-4333-8333-333333333333' };
  const spec: Omit<AccessRequestResource['spec'], 'digest'> = {
    scope, requester: { username: 'oidc:alice' }, policyRef: { name: 'oncall', uid: '11111111-1111-4111-8111-111111111111', generation: 1, ...(scope === 'Window' ? { rule: 'win' } : {}) }, targetRef: target,
    action: 'by hand', approvers: { groups: ['dba'], required: 1 }, decideWithin: '15m', grantTTL: '1h', ...over,
  };
  const name = `by-hand-${scope.toLowerCase()}`;
  bench.api.put<AccessRequestResource>(accessRequestKind, { apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessRequest', metadata: { name, namespace: 'payments' }, spec: { ...spec, digest: requestDigest(spec) } }, 'oidc:alice');
  return name;
}
