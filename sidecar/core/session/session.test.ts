import { describe, expect, test } from '@jest/globals';
import { fakeClock } from '../../../tools/testkit/fake-clock.ts';
import { aGrant, anIdentity, aPolicy, readCommand, type ShortPolicy } from '../../../tools/testkit/policies.ts';
import { aPermit } from '../../../tools/testkit/relay-context.ts';
import { deny } from '../errors.ts';
import { subjectKey } from '../identity/identity.ts';
import { Session, type SessionEnd } from './session.ts';

const clock = fakeClock();
const permit = (policy: ShortPolicy): ReturnType<typeof aPermit> => aPermit([aPolicy('oncall', policy)], clock.now());
const aSession = (policy: ShortPolicy): Session => new Session('s1', permit(policy), clock);
const reads: ShortPolicy = { rules: [{ name: 'reads', action: 'Allow', statements: ['Select'] }] };
const asks: ShortPolicy = { rules: [{ name: 'deletes', action: 'RequireApproval', statements: ['Delete'], approval: { groups: ['dba'], scope: 'Session', ttl: 60 } }] };
const select = readCommand('orders', ['Select public.t Present']);
const remove = readCommand('orders', ['Delete public.t Present']);
const grant = aGrant({ policy: 'oncall', rule: 'deletes', scope: 'Session', session: 's1', until: '2030-01-01T00:00:00Z' });

describe('a session', () => {
  test('knows its identity, subject, permit and when it began', () => {
    const session = aSession(reads);
    expect(session).toMatchObject({ id: 's1', identity: anIdentity(), subject: subjectKey(anIdentity()), startedAtMs: clock.now(), startedMonotonicMs: clock.monotonicMs(), lastActivityMs: clock.monotonicMs(), ended: null, permitVersion: 0 });
  });

  test('decides on a command once, and again when its permit is replaced', () => {
    const session = aSession(reads);
    const first = session.decide(select, clock.now(), []);
    expect([first.effect, session.decide(select, clock.now(), []) === first]).toEqual(['Allow', true]);
    session.replacePermit(permit({ rules: [{ name: 'nothing', action: 'Deny', statements: ['Select'] }, { name: 'rest', action: 'Allow' }] }));
    expect([session.decide(select, clock.now(), []).effect, session.permitVersion]).toEqual(['Deny', 1]);
  });

  test('decides anew when grants change: what one covered is asked for again', () => {
    const session = aSession(asks);
    expect(session.decide(remove, clock.now(), [grant]).effect).toBe('Allow');
    session.forgetDecisions();
    expect(session.decide(remove, clock.now(), []).effect).toBe('RequireApproval');
  });

  test('takes only grants that serve it: not those of another session, person or agent', () => {
    const others = [{ ...grant, sessionId: 's2' }, aGrant({ policy: 'oncall', rule: 'deletes', user: 'bob', until: '2030-01-01T00:00:00Z' }), aGrant({ policy: 'oncall', rule: 'deletes', actors: ['bot'], until: '2030-01-01T00:00:00Z' })];
    expect(others.map((other) => aSession(asks).decide(remove, clock.now(), [other]).effect)).toEqual(['RequireApproval', 'RequireApproval', 'RequireApproval']);
  });

  test('keeps no decision that an approval of one statement gave', () => {
    const session = aSession(asks);
    const asked = session.decide(remove, clock.now(), []);
    if (asked.effect !== 'RequireApproval') throw new Error('not asked');
    expect([session.decideApproved(remove, clock.now(), [], [asked.by]).effect, session.decide(remove, clock.now(), []).effect]).toEqual(['Allow', 'RequireApproval']);
  });
});

describe('its protocol', () => {
  const revoked: SessionEnd = { reason: 'Revoked', denial: deny('SESSION_REVOKED') };
  const idle: SessionEnd = { reason: 'Idle', denial: deny('SESSION_IDLE') };
  const attach = (session: Session): { readonly ends: SessionEnd[]; readonly notices: string[]; busy: boolean; held: boolean; inTransaction: boolean } => {
    const seen = { ends: [] as SessionEnd[], notices: [] as string[], busy: false, held: false, inTransaction: false };
    session.attach({ isBusy: () => seen.busy, isHeld: () => seen.held, isInTransaction: () => seen.inTransaction, warn: (message) => void seen.notices.push(message), end: (cause) => void seen.ends.push(cause) });
    return seen;
  };

  test('is told the first cause of the end, once', () => {
    const session = aSession(reads);
    const seen = attach(session);
    session.end(revoked);
    session.end(idle);
    expect([seen.ends, session.ended]).toEqual([[revoked], revoked]);
  });

  test('that comes after the end is ended at once', () => {
    const session = aSession(reads);
    session.end(revoked);
    expect(attach(session).ends).toEqual([revoked]);
  });

  test('says what is going on; before it is there, a session counts as busy: its target is being reached', () => {
    const session = aSession(reads);
    expect([session.isBusy(), session.isHeld(), session.isInTransaction()]).toEqual([true, false, false]);
    session.warn('nobody hears this');
    const seen = attach(session);
    expect(session.isBusy()).toBe(false);
    seen.busy = seen.held = seen.inTransaction = true;
    session.warn('soon');
    expect([session.isBusy(), session.isHeld(), session.isInTransaction(), seen.notices]).toEqual([true, true, true, ['soon']]);
  });
});
