import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { boundDigest } from '../../../contract/approval-digest.ts';
import { type FakeClock, fakeClock } from '../../../tools/testkit/fake-clock.ts';
import { type Identity, subjectKey } from '../../core/identity/identity.ts';
import type { ApprovalAsk, PendingApproval } from '../../core/ports.ts';
import { approvalLimits, type DirectoryApprovals, openDirectoryApprovals } from './access-requests.ts';

// Whole: all cases act on one desk through one set of builders; split, each part would repeat them.

const silent = { error: () => {}, info: () => {}, debug: () => {} };
const alice = anIdentity('alice', ['sre']);
const bob = anIdentity('bob', ['dba']);
const carol = anIdentity('carol', ['dba', 'leads']);

const anApproval = { groups: ['dba'], required: 1, decideWithinSeconds: 600, grantTtlSeconds: null };
const aStatement = { text: 'ALTER TABLE orders ADD COLUMN note text', parameters: [], kind: 'Alter', objects: ['public.orders'], searchPath: 'public', inTransaction: false };

let directory: string;
let clock: FakeClock;
let events: { code: string; facts: Readonly<Record<string, unknown>> }[];
let current: boolean;
let recorderWorks: boolean;
let desk: DirectoryApprovals;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sallyport-approvals-'));
  clock = fakeClock();
  events = [];
  current = true;
  recorderWorks = true;
  desk = await open();
});

afterEach(async () => {
  await desk.close();
  await rm(directory, { recursive: true, force: true });
});

describe('a held statement', () => {
  test('is released by one approver and used once', async () => {
    const pending = await ask(aStatementAsk());

    const decided = await desk.decide(answer(pending, bob, 'Approve'));

    expect(decided).toMatchObject({ outcome: 'done', request: { phase: 'Approved', approvals: 1 } });
    expect(await pending.outcome).toMatchObject({ outcome: 'approved', request: pending.name, grant: null, approvers: [{ key: subjectKey(bob), username: 'oidc:bob', method: 'oidc' }] });
    expect(await Promise.all(Array.from({ length: 20 }, () => pending.use()))).toEqual([true, ...Array.from({ length: 19 }, () => false)]);
    expect(desk.find(pending.name, alice)?.phase).toBe('Used');
    expect(events.map((event) => event.code)).toEqual(['request.created', 'request.decided']);
  });

  test('is refused with name and reason of the approver who says no', async () => {
    const pending = await ask(aStatementAsk());

    await desk.decide({ ...answer(pending, bob, 'Deny'), reason: 'not on a Friday' });

    expect(await pending.outcome).toEqual({ outcome: 'denied', request: pending.name, approver: 'oidc:bob', reason: 'not on a Friday' });
    expect(await pending.use()).toBe(false);
  });

  test('ends when nobody decides in time, and a later decision counts for nothing (A8)', async () => {
    const pending = await ask(aStatementAsk());

    clock.advance(600_000);

    expect(await pending.outcome).toEqual({ outcome: 'expired', request: pending.name });
    expect(await desk.decide(answer(pending, bob, 'Approve'))).toMatchObject({ outcome: 'refused', denial: { code: 'APPROVAL_CLOSED' } });
    expect(await pending.use()).toBe(false);
    expect(clock.timers).toBe(0);
  });

  test('is not kept open by a wall clock that jumps back', async () => {
    const pending = await ask(aStatementAsk());

    clock.jump(-3_600_000);
    clock.advance(600_000);

    expect(await pending.outcome).toEqual({ outcome: 'expired', request: pending.name });
  });

  test('cannot be used after it was withdrawn, nor approved', async () => {
    const pending = await ask(aStatementAsk());
    await pending.withdraw('client went away');

    expect(await pending.outcome).toEqual({ outcome: 'withdrawn', request: pending.name });
    expect(await desk.decide(answer(pending, bob, 'Approve'))).toMatchObject({ outcome: 'refused', denial: { code: 'APPROVAL_CLOSED' } });
    expect(await pending.use()).toBe(false);
    expect(events.at(-1)).toMatchObject({ code: 'request.withdrawn', facts: { reason: 'client went away' } });
  });

  test('cannot be used when its approval was revoked before the use', async () => {
    const pending = await ask(aStatementAsk());
    await desk.decide(answer(pending, bob, 'Approve'));

    expect(await desk.end({ name: pending.name, by: carol, reason: 'wrong table', method: 'oidc' })).toMatchObject({ outcome: 'done', request: { phase: 'Revoked' } });
    expect(await pending.use()).toBe(false);
  });

  test('is never shared with an equal one of the same person (A1)', async () => {
    const first = await ask(aStatementAsk());
    const second = await ask(aStatementAsk());

    expect(second.name).not.toBe(first.name);
  });

  test('becomes superseded when its policy is no longer current', async () => {
    const pending = await ask(aStatementAsk());
    current = false;
    desk.recheckPolicies();

    expect(await pending.outcome).toEqual({ outcome: 'withdrawn', request: pending.name, code: 'APPROVAL_SUPERSEDED' });
    expect(await desk.decide(answer(pending, bob, 'Approve'))).toMatchObject({ outcome: 'refused', denial: { code: 'APPROVAL_CLOSED' } });
  });

  test('is withdrawn by a restart and can never be forwarded later', async () => {
    const pending = await ask(aStatementAsk());
    const approved = await ask(aStatementAsk());
    await desk.decide(answer(approved, bob, 'Approve'));
    const restarted = await open();

    expect(restarted.find(pending.name, alice)?.phase).toBe('Withdrawn');
    expect(restarted.find(approved.name, alice)?.phase).toBe('Withdrawn');
    expect(await restarted.decide(answer(pending, bob, 'Approve'))).toMatchObject({ outcome: 'refused', denial: { code: 'APPROVAL_CLOSED' } });
    // The file of the withdrawal stands in the way of a use by the process that went before.
    expect(await approved.use()).toBe(false);
    await restarted.close();
  });

  test('stays used after a restart: the use is on disk before it answers true', async () => {
    const pending = await ask(aStatementAsk());
    await desk.decide(answer(pending, bob, 'Approve'));
    await pending.use();

    expect(JSON.parse(await readFile(join(directory, 'decisions', `${pending.name}.ending.json`), 'utf8'))).toMatchObject({ kind: 'Used' });
    const restarted = await open();
    expect(restarted.find(pending.name, alice)?.phase).toBe('Used');
    await restarted.close();
  });
});

