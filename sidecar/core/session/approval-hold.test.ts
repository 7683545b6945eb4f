import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { anApproval, anIdentity } from '../../../tools/testkit/policies.ts';
import { FakeApprover, settled } from '../../../tools/testkit/relay-context.ts';
import { deny } from '../errors.ts';
import { subjectKey } from '../identity/identity.ts';
import { type HeldFor, type HoldNotice, maxShownBytes, waitForApproval } from './approval-hold.ts';

const by = { policy: 'oncall', policyUid: 'uid-oncall', policyGeneration: 3, policyDigest: 'sha256:x', rule: 'deletes' };
const view = { text: 'delete from t', parameters: ['7'], kind: 'Delete', objects: ['public.t'], searchPath: 'public', inTransaction: true };
const held: HeldFor = {
  sessionId: 's1', identity: anIdentity({ actors: ['bot'] }), target: 'orders-db', namespace: 'payments', database: 'orders', by, approval: anApproval({ groups: ['dba', 'sre'], required: 2, decideWithin: 60 }),
  statement: { view, exact: { text: Buffer.from('delete from t'), parameters: [{ type: 23, format: 0, value: Buffer.from('7') }] } }, digestKey: new Uint8Array(32),
};
const opening: HeldFor = { ...held, by: { ...by, rule: null }, approval: anApproval({ groups: ['dba'], scope: 'Session', ttl: 60 }), statement: null };

let approver: FakeApprover;
let cancel: AbortController;
let notices: HoldNotice[];
const wait = (what: HeldFor, onPending?: () => Promise<void>): ReturnType<typeof waitForApproval> =>
  waitForApproval(what, { approver, announce: (notice) => void notices.push(notice), cancelled: cancel.signal, repeatMs: 1_000, ...(onPending ? { onPending } : {}) });
const kinds = (): readonly string[] => notices.map(({ kind }) => kind);

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['setImmediate', 'queueMicrotask', 'nextTick'] });
  [approver, cancel, notices] = [new FakeApprover(), new AbortController(), []];
});
afterEach(() => void jest.useRealTimers());

test('what an approver wrote is shown as text: it controls nobody\u2019s terminal', async () => {
  const outcome = wait(held);
  await approver.decide({ outcome: 'denied', request: 'areq-1', approver: 'oidc:eve\n', reason: 'no\u001b]0;owned\u0007\nLINE 2' });
  expect(await outcome).toMatchObject({ denial: { detail: 'request areq-1 was denied by oidc:eve\\n: no\\u{1b}]0;owned\\u{7}\\nLINE 2' } });
});

describe('what is asked', () => {
  test('holds everything that an approver decides on, and the digest that binds it', async () => {
    void wait(held);
    await settled();
    expect(approver.asks[0]).toMatchObject({
      scope: 'Statement', namespace: 'payments', target: 'orders-db', database: 'orders', sessionId: 's1', by, requester: { key: subjectKey(anIdentity()), username: 'ann', actorKeys: [subjectKey({ issuer: anIdentity().issuer, subject: 'bot' })] },
      approval: { groups: ['dba', 'sre'], required: 2, decideWithinSeconds: 60, grantTtlSeconds: null }, statement: view,
    });
    expect(approver.asks[0]?.digest).toMatch(/^[a-z0-9:]+$/);
    expect(approver.asks[0]?.statementHmac).not.toBeNull();
  });

  test.each<[string, HeldFor]>([
    ['another byte of the text', { ...held, statement: { view, exact: { text: Buffer.from('delete from T'), parameters: held.statement?.exact.parameters ?? [] } } }],
    ['another parameter', { ...held, statement: { view, exact: { text: Buffer.from('delete from t'), parameters: [{ type: 23, format: 0, value: Buffer.from('8') }] } } }],
    ['another format', { ...held, statement: { view, exact: { text: Buffer.from('delete from t'), parameters: [{ type: 23, format: 1, value: Buffer.from('7') }] } } }],
    ['another target', { ...held, target: 'other' }], ['another database', { ...held, database: 'other' }], ['another person', { ...held, identity: anIdentity({ user: 'bob' }) }], ['another policy generation', { ...held, by: { ...by, policyGeneration: 4 } }],
  ])('has another digest for %s', async (_what, other) => {
    void wait(held);
    void wait(other);
    await settled();
    expect(approver.asks[0]?.digest).not.toBe(approver.asks[1]?.digest);
  });

  test('to open a session has no statement to bind', async () => {
    void wait(opening);
    await settled();
    expect(approver.asks[0]).toMatchObject({ scope: 'Session', statement: null, statementHmac: null });
  });

  test('is refused when it is longer than anybody could be shown, parameters included', async () => {
    const long = (text: string, parameter: string): HeldFor => ({ ...held, statement: { view: { ...view, text, parameters: [parameter] }, exact: { text: Buffer.alloc(0), parameters: [] } } });
    expect(await wait(long('x'.repeat(maxShownBytes), 'y'))).toEqual({ outcome: 'denied', request: null, denial: deny('APPROVAL_TOO_LARGE') });
    void wait(long('x'.repeat(maxShownBytes - 1), 'y'));
    await settled();
    expect(approver.asks).toHaveLength(1);
  });

  test('and cannot be asked for is refused, naming policy and rule', async () => {
    approver.refuses = 'TOO_MANY_REQUESTS';
    expect(await wait(held)).toMatchObject({ outcome: 'denied', request: null, denial: { code: 'TOO_MANY_REQUESTS', detail: 'policy "oncall", rule "deletes"' } });
    expect(notices).toEqual([]);
  });
});

