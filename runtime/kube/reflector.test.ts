import { afterEach, describe, expect, test } from '@jest/globals';
import { testKinds as kinds } from '../../tools/testkit/fake-api/route.ts';
import { type FakeApi, fakeApiServer } from '../../tools/testkit/fake-api-server.ts';
import { fakeClock } from '../../tools/testkit/fake-clock.ts';
import { type ConfigMap, contentOf as content, converges, putConfigMap as put, type ReflectorScene, reflectorScene } from '../../tools/testkit/reflector-scene.ts';
import { pass, settle, until } from '../../tools/testkit/settle.ts';
import type { KubeClient, Reflector } from './kube-client.ts';
import { startReflector } from './reflector.ts';

const running: Reflector<ConfigMap>[] = [];
afterEach(async () => {
  for (const reflector of running.splice(0)) await reflector[Symbol.asyncDispose]();
});

function scene(options: Parameters<typeof reflectorScene>[0] = {}): ReflectorScene {
  const it = reflectorScene(options);
  running.push(it.reflector);
  return it;
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
