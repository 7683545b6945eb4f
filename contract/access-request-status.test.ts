import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { accessRequestStatus, type CountedDecision, type CountedRequest, isSameParty, type RequestEnding, unusedStatementTtlMs } from './access-request-status.ts';

const request: CountedRequest = {
  uid: 'u1', digest: 'd1', scope: 'Statement', requester: { key: 'alice', actorKeys: ['robot'] }, groups: ['dba', 'leads'], required: 1, createdAtMs: 0, decideByMs: 1_000, grantTtlMs: null,
};
const window = { ...request, scope: 'Window' as const, grantTtlMs: 5_000 };
const used: RequestEnding = { kind: 'Used', atMs: 60 };

describe('the phase', () => {
  test.each<[string, CountedRequest, CountedDecision[], RequestEnding | null, number, unknown]>([
    ['pending until decided', request, [], null, 999, { phase: 'Pending', approvals: 0, nextDeadlineMs: 1_000, expiresAtMs: null }],
    ['expired at its deadline', request, [], null, 1_000, { phase: 'Expired', nextDeadlineMs: null }],
    ['pending below the quorum', { ...request, required: 2 }, [by('bob')], null, 100, { phase: 'Pending', approvals: 1, required: 2 }],
    ['approved by a quorum of two people', { ...request, required: 2 }, [by('bob'), by('carol', 'Approve', 60)], null, 100, { phase: 'Approved', approvals: 2, decidedAtMs: 60 }],
    ['an approved statement that is not used expires', request, [by('bob')], null, 50 + unusedStatementTtlMs, { phase: 'Expired' }],
    ['used once', request, [by('bob')], used, 100, { phase: 'Used', nextDeadlineMs: null }],
    ['denied by one', { ...request, required: 2 }, [by('bob'), by('carol', 'Deny', 60), by('dave', 'Approve', 70)], null, 100, { phase: 'Denied', decidedAtMs: 60 }],
    ['denied when approved in the same instant', request, [by('bob'), by('carol', 'Deny', 50)], null, 100, { phase: 'Denied' }],
    ['a denial after the approval comes too late', request, [by('bob'), by('carol', 'Deny', 51)], null, 100, { phase: 'Approved', ignored: [{ uid: 'carol-Deny-51', reason: 'AfterFinal' }] }],
    ['revoked', request, [by('bob'), by('carol', 'Revoke', 50)], null, 100, { phase: 'Revoked' }],
    ['revoked however the decisions are listed', request, [by('carol', 'Revoke', 50), by('bob')], null, 100, { phase: 'Revoked' }],
    ['a revocation of nothing counts for nothing', request, [by('carol', 'Revoke', 40)], null, 100, { phase: 'Pending', ignored: [{ uid: 'carol-Revoke-40', reason: 'TooLate' }] }],
    ['withdrawn', request, [], { kind: 'Withdrawn', atMs: 40 }, 100, { phase: 'Withdrawn' }],
    ['withdrawn, whatever is decided later', request, [by('bob'), by('carol', 'Deny', 50)], { kind: 'Withdrawn', atMs: 40 }, 100, { phase: 'Withdrawn' }],
    ['superseded after the approval', request, [by('bob')], { kind: 'Superseded', atMs: 90 }, 100, { phase: 'Superseded' }],
    ['a window until its end', window, [by('bob')], null, 5_049, { phase: 'Approved', expiresAtMs: 5_050, nextDeadlineMs: 5_050 }],
    ['a window ends', window, [by('bob')], null, 5_050, { phase: 'Expired', expiresAtMs: null }],
    ['a used session grant until its end', { ...window, scope: 'Session' }, [by('bob')], used, 100, { phase: 'Used', expiresAtMs: 5_050 }],
    ['a used session grant can be revoked', { ...window, scope: 'Session' }, [by('bob'), by('carol', 'Revoke', 70)], used, 100, { phase: 'Revoked' }],
  ])('%s', (_name, asked, decisions, ending, nowMs, expected) => {
    expect(accessRequestStatus(asked, decisions, ending, nowMs)).toMatchObject(expected as object);
  });
});

describe('a decision is ignored', () => {
  test.each<[string, Partial<CountedDecision>, string]>([
    ['for another request', { requestUid: 'u2' }, 'UIDMismatch'],
    ['on another digest', { digest: 'd2' }, 'DigestMismatch'],
    ['of the requester (A3)', { by: { key: 'alice', actorKeys: [] } }, 'SelfApproval'],
    ['of the agent of the requester (A3)', { by: { key: 'robot', actorKeys: [] } }, 'SelfApproval'],
    ['through the agent of the requester (A3)', { by: { key: 'bob', actorKeys: ['robot'] } }, 'SelfApproval'],
    ['of another group', { groups: ['sre'] }, 'NotInApproverGroup'],
    ['at the deadline', { decidedAtMs: 1_000 }, 'TooLate'],
  ])('%s', (_name, change, reason) => {
    expect(accessRequestStatus(request, [{ ...by('bob'), ...change }], null, 100)).toMatchObject({ phase: 'Pending', approvals: 0, counted: [], ignored: [{ reason }] });
  });

  test('when its author has approved before', () => {
    expect(accessRequestStatus({ ...request, required: 2 }, [by('bob'), by('bob', 'Approve', 60)], null, 100)).toMatchObject({ phase: 'Pending', approvals: 1, ignored: [{ reason: 'Duplicate' }] });
  });
});

test('a quorum needs that many people, in whatever groups they are and however often they say so (A4)', () => {
  const decision = fc.record({ who: fc.constantFrom('p1', 'p2', 'p3', 'p4', 'alice', 'robot'), groups: fc.subarray(['dba', 'leads', 'sre']), atMs: fc.integer({ min: 0, max: 900 }) });
  fc.assert(fc.property(fc.array(decision, { maxLength: 12 }), fc.integer({ min: 1, max: 4 }), (said, required) => {
    const decisions = said.map((one, index) => ({ ...by(one.who, 'Approve', one.atMs), uid: String(index), groups: one.groups }));
    const people = new Set(said.filter((one) => one.who.startsWith('p') && one.groups.some((group) => group !== 'sre')).map((one) => one.who));
    const status = accessRequestStatus({ ...request, required }, decisions, null, 950);
    expect(status.phase).toBe(people.size >= required ? 'Approved' : 'Pending');
    expect(status.counted.length + status.ignored.length).toBe(decisions.length);
  }));
});

test('two parties are the same when they share a person or an agent', () => {
  expect([isSameParty({ key: 'a', actorKeys: ['x'] }, { key: 'b', actorKeys: ['x'] }), isSameParty({ key: 'a', actorKeys: [] }, { key: 'b', actorKeys: [] }), isSameParty({ key: 'a', actorKeys: ['x'] }, { key: 'x', actorKeys: [] })]).toEqual([true, false, true]);
});

function by(key: string, decision: CountedDecision['decision'] = 'Approve', decidedAtMs = 50): CountedDecision {
  return { uid: `${key}-${decision}-${decidedAtMs}`, requestUid: 'u1', digest: 'd1', decision, by: { key, actorKeys: [] }, groups: ['dba'], decidedAtMs };
}