describe('who may decide', () => {
  test.each([
    ['the requester', anIdentity('alice', ['dba']), 'APPROVAL_SELF'],
    ['the requester in a second group', anIdentity('alice', ['dba', 'leads']), 'APPROVAL_SELF'],
    ['the agent that asked for the requester', anIdentity('robot', ['dba']), 'APPROVAL_SELF'],
    ['another person through the agent that asked', { ...anIdentity('dave', ['dba']), actors: [{ issuer: 'https://idp', subject: 'robot' }] }, 'APPROVAL_SELF'],
    ['a member of another group', anIdentity('dave', ['sre']), 'APPROVAL_NOT_APPROVER'],
    ['a workload in the group', { ...anIdentity('job', ['dba']), serviceAccount: { namespace: 'ci', name: 'job' } }, 'APPROVAL_NOT_APPROVER'],
    ['an agent of an approver', { ...anIdentity('dave', ['dba']), actors: [{ issuer: 'https://idp', subject: 'other-robot' }] }, 'APPROVAL_NOT_APPROVER'],
  ])('%s may not (A3)', async (_who, identity, code) => {
    const pending = await ask(aStatementAsk({ requester: { key: subjectKey(alice), username: 'oidc:alice', actorKeys: [subjectKey({ issuer: 'https://idp', subject: 'robot' })] } }));

    expect(await desk.decide(answer(pending, identity, 'Approve'))).toMatchObject({ outcome: 'refused', denial: { code } });
    expect(desk.find(pending.name, bob)?.phase).toBe('Pending');
  });

  test('equal user names of two issuers are two people', async () => {
    const pending = await ask(aStatementAsk());

    expect(await desk.decide(answer(pending, { ...anIdentity('alice', ['dba']), issuer: 'https://other' }, 'Approve'))).toMatchObject({ outcome: 'done', request: { phase: 'Approved' } });
  });

  test('an approver who saw another request is refused (D5)', async () => {
    const pending = await ask(aStatementAsk());

    expect(await desk.decide({ ...answer(pending, bob, 'Approve'), digest: 'sha256:0' })).toMatchObject({ outcome: 'refused', denial: { code: 'APPROVAL_DIGEST_MISMATCH' } });
  });

  test('a request is listed to its requester and its approvers and to nobody else', async () => {
    const pending = await ask(aStatementAsk());

    expect([alice, bob, carol, anIdentity('eve', ['guests'])].map((viewer) => desk.list(viewer).map((one) => one.name))).toEqual([[pending.name], [pending.name], [pending.name], []]);
    expect(desk.find(pending.name, anIdentity('eve', ['guests']))).toBeNull();
    expect(await desk.end({ name: pending.name, by: anIdentity('eve', ['guests']), reason: '', method: 'oidc' })).toMatchObject({ outcome: 'refused', denial: { code: 'APPROVAL_NOT_FOUND' } });
  });
});