describe('the wait', () => {
  test('is announced, repeated, and over when it is approved', async () => {
    const waiting = wait(held);
    await settled();
    jest.advanceTimersByTime(2_000);
    await approver.decide('approved');
    expect(await waiting).toMatchObject({ outcome: 'approved', request: 'areq-1', grant: null, approvals: [{ request: 'areq-1', scope: 'Statement', approver: { key: 'dba-key', username: 'dba' }, method: 'token', boundDigest: approver.asks[0]?.digest }] });
    jest.advanceTimersByTime(10_000);
    expect(kinds()).toEqual(['held', 'waiting', 'waiting', 'released']);
    expect(notices[0]).toMatchObject({ request: 'areq-1', groups: ['dba', 'sre'], by, howToDecide: 'sallyport approve areq-1', locksKept: true, decideByMs: 1_700_000_900_000 });
  });

  test('is repeated every 30 s when nobody says otherwise', async () => {
    void waitForApproval(held, { approver, announce: (notice) => void notices.push(notice), cancelled: cancel.signal });
    await settled();
    jest.advanceTimersByTime(29_999);
    expect(kinds()).toEqual(['held']);
    jest.advanceTimersByTime(1);
    expect(kinds()).toEqual(['held', 'waiting']);
  });

  test('is marked as used once, by whoever forwards', async () => {
    const waiting = wait(held);
    await approver.decide('approved');
    const outcome = await waiting;
    expect(outcome.outcome === 'approved' && (await outcome.use())).toBe(true);
    expect(approver.used).toBe(1);
  });

  test.each([
    ['denied', { code: 'APPROVAL_DENIED', detail: 'request areq-1 was denied by dba: not now' }], ['expired', { code: 'APPROVAL_EXPIRED', detail: 'request areq-1 had to be decided within 60 s' }], ['withdrawn', { code: 'APPROVAL_WITHDRAWN', detail: 'request areq-1 was withdrawn' }],
  ] as const)('that ends %s says why, and no release', async (outcome, denial) => {
    const waiting = wait(held);
    await approver.decide(outcome);
    expect(await waiting).toMatchObject({ outcome: 'denied', request: 'areq-1', denial });
    expect([kinds(), jest.getTimerCount()]).toEqual([['held'], 0]);
  });

  test('that the policy overtook says so', async () => {
    const waiting = wait(held);
    await approver.decide({ outcome: 'withdrawn', request: 'areq-1', code: 'APPROVAL_SUPERSEDED' });
    expect(await waiting).toMatchObject({ denial: { code: 'APPROVAL_SUPERSEDED' } });
  });

  test.each<[string, unknown, string]>([['with the reason that it was given', deny('SESSION_REVOKED'), 'SESSION_REVOKED'], ['as cancelled when the client just went', new Error('socket'), 'HOLD_CANCELLED']])('that is cancelled withdraws the request, %s', async (_what, reason, code) => {
    const waiting = wait(held);
    await settled();
    cancel.abort(reason);
    expect(await waiting).toMatchObject({ outcome: 'denied', request: 'areq-1', denial: { code } });
    expect([approver.withdrawn, jest.getTimerCount()]).toEqual([[code], 0]);
  });

  test('that was cancelled before it began withdraws what it had asked', async () => {
    cancel.abort(deny('HOLD_CANCELLED'));
    expect(await wait(held)).toMatchObject({ denial: { code: 'HOLD_CANCELLED' } });
    expect(approver.withdrawn).toEqual(['HOLD_CANCELLED']);
  });

  test('that cannot be recorded is none: the request is withdrawn, nobody is told to wait', async () => {
    await expect(wait(held, () => Promise.reject(new Error('disk')))).rejects.toThrow('disk');
    expect([approver.withdrawn, notices]).toEqual([['RECORDER_FAILED'], []]);
  });
});
