import { afterEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Fault, FaultRule } from '../../tools/testkit/fake-api/faults.ts';
import { testKinds as kinds } from '../../tools/testkit/fake-api/route.ts';
import { type ConfigMap, converges, putConfigMap as put, type ReflectorScene, reflectorScene } from '../../tools/testkit/reflector-scene.ts';
import { pass, settle, until } from '../../tools/testkit/settle.ts';
import type { Reflector } from './kube-client.ts';

const running: Reflector<ConfigMap>[] = [];
afterEach(async () => {
  for (const reflector of running.splice(0)) await reflector[Symbol.asyncDispose]();
});

function scene(options: Parameters<typeof reflectorScene>[0] = {}): ReflectorScene {
  const it = reflectorScene(options);
  running.push(it.reflector);
  return it;
}

describe('faults', () => {
  const list = (fault: Fault, times = 1): FaultRule => ({ fault, times, when: (call) => call.verb === 'list' });
  const watch = (fault: Fault, times = 1): FaultRule => ({ fault, times, when: (call) => call.verb === 'watch' });
  const cases: readonly (readonly [string, readonly FaultRule[]])[] = [
    ['a reset', [list({ kind: 'reset' }), watch({ kind: 'reset' })]],
    ['401', [list({ kind: 'status', status: 401 }), watch({ kind: 'status', status: 401 })]],
    ['403', [list({ kind: 'status', status: 403 }), watch({ kind: 'status', status: 403 })]],
    ['429', [list({ kind: 'status', status: 429, retryAfterSeconds: 7 }), watch({ kind: 'status', status: 429, retryAfterSeconds: 7 })]],
    ['500 five times', [list({ kind: 'status', status: 500 }, 5), watch({ kind: 'status', status: 500 }, 5)]],
    ['the text of a load balancer', [list({ kind: 'text', status: 502, text: '<html>' }), watch({ kind: 'text', status: 503, text: 'no healthy upstream' })]],
    ['410 at the watch', [watch({ kind: 'status', status: 410, reason: 'Expired' })]],
    ['no answer', [list({ kind: 'hang' }), watch({ kind: 'hang' })]],
    ['a slow answer', [list({ kind: 'slow', delayMs: 3_000 }), watch({ kind: 'slow', delayMs: 3_000 })]],
    ['a stale list', [list({ kind: 'stale-list' }, 2)]],
  ];

  test.each(cases)('converges after %s at the start', async (_name, rules) => {
    const it = scene({ before: (api) => {
      put(api, 'a', '1');
      for (const rule of rules) api.faults.add(rule);
    } });
    put(it.api, 'b', '1');
    await converges(it);
  });

  test.each(cases)('converges after %s behind a broken watch', async (_name, rules) => {
    const it = scene({ before: (api) => ['a', 'b', 'c'].forEach((name) => put(api, name, '1')) });
    await until(() => it.api.watches.size === 1);
    for (const rule of rules) it.api.faults.add(rule);
    for (const open of it.api.watches) open.close('reset');
    put(it.api, 'a', '2');
    it.api.remove(kinds.configMap, 'shop', 'b');
    it.api.compact();
    await converges(it);
  });

  test.each([
    ['410', 410, 'expired'], ['500', 500, 'error-event'], ['an unknown code', 418, 'error-event'],
  ])('an ERROR event of %s makes it list again', async (_name, status, reason) => {
    const it = scene();
    await until(() => it.api.watches.size === 1);
    for (const open of it.api.watches) open.fail(status, 'Expired');
    put(it.api, 'a', '1');
    await converges(it);
    expect(it.relists).toEqual(['start', reason]);
  });

  test('410 between two pages of a list begins a new list', async () => {
    const it = scene({ maxPage: 1, before: (api) => {
      ['a', 'b', 'c'].forEach((name) => put(api, name, '1'));
      api.faults.add({ fault: { kind: 'status', status: 410, reason: 'Expired' }, when: (call) => call.query['continue'] !== undefined });
    } });
    await converges(it);
    expect(it.reflector.list()).toHaveLength(3);
  });

  test('a watch that is refused with 410 is not asked for again from the same place', async () => {
    const it = scene({ before: (api) => put(api, 'a', '1') });
    await until(() => it.api.watches.size === 1);
    const from = it.api.calls.at(-1)?.query['resourceVersion'];
    it.api.faults.add({ fault: { kind: 'status', status: 410, reason: 'Expired' }, when: (call) => call.query['resourceVersion'] === from, times: Number.POSITIVE_INFINITY });
    for (const open of it.api.watches) open.close('reset');
    put(it.api, 'a', '2');
    await converges(it);
    expect(it.relists).toEqual(['start', 'expired']);
  });

  test('a watch that is never accepted is asked for ever more seldom', async () => {
    const it = scene({ before: (api) => api.faults.add(watch({ kind: 'hang' }, Number.POSITIVE_INFINITY)) });
    await pass(it.clock, 600_000);
    // 15 s of patience and up to 10 s of waiting each.
    expect(it.api.calls.filter((call) => call.verb === 'watch').length).toBeLessThanOrEqual(32);
  });

  test('an event makes the wait short again', async () => {
    const it = scene({ before: (api) => api.faults.add(watch({ kind: 'status', status: 500 }, 8)) });
    await until(() => it.api.watches.size === 1, { clock: it.clock, stepMs: 1_000 });
    put(it.api, 'a', '1');
    await settle();
    const fromMs = it.clock.monotonicMs();
    for (const open of it.api.watches) open.close('reset');
    await until(() => it.api.watches.size === 1, { clock: it.clock, stepMs: 20 });
    expect(it.clock.monotonicMs() - fromMs).toBeLessThanOrEqual(300);
  });

  test('a watch that is open and silent is opened again after 30 s, and misses nothing', async () => {
    const it = scene();
    await until(() => it.api.watches.size === 1);
    for (const open of it.api.watches) open.stall();
    put(it.api, 'a', '1');
    const fromMs = it.clock.monotonicMs();
    await converges(it);
    expect(it.clock.monotonicMs() - fromMs).toBeGreaterThanOrEqual(29_000);
    expect(it.clock.monotonicMs() - fromMs).toBeLessThanOrEqual(32_000);
    expect(it.relists).toEqual(['start']);
  });

  test('an event that comes twice is told once', async () => {
    const it = scene();
    await until(() => it.api.watches.size === 1);
    put(it.api, 'a', '1');
    await settle();
    for (const open of it.api.watches) open.repeat();
    await settle();
    expect(it.keys).toEqual(['shop/a']);
  });

  test('an object that was deleted and made again unseen is told, also under an equal version', async () => {
    const it = scene({ before: (api) => put(api, 'a', '1') });
    await until(() => it.api.watches.size === 1);
    const old = it.reflector.get('shop/a');
    it.keys.splice(0);
    it.api.faults.add({ fault: { kind: 'status', status: 500 }, when: (call) => call.verb === 'watch', times: 3 });
    for (const open of it.api.watches) open.close('reset');
    it.api.remove(kinds.configMap, 'shop', 'a');
    put(it.api, 'a', '1');
    it.api.compact();
    await converges(it);
    expect([it.keys, it.reflector.get('shop/a')?.metadata.uid === old?.metadata.uid]).toEqual([['shop/a'], false]);
  });

  test('waits as long as Retry-After says', async () => {
    const it = scene({ before: (api) => api.faults.add(list({ kind: 'status', status: 429, retryAfterSeconds: 20 })) });
    await pass(it.clock, 19_500);
    expect(it.api.calls).toHaveLength(1);
    await converges(it);
  });

  test('a minute of errors costs at most 20 requests, and the wait never exceeds 30 s', async () => {
    const it = scene({ before: (api) => api.faults.add({ fault: { kind: 'status', status: 500 }, times: Number.POSITIVE_INFINITY }) });
    await pass(it.clock, 60_000);
    expect(it.api.calls.length).toBeLessThanOrEqual(20);
    await pass(it.clock, 600_000);
    const before = it.api.calls.length;
    await pass(it.clock, 31_000);
    expect(it.api.calls.length).toBeGreaterThan(before);
  });

  test('a watch that the server ends at once makes no hot loop', async () => {
    const it = scene();
    await until(() => it.api.watches.size === 1);
    const before = it.api.calls.length;
    for (let round = 0; round < 200; round++) {
      for (const open of it.api.watches) open.close('end');
      it.clock.advance(5);
      await settle(4);
    }
    expect(it.api.calls.length - before).toBeLessThanOrEqual(51);
  });

  test('a server that accepts watches and ends each by an error is asked ever more seldom', async () => {
    const it = scene();
    await until(() => it.api.watches.size === 1);
    const before = it.api.calls.length;
    for (let second = 0; second < 60; second++) {
      for (const open of it.api.watches) open.fail(500, 'InternalError');
      await pass(it.clock, 1_000);
    }
    // A list and a watch each time: 0.25, 0.5, 1, 2, … s apart.
    expect(it.api.calls.length - before).toBeLessThanOrEqual(24);
  });

  test('after a minute of health the wait is short again', async () => {
    const it = scene({ before: (api) => api.faults.add({ fault: { kind: 'status', status: 500 }, times: 8 }) });
    await until(() => it.api.watches.size === 1, { clock: it.clock, stepMs: 1_000 });
    await pass(it.clock, 61_000, 10_000);
    const fromMs = it.clock.monotonicMs();
    for (const open of it.api.watches) open.close('reset');
    await until(() => it.api.watches.size === 1, { clock: it.clock, stepMs: 20 });
    expect(it.clock.monotonicMs() - fromMs).toBeLessThanOrEqual(300);
  });
});

