import { beforeEach, describe, expect, test } from '@jest/globals';
import { aLog, anOffer, aProxyConfigObject } from '../../../tools/testkit/cluster-config.ts';
import { type FakeClock, fakeClock } from '../../../tools/testkit/fake-clock.ts';
import { aConfig, anIdentity, aPolicy, aRule, aTarget, readCommand } from '../../../tools/testkit/policies.ts';
import { authorize } from '../../core/policy/authorize.ts';
import { reviewCommand } from '../../core/policy/review-command.ts';
import { ConfigHolder } from './config-holder.ts';
import type { Staleness } from './staleness.ts';

let clock: FakeClock;
let log: ReturnType<typeof aLog>;
let swaps: number;

beforeEach(() => {
  clock = fakeClock();
  log = aLog();
  swaps = 0;
});

function aHolder(staleness: Staleness = 'KeepLast'): ConfigHolder {
  const holder = new ConfigHolder({ namespace: 'payments', pod: 'pod-a', staleness, maxStaleMs: 900_000, clock, log });
  holder.subscribe(() => { swaps++; });
  return holder;
}

describe('the config in force', () => {
  test('is absent until one is offered, and follows newer ones', () => {
    const holder = aHolder();
    expect([holder.current(), holder.staleMs()]).toEqual([null, Infinity]);
    holder.offer(aProxyConfigObject(anOffer(1)), false);
    holder.offer(aProxyConfigObject(anOffer(2)), false);
    holder.offer(aProxyConfigObject(anOffer(2), { resourceVersion: '3' }), false);
    expect([holder.current()?.config.policies[0]?.name, holder.current()?.revision, swaps]).toEqual(['p2', 2, 2]);
  });

  test('stays when an older revision comes from a cache, and that is told to whoever can ask again', () => {
    const holder = aHolder();
    holder.offer(aProxyConfigObject(anOffer(7)), false);
    expect(holder.offer(aProxyConfigObject(anOffer(6)), false)).toBe('doubtful');
    expect([holder.state().inForce?.revision, holder.state().rejected, swaps]).toEqual([7, null, 1]);
  });

  test('stays when it went back for certain, and the refusal is kept until a newer one comes', () => {
    const holder = aHolder();
    holder.offer(aProxyConfigObject(anOffer(7)), false);
    holder.offer(aProxyConfigObject(anOffer(6), { resourceVersion: '9' }), true);
    expect(holder.state()).toMatchObject({ inForce: { revision: 7 }, rejected: { revision: 6, reason: 'RevisionGoesBack' } });
    holder.offer(aProxyConfigObject(anOffer(8), { resourceVersion: '10' }), false);
    expect(holder.state()).toMatchObject({ inForce: { revision: 8 }, rejected: null });
  });

  test('stays when what is offered cannot be read; that is logged once', () => {
    const holder = aHolder();
    holder.offer(aProxyConfigObject(anOffer(1)), false);
    for (let i = 0; i < 3; i++) holder.offer(aProxyConfigObject(anOffer(2, { config: '{}' })), false);
    expect(holder.state()).toMatchObject({ inForce: { revision: 1 }, rejected: { revision: 2, reason: 'HashMismatch' } });
    expect(log.lines.filter((line) => line.startsWith('error'))).toHaveLength(1);
  });

  test('reaches everybody who follows it, though one of them fails: a revocation must not end there', () => {
    const holder = aHolder();
    const told: string[] = [];
    holder.subscribe(() => { throw new Error('the first follower'); });
    holder.subscribe(() => told.push('config'));
    holder.onStatus(() => { throw new Error('the second follower'); });
    holder.onStatus(() => told.push('status'));
    expect(holder.offer(aProxyConfigObject(anOffer(1)), false)).toBe('taken');
    expect(told).toEqual(['config', 'status']);
    expect(log.lines.filter((line) => line.startsWith('error'))).toEqual(['error config change not followed {"error":"the first follower"}', 'error config change not followed {"error":"the second follower"}']);
  });

  test('is never taken from an object of another name or shape', () => {
    const holder = aHolder();
    const object = aProxyConfigObject(anOffer(1));
    holder.offer({ ...object, metadata: { ...object.metadata, name: 'else' } }, false);
    holder.offer({ metadata: object.metadata, spec: { revision: '1' } }, false);
    expect(holder.current()).toBeNull();
  });
});

