import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { allocatePorts, restMs } from './allocate-ports.ts';
import type { Listener, PortClaim } from './allocate-ports.ts';

const range = { first: 20_000, last: 29_999 };
const now = Date.parse('2026-11-24T12:00:00Z');
const claim = (target: string, hints: readonly number[] = [], uid = `uid-${target}`): PortClaim => ({ target, uid, hints });
const portOf = (plan: { readonly ports: ReadonlyMap<string, number> }, target: string): number | undefined => plan.ports.get(target);

describe('a Target', () => {
  test('keeps the port that the ProxyConfig says', () => {
    expect(allocatePorts([{ port: 20_017, target: 'a', targetUID: 'uid-a' }], [claim('a')], range, now).listeners).toEqual([{ port: 20_017, target: 'a', targetUID: 'uid-a' }]);
  });
  test('of the same name and another uid gets another port, and the old one rests', () => {
    const plan = allocatePorts([{ port: 20_017, target: 'a', targetUID: 'old' }], [claim('a', [20_017])], range, now);
    expect(plan.listeners.find((listener) => listener.port === 20_017)).toEqual({ port: 20_017, target: 'a', targetUID: 'old', releasedAt: '2026-11-24T12:00:00Z' });
    expect(portOf(plan, 'a')).not.toBe(20_017);
  });
  test('finds its port again from its Service, then from its own status, when the ProxyConfig is lost', () => {
    expect(portOf(allocatePorts([], [claim('a', [21_000, 22_000])], range, now), 'a')).toBe(21_000);
    expect(portOf(allocatePorts([], [claim('older', [21_000]), claim('younger', [21_000, 22_000])], range, now), 'younger')).toBe(22_000);
  });
  test('whose port is outside a range that was narrowed gets another one', () => {
    const plan = allocatePorts([{ port: 20_017, target: 'a', targetUID: 'uid-a' }], [claim('a')], { first: 30_000, last: 30_001 }, now);
    expect([portOf(plan, 'a')! >= 30_000, plan.listeners.map((listener) => listener.releasedAt !== undefined)]).toEqual([true, [true, false]]);
  });
  test('gets none when every port is in use or rests', () => {
    const full: readonly Listener[] = [{ port: 20_000, target: 'a', targetUID: 'uid-a' }, { port: 20_001, target: 'gone', targetUID: 'gone', releasedAt: '2026-11-24T11:00:00Z' }];
    expect(portOf(allocatePorts(full, [claim('a'), claim('b')], { first: 20_000, last: 20_001 }, now), 'b')).toBeUndefined();
  });
});

test('a port is free again 24 h after its Target went, not a second sooner, and the plan says when', () => {
  const before: readonly Listener[] = [{ port: 20_000, target: 'a', targetUID: 'gone', releasedAt: '2026-11-23T12:00:01Z' }];
  const one = { first: 20_000, last: 20_000 };
  expect(portOf(allocatePorts(before, [claim('b')], one, now), 'b')).toBeUndefined();
  expect(allocatePorts(before, [claim('b')], one, now).nextFreeAtMs).toBe(now + 1_000);
  expect(portOf(allocatePorts(before, [claim('b')], one, now + 1_000), 'b')).toBe(20_000);
});

test('in any history no port is given to two Targets, none within 24 h of its release, and nobody loses one', () => {
  const step = fc.record({ add: fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 6 }), remove: fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 6 }), hours: fc.integer({ min: 0, max: 30 }), isLost: fc.boolean() });
  fc.assert(fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
    const small = { first: 20_000, last: 20_039 };
    const released = new Map<number, number>();
    const known = new Map<string, number>();
    let living = new Map<string, string>();
    let listeners: readonly Listener[] = [];
    let nowMs = now;
    let serial = 0;
    for (const { add, remove, hours, isLost } of steps) {
      nowMs += hours * 3_600_000;
      for (const index of remove) living.delete(`t${index}`);
      for (const index of add) if (!living.has(`t${index}`)) living = new Map([...living, [`t${index}`, `u${serial++}`]]);
      // A lost ProxyConfig loses what rests too; the ports in use come back from Services.
      const before = isLost ? [] : listeners;
      if (isLost) released.clear();
      const claims = [...living].map(([target, uid]) => ({ target, uid, hints: [known.get(uid) ?? []].flat() }));
      const plan = allocatePorts(before, claims, small, nowMs);
      expect(new Set(plan.ports.values()).size).toBe(plan.ports.size);
      for (const [target, uid] of living) {
        const port = plan.ports.get(target);
        const earlier = known.get(uid);
        if (earlier !== undefined) expect(port).toBe(earlier);
        if (port === undefined) continue;
        if (earlier === undefined && released.has(port)) expect(nowMs - (released.get(port) ?? 0)).toBeGreaterThanOrEqual(restMs);
        known.set(uid, port);
        released.delete(port);
      }
      for (const listener of plan.listeners) if (listener.releasedAt !== undefined && !released.has(listener.port)) released.set(listener.port, Date.parse(listener.releasedAt));
      // Planning again what was planned changes nothing.
      expect(allocatePorts(plan.listeners, claims, small, nowMs)).toEqual(plan);
      ({ listeners } = plan);
    }
  }), { numRuns: 300 });
});
