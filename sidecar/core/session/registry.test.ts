import { beforeEach, describe, expect, test } from '@jest/globals';
import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import { fakeClock } from '../../../tools/testkit/fake-clock.ts';
import { aConfig, anIdentity, aPolicy, type ShortPolicy } from '../../../tools/testkit/policies.ts';
import { mapClaims } from '../identity/map-claims.ts';
import { SessionRegistry } from './registry.ts';
import type { SessionEnd } from './session.ts';

// 2025-06-02 is a Monday.
const start = Date.parse('2025-06-02T17:00:00Z');
let clock: ReturnType<typeof fakeClock>;
let config: ProxyConfig;
let changed: () => void;
let registry: SessionRegistry;
let closed: 'CONFIG_STALE' | null;

beforeEach(() => {
  clock = fakeClock(start);
  closed = null;
  registry = new SessionRegistry({
    clock, maxSessions: 3, closed: () => closed, log: { error: () => undefined, info: () => undefined, debug: () => undefined },
    config: { current: () => ({ config, revision: 1 }), subscribe: (listener) => { changed = listener; return () => undefined; } },
    approver: { ask: () => Promise.reject(new Error('nobody asks here')), grants: () => [], howToDecide: () => '', subscribe: () => () => undefined },
  });
});

/** A session as a protocol would run it; `busy` and `held` are switched by the test. */
function open(policy: ShortPolicy, identity = anIdentity(), id = 's1') {
  config = aConfig([aPolicy('oncall', policy)]);
  const outcome = registry.open(identity, 'orders-db', 'orders', id);
  if (outcome.outcome !== 'opened') throw new Error(outcome.outcome === 'denied' ? outcome.denial.code : outcome.outcome);
  const { session } = outcome;
  const seen = { session, busy: false, held: false, inTransaction: false, notices: [] as string[], ended: null as SessionEnd | null };
  session.attach({ isBusy: () => seen.busy || seen.held, isHeld: () => seen.held, isInTransaction: () => seen.inTransaction, warn: (message) => seen.notices.push(message), end: (cause) => { seen.ended = cause; } });
  return seen;
}

function pass(ms: number): void {
  for (let left = ms; left > 0; left -= 200) {
    clock.advance(200);
    registry.tick();
  }
}

const codeOf = (seen: { readonly ended: SessionEnd | null }): string | null => seen.ended?.denial.code ?? null;

describe('a session ends', () => {
  test('with its token, within a second', () => {
    const seen = open({}, anIdentity({ expires: '2025-06-02T17:00:30Z' }));
    pass(29_800);
    expect(codeOf(seen)).toBeNull();
    pass(400);
    expect(seen.ended).toMatchObject({ reason: 'Expired', denial: { code: 'SESSION_EXPIRED', detail: 'the token has expired' } });
  });

  test('with the time window of its policy', () => {
    const seen = open({ when: ['Mon 07:00-13:01 America/New_York'] });
    pass(59_800);
    expect(codeOf(seen)).toBeNull();
    pass(400);
    expect(seen.ended).toMatchObject({ reason: 'Expired', denial: { detail: 'the time window of the policy has ended' } });
  });

  test('after the duration of its policy, by the monotonic clock: a wall clock that goes back lengthens nothing', () => {
    const seen = open({ limits: { sessionSeconds: 60 } });
    clock.jump(-3_600_000);
    pass(60_000);
    expect(seen.ended).toMatchObject({ reason: 'Expired', denial: { detail: 'the policy allows sessions of 60 s' } });
  });

  test('when it is idle for too long, and what runs or is held is not idle', () => {
    const seen = open({ limits: { idleSeconds: 2 } });
    seen.busy = true;
    pass(10_000);
    seen.busy = false;
    seen.held = true;
    pass(10_000);
    expect(codeOf(seen)).toBeNull();
    seen.held = false;
    seen.session.lastActivityMs = clock.monotonicMs();
    pass(2_000);
    expect(seen.ended).toMatchObject({ reason: 'Idle', denial: { code: 'SESSION_IDLE' } });
  });

  test.each<[string, (before: ProxyConfig) => ProxyConfig, string]>([
    ['its policy is gone', (before) => ({ ...before, policies: [] }), 'Revoked'],
    ['its policy names others', (before) => ({ ...before, policies: [aPolicy('oncall', { subjects: ['group:others'], generation: 2 })] }), 'Revoked'],
    ['its identity provider is gone', (before) => ({ ...before, identityProviders: [] }), 'Revoked'],
    ['its target is gone', (before) => ({ ...before, targets: [] }), 'PolicyChanged'],
    ['its target leads elsewhere', (before) => ({ ...before, targets: before.targets.map((target) => ('postgres' in target ? { ...target, postgres: { ...target.postgres, host: 'other' } } : target)) }), 'PolicyChanged'],
  ])('at once when %s', (_what, change, reason) => {
    const seen = open({});
    config = change(config);
    changed();
    expect(seen.ended).toMatchObject({ reason, denial: { code: 'SESSION_REVOKED' } });
  });

  test.each<[string, Partial<ProxyConfig['identityProviders'][number]>, string | null]>([
    ['its provider names people in another way', { usernamePrefix: 'idp:' }, 'SESSION_REVOKED'],
    ['its provider takes groups from another claim', { groupsClaim: 'roles' }, 'SESSION_REVOKED'],
    ['its provider takes no tokens for that audience any more', { audiences: ['other'] }, 'SESSION_REVOKED'],
    ['its provider takes tokens for one more audience, and that is no reason', { audiences: ['other', 'sallyport'], clockSkewSeconds: 1 }, null],
  ])('when %s', (_what, change, code) => {
    const provider = aConfig([]).identityProviders[0];
    if (provider === undefined) throw new Error('no provider');
    const mapped = mapClaims({ sub: 'ann', email: 'ann', preferred_username: 'ann', groups: ['staff'], aud: ['sallyport'], exp: 1_900_000_000 }, { ...provider, audiences: ['sallyport'] });
    if (mapped.outcome !== 'mapped') throw new Error(mapped.denial.code);
    const seen = open({}, mapped.identity);
    config = { ...config, identityProviders: [{ ...provider, audiences: ['sallyport'], ...change }] };
    changed();
    expect(codeOf(seen)).toBe(code);
  });

  test('when the decision about it fails, and that keeps no other session from being decided on', () => {
    const [broken, revoked] = [open({}, anIdentity(), 'broken'), open({}, anIdentity({ user: 'bob' }), 'revoked')];
    broken.session.replacePermit = () => { throw new Error('a bug'); };
    revoked.session.replacePermit = () => { throw new Error('a bug'); };
    changed();
    expect([broken, revoked].map((seen) => [seen.ended?.reason, codeOf(seen)])).toEqual([['Revoked', 'SESSION_REVOKED'], ['Revoked', 'SESSION_REVOKED']]);
  });

  test('not when its policy changes and still allows it: the new limits count from then on', () => {
    const seen = open({});
    config = aConfig([aPolicy('oncall', { limits: { rowsPerStatement: 5 }, generation: 2 })]);
    changed();
    expect([codeOf(seen), seen.session.permit.limits.rowsPerStatement]).toEqual([null, 5]);
  });
});