test('whatever happens in whatever order, it ends with what the server has and told every key that differs', async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('put' as const), name: fc.constantFrom('a', 'b', 'c', 'd'), value: fc.constantFrom('1', '2', '3') }),
    fc.record({ do: fc.constant('remove' as const), name: fc.constantFrom('a', 'b', 'c', 'd') }),
    fc.record({ do: fc.constantFrom('compact' as const, 'bookmark' as const, 'end' as const, 'reset' as const, 'fail' as const, 'stall' as const, 'repeat' as const, 'relist' as const, 'wait' as const) }),
    fc.record({ do: fc.constant('fault' as const), fault: fc.constantFrom<Fault>({ kind: 'reset' }, { kind: 'status', status: 500 }, { kind: 'status', status: 410 }, { kind: 'status', status: 429, retryAfterSeconds: 1 }, { kind: 'slow', delayMs: 700 }, { kind: 'hang' }, { kind: 'stale-list' }) }),
  );
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
    const it = scene({ maxPage: 2 });
    const told = new Map<string, string>();
    const look = (): void => {
      for (const key of it.keys.splice(0)) told.set(key, JSON.stringify(it.reflector.get(key)));
    };
    for (const each of steps) {
      switch (each.do) {
        case 'put': put(it.api, each.name, each.value); break;
        case 'remove': it.api.remove(kinds.configMap, 'shop', each.name); break;
        case 'compact': it.api.compact(); break;
        case 'bookmark': it.api.bookmark(); break;
        case 'end': case 'reset': for (const open of it.api.watches) open.close(each.do); break;
        case 'fail': for (const open of it.api.watches) open.fail(500, 'InternalError'); break;
        case 'stall': for (const open of it.api.watches) open.stall(); break;
        case 'repeat': for (const open of it.api.watches) open.repeat(); break;
        case 'relist': it.reflector.relist(); break;
        case 'wait': await pass(it.clock, 1_000); break;
        case 'fault': it.api.faults.add({ fault: each.fault }); break;
        default: each satisfies never;
      }
      await settle(2);
      look();
    }
    await converges(it);
    look();
    // Whoever looks at a key when told of it has seen the last state of each.
    for (const object of it.reflector.list()) expect(told.get(`shop/${object.metadata.name}`)).toBe(JSON.stringify(object));
    for (const [key, text] of told) if (it.reflector.get(key) === null) expect(text).toBe('null');
    await it.reflector[Symbol.asyncDispose]();
  }), { numRuns: 150 });
}, 60_000);
