import { afterEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Fault, FaultRule } from '../../tools/testkit/fake-api/faults.ts';
import { testKinds as kinds } from '../../tools/testkit/fake-api/route.ts';
import { type FakeApi, fakeApiServer } from '../../tools/testkit/fake-api-server.ts';
import { type FakeClock, fakeClock } from '../../tools/testkit/fake-clock.ts';
import { pass, settle, until } from '../../tools/testkit/settle.ts';
import type { KubeClient, KubeObject, Reflector } from './kube-client.ts';
import { type ReflectorOptions, startReflector } from './reflector.ts';

type ConfigMap = KubeObject & { readonly data?: Readonly<Record<string, string>> };

interface Scene {
  readonly api: FakeApi;
  readonly clock: FakeClock;
  readonly reflector: Reflector<ConfigMap>;
  readonly keys: string[];
  readonly relists: string[];
  readonly errors: unknown[];
}

const running: Reflector<ConfigMap>[] = [];
afterEach(async () => {
  for (const reflector of running.splice(0)) await reflector[Symbol.asyncDispose]();
});

function scene(options: Partial<ReflectorOptions<ConfigMap>> & { readonly before?: (api: FakeApi) => void; readonly maxPage?: number } = {}): Scene {
  const clock = fakeClock();
  const api = fakeApiServer({ clock, maxPage: options.maxPage ?? 500 });
  const keys: string[] = [];
  const relists: string[] = [];
  const errors: unknown[] = [];
  options.before?.(api);
  const reflector = startReflector<ConfigMap>({
    client: api.client(), kind: kinds.configMap, namespace: 'shop', onKey: (key) => void keys.push(key), clock, random: () => 0.5, onRelist: (reason) => void relists.push(reason), onError: (error) => void errors.push(error), ...options,
  });
  running.push(reflector);
  return { api, clock, reflector, keys, relists, errors };
}

function put(api: FakeApi, name: string, value: string): void {
  api.put(kinds.configMap, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'shop' }, data: { value } } as ConfigMap);
}

/** What the cache says and what the server says, as `name -> uid, value`. */
function content(objects: readonly ConfigMap[]): Record<string, string> {
  return Object.fromEntries(objects.map((object) => [object.metadata.name, `${object.metadata.uid ?? ''} ${object.data?.['value'] ?? ''}`]).sort());
}

async function converges({ api, clock, reflector }: Scene): Promise<void> {
  await until(() => JSON.stringify(content(reflector.list())) === JSON.stringify(content(api.list<ConfigMap>(kinds.configMap))) && api.watches.size === 1, { clock, stepMs: 500 });
}