describe('the status', () => {
  const status = {
    conditions: [{ type: 'Programmed', status: 'False' }, { type: 'ApprovalIntegrity', status: 'True' }], integrityCheckedAt: '2026-01-01T00:00:00Z', integritySince: '2025-12-31T00:00:00Z',
    proxies: [{ pod: 'pod-b', revision: 1 }, { pod: 'pod-a', revision: 9 }],
  };

  test('says whether approvals are protected, since when, and what this pod last said', () => {
    const holder = aHolder();
    expect(holder.integrity()).toEqual({ holds: false, checkedAtMs: null, sinceMs: null });
    let told = 0;
    holder.onStatus(() => { told++; });
    holder.offer(aProxyConfigObject(anOffer(1), { status }), false);
    expect(holder.integrity()).toEqual({ holds: true, checkedAtMs: Date.parse('2026-01-01T00:00:00Z'), sinceMs: Date.parse('2025-12-31T00:00:00Z') });
    expect([holder.storedAck(), told]).toEqual([{ pod: 'pod-a', revision: 9 }, 1]);
  });

  test('of an older copy is not believed', () => {
    const holder = aHolder();
    holder.offer(aProxyConfigObject(anOffer(1), { resourceVersion: '20' }), false);
    expect(holder.offer(aProxyConfigObject(anOffer(1), { resourceVersion: '19', status }), false)).toBe('doubtful');
    expect(holder.integrity().holds).toBe(false);
    holder.offer(aProxyConfigObject(anOffer(1), { resourceVersion: '19', status }), true);
    expect(holder.integrity().holds).toBe(true);
  });

  test.each([[{}], [{ conditions: 'x', proxies: 3, integrityCheckedAt: 'never' }], [{ conditions: [{ type: 'ApprovalIntegrity', status: 'Unknown' }] }]])('that says nothing of it protects nothing: %j', (odd) => {
    const holder = aHolder();
    holder.offer(aProxyConfigObject(anOffer(1), { status: odd }), false);
    expect([holder.integrity(), holder.storedAck()]).toEqual([{ holds: false, checkedAtMs: null, sinceMs: null }, null]);
  });
});

describe('after a quarter of an hour without the API server', () => {
  const policy = aPolicy('work', { rules: [{ name: 'all', action: 'Allow' }] });
  const offer = anOffer(1, { parsed: aConfig([policy, aPolicy('other')]) });

  test('the config stays by default', () => {
    const holder = aHolder();
    holder.offer(aProxyConfigObject(offer), false);
    holder.contact();
    clock.advance(86_400_000);
    holder.tick();
    expect([holder.deniesNew(), swaps, holder.staleMs()]).toEqual([false, 1, 86_400_000]);
  });

  test('with DenyNew nobody is admitted until it is heard again', () => {
    const holder = aHolder('DenyNew');
    holder.offer(aProxyConfigObject(offer), false);
    holder.contact();
    clock.advance(900_000);
    expect(holder.deniesNew()).toBe(false);
    clock.advance(1);
    expect(holder.deniesNew()).toBe(true);
    holder.contact();
    expect(holder.deniesNew()).toBe(false);
  });

  test('with DenyWrites what writes is denied in every session until it is heard again', () => {
    const holder = aHolder('DenyWrites');
    holder.offer(aProxyConfigObject(offer), false);
    holder.contact();
    const decide = (kind: 'Select' | 'Delete'): string => {
      const { config } = holder.current() ?? { config: aConfig([]) };
      const outcome = authorize({ identity: anIdentity(), target: aTarget(), database: 'orders', config, nowMs: clock.now(), grants: [], openSessions: 0 });
      if (outcome.outcome !== 'allowed') return outcome.outcome;
      return reviewCommand(readCommand('orders', [`${kind} public.t`]), outcome.permit, { nowMs: clock.now(), grants: [], sessionId: 's' }).effect;
    };
    expect([decide('Select'), decide('Delete')]).toEqual(['Allow', 'Allow']);
    clock.advance(900_001);
    holder.tick();
    expect([decide('Select'), decide('Delete'), swaps]).toEqual(['Allow', 'Deny', 2]);
    expect(holder.state().inForce?.parsed.policies[0]?.rules).toEqual([aRule({ name: 'all', action: 'Allow' })]);
    holder.contact();
    expect([decide('Delete'), swaps]).toEqual(['Allow', 3]);
  });
});

describe('a snapshot', () => {
  const accepted = { ...anOffer(3), parsed: aConfig([aPolicy('p3')]) };

  test('is put in force with the age of its last contact', () => {
    const holder = aHolder();
    clock.advance(1);
    holder.restore({ accepted, lastContactMs: clock.now() - 60_000 });
    expect([holder.state().inForce?.revision, holder.staleMs()]).toEqual([3, 60_000]);
  });

  test('never replaces what the API server said', () => {
    const holder = aHolder();
    holder.offer(aProxyConfigObject(anOffer(2)), false);
    holder.restore({ accepted, lastContactMs: clock.now() });
    expect(holder.state().inForce?.revision).toBe(2);
  });
});
