import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { aRelay, aStatement, backend, type RelayBench, type RelayOptions, settled } from '../../../tools/testkit/relay-context.ts';
import { aGrant } from '../../../tools/testkit/policies.ts';
import { deny } from '../../core/errors.ts';
import * as write from '../wire/frame-writer.ts';
import { holdWords } from './hold-statement.ts';

const policies: RelayOptions['policies'] = { oncall: { rules: [
  { name: 'all', action: 'Allow' }, { name: 'deletes', action: 'RequireApproval', statements: ['Delete'], approval: { groups: ['dba'], required: 2 } },
  { name: 'ledger', action: 'RequireApproval', tables: ['public.ledger'], approval: { groups: ['finance', 'audit'] } },
] } };

/** A statement is sent and waits. */
async function holding(text = 'delete from t', options: RelayOptions = { policies: policies as never }): Promise<RelayBench & { readonly wait: Promise<void> }> {
  const relay = aRelay(options);
  const wait = relay.client(write.query(text));
  await settled();
  return Object.assign(relay, { wait });
}

const codes = (relay: RelayBench): readonly unknown[] => relay.recorder.attempts.map(({ event, code, request }) => [event, code, request]);
const notices = (relay: RelayBench): readonly string[] => relay.toClient().filter((line) => line.startsWith('N'));

beforeEach(() => void jest.useFakeTimers({ doNotFake: ['setImmediate', 'queueMicrotask', 'nextTick'] }));
afterEach(() => void jest.useRealTimers());