describe('a quorum', () => {
  test('of two needs two people: one person in two groups counts once (A4)', async () => {
    const pending = await ask(aStatementAsk({ approval: { ...anApproval, groups: ['dba', 'leads'], required: 2 } }));
    await desk.decide(answer(pending, carol, 'Approve'));

    expect(await desk.decide(answer(pending, carol, 'Approve'))).toMatchObject({ outcome: 'done', request: { phase: 'Pending', approvals: 1 } });
    expect(await desk.decide(answer(pending, bob, 'Approve'))).toMatchObject({ outcome: 'done', request: { phase: 'Approved', approvals: 2 } });
  });

  test('loses none of 50 decisions at once, has one outcome, and a denial among them wins (A5)', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 49 }), { maxLength: 3 }), async (deniers) => {
      const pending = await ask(aStatementAsk({ approval: { ...anApproval, required: 3 } }));
      const people = Array.from({ length: 50 }, (_, index) => anIdentity(`person-${index}`, ['dba']));

      const decided = await Promise.all(people.map((person, index) => desk.decide(answer(pending, person, deniers.includes(index) ? 'Deny' : 'Approve'))));

      const phase = deniers.length > 0 ? 'Denied' : 'Approved';
      expect(decided.every((one) => one.outcome === 'done' && one.request.phase === phase)).toBe(true);
      expect(desk.find(pending.name, bob)?.decisions).toHaveLength(50);
      expect((await readdir(join(directory, 'decisions'))).filter((file) => file.startsWith(pending.name) && !file.includes('ending'))).toHaveLength(50);
      expect((await pending.outcome).outcome).toBe(deniers.length > 0 ? 'denied' : 'approved');
      await pending.withdraw('done');
    }), { numRuns: 6 });
  });
});

describe('a window', () => {
  test('is granted for its time, to the person and target that asked, and tells its listeners', async () => {
    let heard = 0;
    desk.subscribe(() => heard++);
    const pending = await ask(aWindowAsk());
    await desk.decide(answer(pending, bob, 'Approve'));

    expect(desk.grants(subjectKey(alice), 'orders-db')).toEqual([{
      requestName: pending.name, requestUid: pending.uid, policyUid: 'uid-1', policyGeneration: 3, rule: 'schema-changes', scope: 'Window', sessionId: null, subject: subjectKey(alice), actorKeys: [],
      target: 'orders-db', expiresAtMs: clock.now() + 3_600_000, approvers: ['oidc:bob'],
    }]);
    expect(desk.grants(subjectKey(bob), 'orders-db')).toEqual([]);
    expect(desk.grants(subjectKey(alice), 'other-db')).toEqual([]);
    clock.advance(3_599_999);
    expect(desk.grants(subjectKey(alice), 'orders-db')).toHaveLength(1);
    expect(heard).toBe(1);
    clock.advance(1);
    expect(desk.grants(subjectKey(alice), 'orders-db')).toEqual([]);
    expect(heard).toBe(2);
  });

  test('survives a restart with the time that is left', async () => {
    const pending = await ask(aWindowAsk());
    await desk.decide(answer(pending, bob, 'Approve'));
    clock.advance(1_000_000);
    const restarted = await open();

    expect(restarted.grants(subjectKey(alice), 'orders-db')).toHaveLength(1);
    clock.advance(2_600_000);
    expect(restarted.grants(subjectKey(alice), 'orders-db')).toEqual([]);
    await restarted.close();
  });

  test.each([['an approver', carol, 'Revoked'], ['the requester', alice, 'Withdrawn']] as const)('ends at once when %s ends it, also after a restart', async (_who, by, phase) => {
    const pending = await ask(aWindowAsk());
    await desk.decide(answer(pending, bob, 'Approve'));

    expect(await desk.end({ name: pending.name, by, reason: 'over', method: 'oidc' })).toMatchObject({ outcome: 'done', request: { phase } });
    expect(desk.grants(subjectKey(alice), 'orders-db')).toEqual([]);
    const restarted = await open();
    expect(restarted.grants(subjectKey(alice), 'orders-db')).toEqual([]);
    await restarted.close();
  });

  test('rests on nothing when one of its decision files is damaged', async () => {
    const pending = await ask(aWindowAsk());
    await desk.decide(answer(pending, bob, 'Approve'));
    await writeFile(join(directory, 'decisions', `${pending.name}.0e2f9c5e-8f5e-4b41-9c61-000000000000.json`), '{"decision":"Den');
    const restarted = await open();

    expect(restarted.grants(subjectKey(alice), 'orders-db')).toEqual([]);
    await restarted.close();
  });

  test('ends when its policy changes', async () => {
    const pending = await ask(aWindowAsk());
    await desk.decide(answer(pending, bob, 'Approve'));
    current = false;
    desk.recheckPolicies();

    expect(desk.grants(subjectKey(alice), 'orders-db')).toEqual([]);
    expect(desk.find(pending.name, alice)?.phase).toBe('Superseded');
  });
});

