import { expect, test } from '@jest/globals';
import { createLog } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { fakeApiServer } from '../../tools/testkit/fake-api-server.ts';
import { fakeClock } from '../../tools/testkit/fake-clock.ts';
import { aTarget } from '../../tools/testkit/operator-world.ts';
import { until } from '../../tools/testkit/settle.ts';
import { startCaches } from './caches.ts';
import { kinds } from './kinds.ts';
import { createOperatorMetrics } from './metrics.ts';

function start(namespaces: readonly string[]) {
  const clock = fakeClock();
  const api = fakeApiServer({ clock });
  for (const namespace of ['one', 'two', 'three']) api.put(kinds.target, aTarget(namespace, 'a'));
  const metrics = createOperatorMetrics(createMetrics({ process: false }).registry);
  const log = createLog({ level: 'error', now: () => 0, stream: { writableLength: 0, write: () => undefined } });
  const caches = startCaches({ client: api.client(), clock, random: () => 0.5, metrics, log, namespaces, plans: [{ kind: 'target' }, { kind: 'identityProvider' }] });
  return { api, caches };
}

test('without a list of namespaces one reflector a kind follows all of them', async () => {
  const { api, caches } = start([]);
  await using _ = caches;
  await until(() => caches.synced);
  expect(caches.of('target').list().map((target) => target.metadata.namespace).sort()).toEqual(['one', 'three', 'two']);
  expect(api.calls.filter((call) => call.verb === 'list').map((call) => call.line.split('?')[0])).toEqual(['GET /apis/sallyport.dev/v1alpha1/targets', 'GET /apis/sallyport.dev/v1alpha1/identityproviders']);
});

test('with a list only those are asked for, and kinds without a namespace as a whole', async () => {
  const { api, caches } = start(['one', 'two']);
  await using _ = caches;
  await until(() => caches.synced);
  expect(caches.of('target').list().map((target) => target.metadata.namespace).sort()).toEqual(['one', 'two']);
  expect([caches.of('target').get('one', 'a')?.metadata.name, caches.of('target').get('three', 'a'), caches.of('target').inNamespace('three')]).toEqual(['a', null, []]);
  expect(api.calls.filter((call) => call.verb === 'list').map((call) => call.line.split('?')[0]).sort()).toEqual(['GET /apis/sallyport.dev/v1alpha1/identityproviders', 'GET /apis/sallyport.dev/v1alpha1/namespaces/one/targets', 'GET /apis/sallyport.dev/v1alpha1/namespaces/two/targets']);
});

test('a listener hears of what came and went after the cache has it', async () => {
  const { api, caches } = start([]);
  await using _ = caches;
  const heard: string[] = [];
  const cache = caches.of('target');
  cache.subscribe((key) => heard.push(`${key} ${cache.inNamespace('one').map((target) => target.metadata.name).sort().join(',')}`));
  await until(() => caches.synced);
  heard.length = 0;
  api.put(kinds.target, aTarget('one', 'b'));
  await until(() => heard.length === 1);
  api.remove(kinds.target, 'one', 'a');
  await until(() => heard.length === 2);
  expect(heard).toEqual(['one/b a,b', 'one/a b']);
});

test('asking for a kind that nobody follows is a bug', async () => {
  const { caches } = start([]);
  await using _ = caches;
  expect(() => caches.of('lease')).toThrow(RangeError);
});