describe('a held statement', () => {
  test('is told at once, every 30 s and when it goes on', async () => {
    const relay = await holding();
    expect(notices(relay)).toEqual(['N SP001 statement held: waiting for approval by group dba (areq-1)']);
    jest.advanceTimersByTime(60_000);
    expect(notices(relay)).toEqual(['N SP002 still waiting for approval by group dba (areq-1)', 'N SP002 still waiting for approval by group dba (areq-1)']);
    await relay.approver.decide('approved');
    await relay.wait;
    expect(notices(relay)).toEqual(['N SP003 approved (areq-1)']);
    jest.advanceTimersByTime(60_000);
    expect([notices(relay), jest.getTimerCount()]).toEqual([[], 0]);
  });

  test('is asked for as the approver must see it, literals hidden, and bound by its exact bytes', async () => {
    const relay = await holding("delete from t where name = 'Alice'");
    expect(relay.approver.asks[0]).toMatchObject({
      scope: 'Statement', target: 'orders-db', namespace: 'payments', database: 'orders', sessionId: '01SESSION', by: { policy: 'oncall', rule: 'deletes' }, approval: { groups: ['dba'], required: 2 },
      statement: { text: "delete from t where name = '?'", kind: 'Delete', objects: ['public.t'], searchPath: 'public', inTransaction: false, parameters: [] },
    });
    const other = await holding("delete from t where name = 'Bob'");
    expect(other.approver.asks[0]?.digest).not.toBe(relay.approver.asks[0]?.digest);
  });

  test.each([['denied', 'APPROVAL_DENIED', 'E 42501'], ['expired', 'APPROVAL_EXPIRED', 'E 57014'], ['withdrawn', 'APPROVAL_WITHDRAWN', 'E 57014']] as const)('that ends %s is refused with %s', async (outcome, code, error) => {
    const relay = await holding();
    await relay.approver.decide(outcome);
    await relay.wait;
    expect([relay.toServer(), codes(relay), relay.toClient().at(-2)?.slice(0, 7)]).toEqual([[], [['statement.held', null, 'areq-1'], ['statement.denied', code, 'areq-1']], error]);
    expect(relay.context.held).toBeNull();
  });

  test('that was superseded says so', async () => {
    const relay = await holding();
    await relay.approver.decide({ outcome: 'withdrawn', request: 'areq-1', code: 'APPROVAL_SUPERSEDED' });
    await relay.wait;
    expect(codes(relay).at(-1)).toEqual(['statement.denied', 'APPROVAL_SUPERSEDED', 'areq-1']);
  });

  test('that cannot be asked for is refused, and nobody waits', async () => {
    const relay = aRelay({ policies: policies as never });
    relay.approver.refuses = 'APPROVAL_UNAVAILABLE';
    await relay.client(write.query('delete from t'));
    expect([codes(relay), notices(relay), relay.toServer()]).toEqual([[['statement.denied', 'APPROVAL_UNAVAILABLE', null]], [], []]);
  });

  test('that nobody could see whole is refused', async () => {
    const relay = aRelay({ policies: policies as never });
    await relay.client(write.query(`delete from t where ${'a = 1 and '.repeat(4_000)} true`));
    expect([codes(relay), relay.approver.asks]).toEqual([[['statement.denied', 'APPROVAL_TOO_LARGE', null]], []]);
  });

  test('whose request was used before does not run a second time', async () => {
    const relay = await holding();
    relay.approver.usable = false;
    await relay.approver.decide('approved');
    await relay.wait;
    expect([relay.toServer(), codes(relay).at(-1)]).toEqual([[], ['statement.denied', 'APPROVAL_WITHDRAWN', 'areq-1']]);
  });

  test('that another session which shared its request ran first is asked for anew, and only the approval that was used is recorded', async () => {
    const relay = await holding();
    Object.assign(relay.approver, { usable: false, elsewhere: true });
    await relay.approver.decide('approved');
    Object.assign(relay.approver, { usable: true, elsewhere: false });
    await relay.approver.decide('approved');
    await relay.wait;
    expect([relay.toServer(), relay.approver.asks.length, relay.recorder.intents[0]?.approvals.map(({ request }) => request)]).toEqual([['Q delete from t'], 2, ['areq-2']]);
  });

  test('whose request another session took back is asked for anew', async () => {
    const relay = await holding();
    await relay.approver.decide({ outcome: 'withdrawn', request: 'areq-1', askAnew: true });
    await relay.approver.decide('approved');
    await relay.wait;
    expect([relay.toServer(), codes(relay)]).toEqual([['Q delete from t'], [['statement.held', null, 'areq-1'], ['statement.held', null, 'areq-2']]]);
  });

  test('that others are always faster with is refused in the end', async () => {
    const relay = await holding();
    Object.assign(relay.approver, { usable: false, elsewhere: true });
    for (let n = 0; n < 4; n++) await relay.approver.decide('approved');
    await relay.wait;
    expect([relay.toServer(), relay.approver.asks.length, codes(relay).at(-1)]).toEqual([[], 4, ['statement.denied', 'APPROVAL_WITHDRAWN', 'areq-4']]);
  });

  test('is asked for under each rule that matches, the strictest first, and forwarded when all have said yes', async () => {
    const relay = await holding('delete from ledger');
    await relay.approver.decide('approved');
    expect([relay.approver.asks.map(({ by }) => by.rule), relay.toServer()]).toEqual([['deletes', 'ledger'], []]);
    await relay.approver.decide('approved');
    await relay.wait;
    expect([relay.toServer(), relay.approver.used, relay.recorder.intents[0]?.approvals.map(({ request }) => request)]).toEqual([['Q delete from ledger'], 2, ['areq-1', 'areq-2']]);
  });

  test('that a Deny rule came to match while it waited is refused, and its approval is not used', async () => {
    const relay = await holding();
    relay.context.session.replacePermit(aRelay({ policies: { oncall: { rules: [...(policies?.['oncall']?.rules ?? []), { name: 'frozen', action: 'Deny', statements: ['Delete'], message: 'change freeze' }] } } }).context.session.permit);
    await relay.approver.decide('approved');
    await relay.wait;
    expect([relay.toServer(), relay.approver.used, codes(relay).at(-1)]).toEqual([[], 0, ['statement.denied', 'STATEMENT_DENIED', 'areq-1']]);
  });

  test('that a Deny rule came to match while the use of its approval was written is not forwarded', async () => {
    const relay = await holding();
    const frozen = aRelay({ policies: { oncall: { rules: [...(policies?.['oncall']?.rules ?? []), { name: 'frozen', action: 'Deny', statements: ['Delete'], message: 'change freeze' }] } } }).context.session.permit;
    relay.approver.whileUsing = () => relay.context.session.replacePermit(frozen);
    await relay.approver.decide('approved');
    await relay.wait;
    expect([relay.toServer(), relay.recorder.intents, codes(relay).at(-1)]).toEqual([[], [], ['statement.denied', 'STATEMENT_DENIED', 'areq-1']]);
  });

  test('whose policies changed while the use of its approval was written, and still allow it, goes on', async () => {
    const relay = await holding();
    relay.approver.whileUsing = () => relay.context.session.replacePermit(relay.context.session.permit);
    await relay.approver.decide('approved');
    await relay.wait;
    expect([relay.toServer(), relay.approver.used, relay.recorder.intents[0]?.approvals.map(({ request }) => request)]).toEqual([['Q delete from t'], 1, ['areq-1']]);
  });

  test('that a grant covers meanwhile is forwarded after its answer, and the grant covers the next one', async () => {
    const windowed: RelayOptions = { policies: { oncall: { rules: [{ name: 'all', action: 'Allow' }, { name: 'deletes', action: 'RequireApproval', statements: ['Delete'], approval: { groups: ['dba'], scope: 'Window', ttl: 3600 } }] } } };
    const relay = await holding('delete from t', windowed);
    relay.approver.activeGrants = [aGrant({ policy: 'oncall', rule: 'deletes', until: '2030-01-01T00:00:00Z' })];
    await relay.approver.decide({ outcome: 'approved', request: 'areq-1', requestUid: 'u', approvers: [], grant: relay.approver.activeGrants[0] ?? null });
    await relay.wait;
    await relay.client(write.query('delete from t'));
    expect([relay.toServer(), relay.approver.asks.length]).toEqual([['Q delete from t', 'Q delete from t'], 1]);
  });

  test('ends with the session, and its request is withdrawn', async () => {
    const relay = await holding();
    relay.context.end({ reason: 'Revoked', denial: deny('SESSION_REVOKED') });
    await relay.wait;
    expect([relay.toServer(), relay.approver.withdrawn, codes(relay).at(-1)]).toEqual([[], ['SESSION_REVOKED'], ['statement.denied', 'SESSION_REVOKED', 'areq-1']]);
  });

  test('whose hold cannot be recorded does not wait: its request is withdrawn', async () => {
    const relay = aRelay({ policies: policies as never });
    relay.recorder.failure = 'STORAGE_FULL';
    await expect(relay.client(write.query('delete from t'))).rejects.toThrow('STORAGE_FULL');
    expect([relay.approver.withdrawn, relay.toServer(), relay.context.held]).toEqual([['RECORDER_FAILED'], [], null]);
  });

  test('of a statement that a session ended before it was asked for never waits', async () => {
    const relay = aRelay({ policies: policies as never });
    relay.inspector.slow = true;
    const wait = relay.client(write.query('delete from t'));
    relay.context.end({ reason: 'Revoked', denial: deny('SESSION_REVOKED') });
    await wait;
    expect([relay.toServer(), relay.approver.asks.length === relay.approver.withdrawn.length]).toEqual([[], true]);
  });

  test('in a transaction keeps its locks, and says so', async () => {
    const relay = aRelay({ policies: policies as never });
    await relay.client(write.query('begin'));
    relay.server(backend.complete('BEGIN'), backend.ready('T'));
    const wait = relay.client(write.query('delete from t'));
    await settled();
    expect(relay.approver.asks[0]?.statement?.inTransaction).toBe(true);
    await relay.approver.decide('denied');
    await wait;
  });
});