describe('following', () => {
  test('tells each key of the first list, all pages of it, and then of every change', async () => {
    const it = scene({ before: (api) => ['a', 'b', 'c'].forEach((name) => put(api, name, '1')), maxPage: 2 });
    await it.reflector.whenSynced();
    expect(it.keys).toEqual(['shop/a', 'shop/b', 'shop/c']);
    await until(() => it.api.watches.size === 1);
    it.keys.splice(0);
    put(it.api, 'a', '2');
    put(it.api, 'd', '1');
    it.api.remove(kinds.configMap, 'shop', 'b');
    await settle();
    expect([it.keys, content(it.reflector.list())]).toEqual([['shop/a', 'shop/d', 'shop/b'], content(it.api.list<ConfigMap>(kinds.configMap))]);
    expect(it.reflector.get('shop/b')).toBeNull();
  });

  test('lists 500 at a time and watches with bookmarks for 5 to 10 minutes from the list on', async () => {
    const it = scene();
    await until(() => it.api.watches.size === 1);
    expect(it.api.calls.map((call) => [call.verb, call.query])).toEqual([
      ['list', { limit: '500' }], ['watch', { watch: 'true', allowWatchBookmarks: 'true', resourceVersion: '100', timeoutSeconds: '450' }],
    ]);
  });

  test('keeps neither managedFields nor the last applied configuration, and what keep leaves', async () => {
    const it = scene({
      keep: (object) => ({ ...object, data: {} }),
      before: (api) => api.put(kinds.configMap, { metadata: { name: 'a', namespace: 'shop', annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}', mine: 'x' } }, data: { value: 'long' } } as ConfigMap),
    });
    await it.reflector.whenSynced();
    const cached = it.reflector.get('shop/a');
    expect([cached?.metadata.annotations, Object.keys(cached?.metadata ?? {}).includes('managedFields'), cached?.data, cached?.kind]).toEqual([{ mine: 'x' }, false, {}, 'ConfigMap']);
  });

  test('asks for metadata alone when told so', async () => {
    const it = scene({ metadataOnly: true, before: (api) => put(api, 'a', 'secret') });
    await until(() => it.api.watches.size === 1);
    put(it.api, 'b', 'secret');
    await settle();
    expect([it.api.calls.every((call) => call.metadataOnly), it.reflector.list().map((object) => object.data)]).toEqual([true, [undefined, undefined]]);
  });

  test('a kind without namespaces has keys that begin with a slash', async () => {
    const clock = fakeClock();
    const api = fakeApiServer({ clock, validate: false });
    api.put(kinds.identityProvider, { metadata: { name: 'corp' }, spec: {} });
    const reflector = startReflector({ client: api.client(), kind: kinds.identityProvider, namespace: null, onKey: () => {}, clock, random: () => 0 });
    await reflector.whenSynced();
    expect(reflector.get('/corp')?.metadata.name).toBe('corp');
    await reflector[Symbol.asyncDispose]();
  });

  test('a throwing callback stops nothing', async () => {
    const seen: string[] = [];
    const it = scene({
      onKey(key) {
        seen.push(key);
        throw new Error('a bug of ours');
      },
      onError() {
        throw new Error('another one');
      },
    });
    await until(() => it.api.watches.size === 1);
    put(it.api, 'a', '1');
    put(it.api, 'b', '1');
    await settle();
    expect([seen, it.api.watches.size]).toEqual([['shop/a', 'shop/b'], 1]);
  });

  test('a bookmark moves the place from which it goes on, so that a compaction costs no list', async () => {
    const it = scene();
    await until(() => it.api.watches.size === 1);
    it.api.put(kinds.secret, { metadata: { name: 'other', namespace: 'shop' } });
    it.api.bookmark();
    await settle();
    it.api.compact();
    for (const watch of it.api.watches) watch.close('end');
    put(it.api, 'a', '1');
    await converges(it);
    expect(it.relists).toEqual(['start']);
  });

  test('lists everything again each 10 minutes, however often the watch was opened, and finds what no event told', async () => {
    const it = scene();
    await until(() => it.api.watches.size === 1);
    await pass(it.clock, 590_000, 10_000);
    expect(it.relists).toEqual(['start']);
    for (const open of it.api.watches) open.stall();
    put(it.api, 'a', '1');
    await pass(it.clock, 12_000, 1_000);
    expect([it.relists, it.reflector.get('shop/a')?.data]).toEqual([['start', 'periodic'], { value: '1' }]);
  });

  test('lists at once when asked', async () => {
    const it = scene();
    await until(() => it.api.watches.size === 1);
    it.reflector.relist();
    await until(() => it.relists.length === 2 && it.api.watches.size === 1, { clock: it.clock, stepMs: 20 });
    expect(it.relists).toEqual(['start', 'asked']);
  });
});

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
    // 15 s of patience and up to 30 s of waiting each.
    expect(it.api.calls.filter((call) => call.verb === 'watch').length).toBeLessThanOrEqual(22);
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
    expect(it.api.calls.length - before).toBeLessThanOrEqual(20);
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

describe('stopping', () => {
  test.each([
    ['following', (): undefined => undefined],
    ['waiting after a failure', (api: FakeApi) => api.faults.add({ fault: { kind: 'status', status: 500 }, times: Number.POSITIVE_INFINITY })],
    ['waiting for a list', (api: FakeApi) => api.faults.add({ fault: { kind: 'hang' }, when: (call) => call.verb === 'list' })],
    ['waiting for a watch to open', (api: FakeApi) => api.faults.add({ fault: { kind: 'hang' }, when: (call) => call.verb === 'watch' })],
  ] as const)('while %s sends nothing more, tells nothing more and leaves no timer', async (_name, before) => {
    const it = scene({ before });
    await pass(it.clock, 2_000);
    await it.reflector[Symbol.asyncDispose]();
    const calls = it.api.calls.length;
    const keys = it.keys.length;
    put(it.api, 'a', '1');
    await pass(it.clock, 3_000);
    expect([it.api.calls.length, it.keys.length, it.api.watches.size, it.clock.timers]).toEqual([calls, keys, 0, 0]);
  });

  test('before the first list rejects those who wait for it', async () => {
    const it = scene({ before: (api) => api.faults.add({ fault: { kind: 'hang' } }) });
    const waiting = it.reflector.whenSynced();
    await it.reflector[Symbol.asyncDispose]();
    await expect(waiting).rejects.toMatchObject({ reason: 'Aborted' });
    expect(it.reflector.synced).toBe(false);
  });
});

/** A server that answers what it is told, whatever the client gives up. */
function scripted(lists: readonly (readonly ConfigMap[])[], lines: readonly unknown[] = []): KubeClient {
  let listed = 0;
  let isWatched = false;
  return {
    request: () => Promise.resolve({ metadata: { resourceVersion: '5' }, items: lists[Math.min(listed++, lists.length - 1)] }),
    async *stream({ signal }) {
      if (!isWatched) yield* lines;
      isWatched = true;
      if (signal?.aborted === true) return;
      await new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true }));
    },
    close: () => Promise.resolve(),
  };
}

const version5 = (name: string, uid: string): ConfigMap => ({ metadata: { name, namespace: 'shop', uid, resourceVersion: '5' } });

test('another object under an old name and version, as after a restored backup, is told', async () => {
  const it = scene({ client: scripted([[version5('a', 'one')], [version5('a', 'two')]]) });
  await it.reflector.whenSynced();
  it.keys.splice(0);
  it.reflector.relist();
  await until(() => it.keys.length > 0, { clock: it.clock, stepMs: 20 });
  expect([it.keys, it.reflector.get('shop/a')?.metadata.uid]).toEqual([['shop/a'], 'two']);
});

test('a relist that is asked for while events are being told is not undone by those that follow', async () => {
  const seen: string[] = [];
  const events = ['b', 'c'].map((name) => ({ type: 'ADDED', object: version5(name, name) }));
  const it = scene({ client: scripted([[], [version5('b', 'b'), version5('d', 'd')]], events), onKey(key) {
    seen.push(key);
    if (key === 'shop/b') it.reflector.relist();
  } });
  await until(() => it.relists.length === 2, { clock: it.clock, stepMs: 20 });
  expect([seen, it.relists]).toEqual([['shop/b', 'shop/d'], ['start', 'asked']]);
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