describe('five minutes before a known end', () => {
  test('the user is told once', () => {
    const seen = open({ limits: { sessionSeconds: 900 } });
    pass(599_800);
    expect(seen.notices).toEqual([]);
    pass(100_000);
    expect(seen.notices).toEqual(['this session ends in 5 minutes: the policy allows sessions of 900 s']);
  });

  test('nothing is said in a session that is shorter anyway', () => {
    const seen = open({}, anIdentity({ expires: '2025-06-02T17:04:00Z' }));
    pass(230_000);
    expect([seen.notices, codeOf(seen)]).toEqual([[], null]);
  });
});

test('at the deadline of a drain everything ends', () => {
  const running = open({}, anIdentity(), 'running');
  running.busy = true;
  expect(registry.draining).toBe(false);
  registry.drain(0);
  expect([registry.draining, codeOf(running)]).toEqual([true, null]);
  registry.endAll();
  expect(running.ended).toMatchObject({ reason: 'ProxyShutdown', denial: { code: 'DRAINING' } });
});

describe('draining', () => {
  test('ends what is idle at once, what runs or has an open transaction as soon as that is over, and admits nobody', () => {
    const [idle, pending, running] = [open({}, anIdentity(), 'idle'), open({}, anIdentity(), 'open'), open({}, anIdentity(), 'running')];
    pending.inTransaction = true;
    running.busy = true;
    registry.drain(30_000);
    expect([idle, pending, running].map(codeOf)).toEqual(['DRAINING', null, null]);
    pass(60_000);
    expect([pending, running].map(codeOf)).toEqual([null, null]);
    running.busy = false;
    pending.inTransaction = false;
    pass(200);
    expect([pending, running].map(codeOf)).toEqual(['DRAINING', 'DRAINING']);
    expect(registry.open(anIdentity(), 'orders-db', 'orders', 'late')).toMatchObject({ outcome: 'denied', denial: { code: 'DRAINING' } });
  });
});

describe('a statement that is held while the gateway drains', () => {
  test('may be approved until its time, then its session ends', () => {
    const held = open({});
    held.held = true;
    registry.drain(10_000);
    pass(9_800);
    expect(codeOf(held)).toBeNull();
    pass(200);
    expect(codeOf(held)).toBe('DRAINING');
  });

  test('is given up at once where there is no time left', () => {
    const held = open({});
    held.held = true;
    registry.drain(-5_000);
    expect(codeOf(held)).toBe('DRAINING');
  });
});

test('while the process is closed nobody is admitted, and live sessions go on', () => {
  const seen = open({});
  closed = 'CONFIG_STALE';
  pass(1_000);
  expect(codeOf(seen)).toBeNull();
  expect(registry.open(anIdentity(), 'orders-db', 'orders', 'late')).toMatchObject({ outcome: 'denied', denial: { code: 'CONFIG_STALE' } });
  closed = null;
  expect(registry.open(anIdentity(), 'orders-db', 'orders', 'later').outcome).toBe('opened');
});

test('two logins at once cannot pass a limit of one session', () => {
  config = aConfig([aPolicy('oncall', { limits: { concurrentSessions: 1 } })]);
  const first = registry.open(anIdentity(), 'orders-db', 'orders', 'a');
  expect(registry.open(anIdentity(), 'orders-db', 'orders', 'b')).toMatchObject({ outcome: 'denied', denial: { code: 'SESSION_LIMIT_REACHED' } });
  expect(registry.open(anIdentity({ user: 'bob' }), 'orders-db', 'orders', 'other').outcome).toBe('opened');
  if (first.outcome === 'opened') registry.remove(first.session);
  expect(registry.open(anIdentity(), 'orders-db', 'orders', 'c').outcome).toBe('opened');
});