describe('the words of a hold', () => {
  const notice = { kind: 'held', request: 'areq-7', groups: ['dba'], required: 1, by: { policy: 'oncall', policyUid: 'u', policyGeneration: 1, policyDigest: 'd', rule: 'deletes' }, decideByMs: Date.UTC(2026, 0, 2), howToDecide: 'sallyport approve areq-7', locksKept: false } as const;

  test('name groups, rule, time and command', () => {
    expect(holdWords(notice)).toEqual({ message: 'statement held: waiting for approval by group dba (areq-7)', detail: 'policy "oncall", rule "deletes"; to be decided by 2026-01-02T00:00:00.000Z', hint: 'an approver can run: sallyport approve areq-7' });
    expect(holdWords({ ...notice, kind: 'waiting', groups: ['dba', 'sre'], required: 1, locksKept: true })).toEqual({
      message: 'still waiting for approval by one of the groups dba, sre (areq-7)', detail: 'policy "oncall", rule "deletes"; to be decided by 2026-01-02T00:00:00.000Z; locks of your transaction are kept', hint: 'an approver can run: sallyport approve areq-7',
    });
    expect(holdWords({ ...notice, kind: 'released', by: { ...notice.by, rule: null } })).toEqual({ message: 'approved (areq-7)', detail: 'policy "oncall"', hint: null });
  });
});

test('an approval covers what was shown: a statement that is refused by its own facts by then is not forwarded', async () => {
  const relay = await holding();
  relay.inspector.answers.set('delete from t', { outcome: 'read', statements: [aStatement('delete from t', { refusal: deny('SETTING_REFUSED') })] });
  await relay.approver.decide('approved');
  await relay.wait;
  expect([relay.toServer(), codes(relay).at(-1)]).toEqual([[], ['statement.denied', 'SETTING_REFUSED', 'areq-1']]);
});