describe('a request to open a session', () => {
  test('is shared while it is pending and keeps its deadline when the user reconnects (A6)', async () => {
    const first = await ask(anAccessAsk('s1'));
    await first.withdraw('client went away');
    clock.advance(540_000);
    const second = await ask(anAccessAsk('s2'));

    expect(second.name).toBe(first.name);
    expect(second.decideByMs - clock.now()).toBe(60_000);
  });

  test('approved while nobody waits serves the next session of the same person, and only that one', async () => {
    const first = await ask(anAccessAsk('s1'));
    await first.withdraw('client went away');
    await desk.decide(answer(first, bob, 'Approve'));
    expect(desk.grants(subjectKey(alice), 'orders-db')).toEqual([]);

    const second = await ask(anAccessAsk('s2'));
    expect(await second.outcome).toMatchObject({ outcome: 'approved', grant: { sessionId: 's2', scope: 'Session', rule: null } });
    expect(desk.grants(subjectKey(alice), 'orders-db').map((grant) => grant.sessionId)).toEqual(['s2']);
    expect([await second.use(), await second.use()]).toEqual([true, false]);
    expect((await ask(anAccessAsk('s3'))).name).not.toBe(first.name);
  });

  test('approved while two sessions wait opens one of them', async () => {
    const first = await ask(anAccessAsk('s1'));
    const second = await ask(anAccessAsk('s2'));
    await desk.decide(answer(first, bob, 'Approve'));

    expect((await Promise.all([first.outcome, second.outcome])).map((one) => one.outcome)).toEqual(['approved', 'withdrawn']);
    expect(await second.use()).toBe(false);
  });

  test('survives a restart while pending, and its grant does not once a session had it', async () => {
    const pending = await ask(anAccessAsk('s1'));
    let restarted = await open();
    const again = await restarted.ask(anAccessAsk('s2'));
    expect(again).toMatchObject({ outcome: 'pending', pending: { name: pending.name } });
    await restarted.decide(answer(pending, bob, 'Approve'));
    expect(restarted.grants(subjectKey(alice), 'orders-db')).toHaveLength(0);
    await restarted.ask(anAccessAsk('s3'));
    await restarted.close();
    restarted = await open();
    expect(restarted.grants(subjectKey(alice), 'orders-db')).toEqual([]);
    await restarted.close();
  });
});

describe('what is not asked', () => {
  test.each([
    ['a text that does not fit', { statement: { ...aStatement, text: 'x'.repeat(32 * 1024 + 1) } }, 'APPROVAL_TOO_LARGE'],
    ['parameters that do not fit with the text', { statement: { ...aStatement, parameters: ['x'.repeat(16 * 1024), 'y'.repeat(16 * 1024)] } }, 'APPROVAL_TOO_LARGE'],
    ['too many parameters', { statement: { ...aStatement, parameters: Array.from({ length: 257 }, () => '1') } }, 'APPROVAL_TOO_LARGE'],
    ['no approving group (P7)', { approval: { ...anApproval, groups: [] } }, 'APPROVAL_UNAVAILABLE'],
    ['a window without an end', { scope: 'Window' as const }, 'APPROVAL_UNAVAILABLE'],
  ])('%s (A10)', async (_what, change, code) => {
    expect(await desk.ask(aStatementAsk(change))).toEqual({ outcome: 'refused', code });
    expect(desk.list(bob)).toEqual([]);
  });

  test('something else than the digest binds', async () => {
    expect(await desk.ask({ ...aStatementAsk(), database: 'payroll' })).toEqual({ outcome: 'refused', code: 'APPROVAL_UNAVAILABLE' });
  });

  test('more than 20 pending of one requester, also when all are asked at once', async () => {
    const asked = await Promise.all(Array.from({ length: 25 }, () => desk.ask(aStatementAsk())));

    expect(asked.map((one) => (one.outcome === 'refused' ? one.code : 'pending'))).toEqual([...Array.from({ length: 20 }, () => 'pending'), ...Array.from({ length: 5 }, () => 'TOO_MANY_REQUESTS')]);
  });

  test('more than 200 pending in all', async () => {
    const asked = await Promise.all(Array.from({ length: 202 }, (_, index) => desk.ask(aStatementAsk({ requester: { key: `person-${index}`, username: 'x', actorKeys: [] } }))));

    expect(asked.filter((one) => one.outcome === 'pending')).toHaveLength(200);
  });

  test('anything while the record cannot be written, and no approval counts then', async () => {
    const pending = await ask(aStatementAsk());
    recorderWorks = false;

    expect(await desk.ask(aStatementAsk())).toEqual({ outcome: 'refused', code: 'APPROVAL_UNAVAILABLE' });
    expect(await desk.decide(answer(pending, bob, 'Approve'))).toMatchObject({ outcome: 'refused', denial: { code: 'RECORDER_FAILED' } });
    expect(desk.find(pending.name, bob)?.phase).toBe('Pending');
    expect(await desk.decide(answer(pending, bob, 'Deny'))).toMatchObject({ outcome: 'done', request: { phase: 'Denied' } });
  });
});

