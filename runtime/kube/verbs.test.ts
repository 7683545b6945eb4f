import { describe, expect, test } from '@jest/globals';
import { testKinds as kinds } from '../../tools/testkit/fake-api/route.ts';
import { fakeApiServer } from '../../tools/testkit/fake-api-server.ts';
import { type KubeObject, pathOf } from './kube-client.ts';
import { withoutBookkeeping } from './object-copy.ts';
import { applyObject, createObject, deleteObject, getObject, listObjects, mergePatch, replaceObject } from './verbs.ts';

const object = (name: string): KubeObject => ({ metadata: { name, namespace: 'shop' } });

test.each([
  [pathOf(kinds.configMap, null), '/api/v1/configmaps'],
  [pathOf(kinds.configMap, 'shop', 'MyName.X'), '/api/v1/namespaces/shop/configmaps/MyName.X'],
  [pathOf(kinds.target, 'shop', 'a', 'status'), '/apis/sallyport.dev/v1alpha1/namespaces/shop/targets/a/status'],
  [pathOf(kinds.identityProvider, 'ignored', 'a'), '/apis/sallyport.dev/v1alpha1/identityproviders/a'],
  [pathOf(kinds.configMap, '../x', 'a/b?c'), '/api/v1/namespaces/..%2Fx/configmaps/a%2Fb%3Fc'],
])('%s', (path, expected) => {
  expect(path).toBe(expected);
});

describe('verbs', () => {
  test('each sends the method, content type, query and body that the API server wants', async () => {
    const api = fakeApiServer();
    const client = api.client();
    const created = await createObject(client, kinds.configMap, 'shop', object('a'), { fieldManager: 'us' });
    await createObject(client, kinds.configMap, 'shop', object('b'), { dryRun: true });
    await applyObject(client, kinds.service, { metadata: { name: 's', namespace: 'shop' } }, { fieldManager: 'us', force: true });
    await mergePatch(client, kinds.configMap, 'shop', 'a', { data: {} }, { fieldManager: 'us' });
    await replaceObject(client, kinds.configMap, object('a'), { fieldManager: 'us' });
    await deleteObject(client, kinds.configMap, 'shop', 'a', { uid: created.metadata.uid ?? '' });
    expect(api.calls.map((call) => [call.line, call.contentType, call.query])).toEqual([
      ['POST /api/v1/namespaces/shop/configmaps', 'application/json', { fieldManager: 'us' }],
      ['POST /api/v1/namespaces/shop/configmaps', 'application/json', { dryRun: 'All' }],
      ['PATCH /api/v1/namespaces/shop/services/s', 'application/apply-patch+yaml', { fieldManager: 'us', force: 'true' }],
      ['PATCH /api/v1/namespaces/shop/configmaps/a', 'application/merge-patch+json', { fieldManager: 'us' }],
      ['PUT /api/v1/namespaces/shop/configmaps/a', 'application/json', { fieldManager: 'us' }],
      ['DELETE /api/v1/namespaces/shop/configmaps/a', 'application/json', {}],
    ]);
    expect([api.calls[2]?.body, api.calls[5]?.body]).toEqual([
      { apiVersion: 'v1', kind: 'Service', metadata: { name: 's', namespace: 'shop' } },
      { kind: 'DeleteOptions', apiVersion: 'v1', propagationPolicy: 'Background', preconditions: { uid: created.metadata.uid } },
    ]);
  });

  test('what is not there is null for a get and done for a delete; other errors are thrown', async () => {
    const api = fakeApiServer();
    expect([await getObject(api.client(), kinds.configMap, 'shop', 'x'), await deleteObject(api.client(), kinds.configMap, 'shop', 'x')]).toEqual([null, undefined]);
    api.faults.add({ fault: { kind: 'status', status: 403, reason: 'Forbidden' }, times: 2 });
    await expect(getObject(api.client(), kinds.configMap, 'shop', 'x')).rejects.toMatchObject({ status: 403 });
    await expect(deleteObject(api.client(), kinds.configMap, 'shop', 'x')).rejects.toMatchObject({ status: 403 });
  });

  test('a list that expires between two pages begins anew, three times at most', async () => {
    const api = fakeApiServer({ maxPage: 1 });
    for (const name of ['a', 'b']) api.put(kinds.configMap, object(name));
    const expired = { fault: { kind: 'status', status: 410, reason: 'Expired' } as const, when: (call: { query: Readonly<Record<string, string>> }) => call.query['continue'] !== undefined };
    api.faults.add({ ...expired, times: 2 });
    expect((await listObjects(api.client(), kinds.configMap, 'shop')).items).toHaveLength(2);
    api.faults.add({ ...expired, times: 3 });
    await expect(listObjects(api.client(), kinds.configMap, 'shop')).rejects.toMatchObject({ status: 410 });
  });

  test('an object is the same from a list, a get and a watch: its kind is filled in and nothing is a Date', async () => {
    const api = fakeApiServer();
    api.put(kinds.configMap, object('a'));
    const [listed] = (await listObjects(api.client(), kinds.configMap, null)).items;
    const got = await getObject(api.client(), kinds.configMap, 'shop', 'a');
    const lines = api.client().stream({ method: 'GET', path: pathOf(kinds.configMap, null), query: { watch: 'true', resourceVersion: '0' }, idleMs: 1_000 })[Symbol.asyncIterator]();
    const watched = ((await lines.next()).value as { object: KubeObject }).object;
    await lines.return?.();
    expect([listed, watched]).toEqual([got, got]);
    expect(typeof got?.metadata.creationTimestamp).toBe('string');
  });
});

test('the copy without bookkeeping is the object itself where there is nothing to drop', () => {
  expect(withoutBookkeeping(object('a'))).toEqual(object('a'));
  expect(withoutBookkeeping({ metadata: { name: 'a', annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}' }, managedFields: [] } } as KubeObject)).toEqual({ metadata: { name: 'a', annotations: {} } });
});