test('files are for their owner only and hold the digest, not the key of it', async () => {
  const pending = await ask(aStatementAsk());
  await desk.decide(answer(pending, bob, 'Approve'));
  const files = [join(directory, 'requests', `${pending.name}.json`), ...(await readdir(join(directory, 'decisions'))).map((file) => join(directory, 'decisions', file))];

  expect(await Promise.all(files.map(async (file) => (await stat(file)).mode & 0o777))).toEqual([0o600, 0o600]);
});

test('finished requests are kept up to a number, the oldest go first', async () => {
  for (let index = 0; index < 3; index++) await (await ask(aStatementAsk())).withdraw('done');
  clock.advance(approvalLimits.finishedMs + 600_000);
  const kept = await ask(aStatementAsk());
  await desk.close();

  expect(await readdir(join(directory, 'requests'))).toEqual([`${kept.name}.json`]);
});

// --- builders

function open(): Promise<DirectoryApprovals> {
  return openDirectoryApprovals({
    dataDirectory: directory, clock, log: silent, isPolicyCurrent: () => current,
    onEvent: async (code, facts) => {
      if (!recorderWorks) throw new Error('the recorder is down');
      events.push({ code, facts });
    },
  });
}

async function ask(value: ApprovalAsk): Promise<PendingApproval> {
  const asked = await desk.ask(value);
  if (asked.outcome !== 'pending') throw new Error(`refused: ${asked.code}`);
  return asked.pending;
}

function answer(pending: PendingApproval, by: Identity, decision: 'Approve' | 'Deny') {
  return { name: pending.name, by, decision, reason: '', digest: null, method: 'oidc' };
}

function anIdentity(name: string, groups: readonly string[]): Identity {
  return {
    provider: 'idp', issuer: 'https://idp', subject: name, username: `oidc:${name}`, groups, uid: null, email: null, serviceAccount: null, actors: [], tokenId: null, authTimeMs: null, acr: null,
    amr: [], issuedAtMs: null, expiresAtMs: Number.MAX_SAFE_INTEGER, claims: {},
  };
}

function aStatementAsk(change: Partial<ApprovalAsk> = {}): ApprovalAsk {
  const view = {
    scope: 'Statement' as const, target: 'orders-db', namespace: 'payments', database: 'orders', sessionId: 's1', statement: aStatement, statementHmac: 'hmac-sha256:00',
    requester: { key: subjectKey(alice), username: 'oidc:alice', actorKeys: [] },
    by: { policy: 'oncall', policyUid: 'uid-1', policyGeneration: 3, policyDigest: 'sha256:p', rule: 'schema-changes' }, approval: anApproval, ...change,
  };
  return { ...view, digest: boundDigest(view, view.statementHmac ?? null) };
}

function aWindowAsk(): ApprovalAsk {
  return aStatementAsk({ scope: 'Window', approval: { ...anApproval, grantTtlSeconds: 3600 } });
}

function anAccessAsk(sessionId: string): ApprovalAsk {
  return aStatementAsk({
    scope: 'Session', sessionId, statement: null, statementHmac: null, approval: { ...anApproval, grantTtlSeconds: 3600 },
    by: { policy: 'oncall', policyUid: 'uid-1', policyGeneration: 3, policyDigest: 'sha256:p', rule: null },
  });
}
