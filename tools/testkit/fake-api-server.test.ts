import { describe, expect, test } from '@jest/globals';
import { kinds } from '../../operator/kube/kinds.ts';
import type { KubeObject } from '../../runtime/kube/kube-client.ts';
import { applyObject, createObject, deleteObject, getObject, listObjects, mergePatch, replaceObject } from '../../runtime/kube/verbs.ts';
import { createRbac, grantsOf } from './fake-api/rbac.ts';
import { fakeApiServer } from './fake-api-server.ts';

const configMap = (name: string, data: Record<string, string>): KubeObject & { data?: Record<string, string> } => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'shop' }, data });
const service = (ports: readonly object[]): KubeObject => ({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'db', namespace: 'shop', labels: { a: '1' } }, spec: { ports } });
const target = { apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata: { name: 'orders', namespace: 'shop' }, spec: { postgres: { host: 'db', credentials: { secretRef: { name: 'x' } } } } };

describe('writes', () => {
  test('create, get, list, replace and delete an object; each change counts the one revision up', async () => {
    const api = fakeApiServer();
    const client = api.client();
    const created = await createObject(client, kinds.configMap, 'shop', configMap('a', { x: '1' }));
    const again = await replaceObject(client, kinds.configMap, { ...created, data: { x: '2' } });
    expect(Number(again.metadata.resourceVersion)).toBe(Number(created.metadata.resourceVersion) + 1);
    expect((await listObjects(client, kinds.configMap, 'shop')).items).toHaveLength(1);
    await deleteObject(client, kinds.configMap, 'shop', 'a');
    expect(await getObject(client, kinds.configMap, 'shop', 'a')).toBeNull();
  });

  test.each([
    ['a create of what exists', { status: 409, reason: 'AlreadyExists' }, (client: ReturnType<ReturnType<typeof fakeApiServer>['client']>) => createObject(client, kinds.configMap, 'shop', configMap('a', {}))],
    ['a replace with an old version', { status: 409, reason: 'Conflict' }, (client: ReturnType<ReturnType<typeof fakeApiServer>['client']>) => replaceObject(client, kinds.configMap, { ...configMap('a', {}), metadata: { name: 'a', namespace: 'shop', resourceVersion: '1' } })],
    ['a patch for another uid', { status: 409, reason: 'Conflict' }, (client: ReturnType<ReturnType<typeof fakeApiServer>['client']>) => mergePatch(client, kinds.configMap, 'shop', 'a', { metadata: { uid: 'other' }, data: {} })],
    ['a delete with another uid', { status: 409, reason: 'Conflict' }, (client: ReturnType<ReturnType<typeof fakeApiServer>['client']>) => deleteObject(client, kinds.configMap, 'shop', 'a', { uid: 'other' })],
    ['an array as merge patch', { status: 400 }, (client: ReturnType<ReturnType<typeof fakeApiServer>['client']>) => mergePatch(client, kinds.configMap, 'shop', 'a', [{ op: 'remove', path: '/data' }])],
    ['a patch of a foreign type', { status: 415 }, (client: ReturnType<ReturnType<typeof fakeApiServer>['client']>) => client.request({ method: 'PATCH', path: '/api/v1/namespaces/shop/configmaps/a', contentType: 'application/json-patch+json', body: [] })],
    ['an unknown kind', { status: 404 }, (client: ReturnType<ReturnType<typeof fakeApiServer>['client']>) => client.request({ method: 'GET', path: '/apis/x/v1/ys' })],
  ])('%s is refused', async (_name, error, act) => {
    const api = fakeApiServer();
    api.put(kinds.configMap, configMap('a', { x: '1' }));
    await expect(act(api.client())).rejects.toMatchObject(error);
  });

  test('a dry run stores nothing, and an equal write changes no version', async () => {
    const api = fakeApiServer();
    await createObject(api.client(), kinds.configMap, 'shop', configMap('a', {}), { dryRun: true });
    expect(api.list(kinds.configMap)).toEqual([]);
    const stored = api.put(kinds.configMap, configMap('a', { x: '1' }));
    const same = await mergePatch<KubeObject>(api.client(), kinds.configMap, 'shop', 'a', { data: { x: '1' } }, { fieldManager: 'somebody' });
    expect(same.metadata.resourceVersion).toBe(stored.metadata.resourceVersion);
  });

  test('status changes through /status only, and only a change of the spec counts the generation up', async () => {
    const api = fakeApiServer({ validate: false });
    const client = api.client();
    await createObject(client, kinds.target, 'shop', { ...target, status: { observedGeneration: 7 } });
    expect(api.get(kinds.target, 'shop', 'orders')?.status).toBeUndefined();
    const status = await mergePatch<KubeObject>(client, kinds.target, 'shop', 'orders', { status: { observedGeneration: 1 }, spec: {} }, { subresource: 'status' });
    const labels = await mergePatch<KubeObject>(client, kinds.target, 'shop', 'orders', { metadata: { labels: { a: 'b' } }, status: { observedGeneration: 9 } });
    const spec = await mergePatch<KubeObject>(client, kinds.target, 'shop', 'orders', { spec: { postgres: { host: 'other' } } });
    expect([status, labels, spec].map((each) => [each.metadata.generation, (each.status as { observedGeneration: number }).observedGeneration])).toEqual([[1, 1], [1, 1], [2, 1]]);
  });

  test('our kinds are checked by the schemas and rules of crds/ and get their defaults', async () => {
    const api = fakeApiServer();
    await expect(createObject(api.client(), kinds.target, 'shop', { ...target, spec: {} })).rejects.toMatchObject({ status: 422, reason: 'Invalid' });
    await expect(createObject(api.client(), kinds.target, 'shop', { ...target, spec: { ...target.spec, surprise: 1 } as object })).rejects.toMatchObject({ status: 422 });
    const stored = await createObject<KubeObject>(api.client(), kinds.target, 'shop', target);
    expect(stored.status).toEqual({ observedGeneration: -1 });
  });

  test('an object with finalizers goes when the last one does; what it owns goes with it', async () => {
    const api = fakeApiServer();
    const owner = api.put(kinds.configMap, { ...configMap('owner', {}), metadata: { name: 'owner', namespace: 'shop', finalizers: ['x'] } as KubeObject['metadata'] });
    api.put(kinds.configMap, { ...configMap('child', {}), metadata: { name: 'child', namespace: 'shop', ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'owner', uid: owner.metadata.uid ?? '' }] } });
    await deleteObject(api.client(), kinds.configMap, 'shop', 'owner');
    expect(api.list(kinds.configMap)).toHaveLength(2);
    await mergePatch(api.client(), kinds.configMap, 'shop', 'owner', { metadata: { finalizers: null } });
    expect(api.list(kinds.configMap)).toEqual([]);
  });

  test('a namespace that ends takes nothing new', async () => {
    const api = fakeApiServer();
    api.put(kinds.configMap, configMap('a', {}));
    api.terminate('shop');
    expect(api.list(kinds.configMap)).toEqual([]);
    await expect(createObject(api.client(), kinds.configMap, 'shop', configMap('b', {}))).rejects.toMatchObject({ status: 403, reason: 'Forbidden' });
  });
});

describe('server-side apply', () => {
  const apply = (api: ReturnType<typeof fakeApiServer>, body: KubeObject, fieldManager: string, force = false): Promise<KubeObject> => applyObject<KubeObject>(api.client(), kinds.service, body, { fieldManager, force });

  test('merges keyed lists, leaves what others own and takes out what its manager gave up', async () => {
    const api = fakeApiServer();
    await apply(api, service([{ name: 'pg', port: 5432, protocol: 'TCP' }, { name: 'ssh', port: 22, protocol: 'TCP' }]), 'us');
    await mergePatch(api.client('them'), kinds.service, 'shop', 'db', { metadata: { annotations: { theirs: 'yes' } } });
    const result = await apply(api, service([{ name: 'pg', port: 5432, protocol: 'TCP' }]), 'us');
    expect(result.spec).toEqual({ ports: [{ name: 'pg', port: 5432, protocol: 'TCP' }] });
    expect(result.metadata.annotations).toEqual({ theirs: 'yes' });
  });

  test('a field of another manager with another value is a conflict unless forced; equal values are shared', async () => {
    const api = fakeApiServer();
    await apply(api, { ...service([]), spec: { type: 'ClusterIP' } }, 'them');
    await apply(api, { ...service([]), spec: { type: 'ClusterIP' } }, 'us');
    await expect(apply(api, { ...service([]), spec: { type: 'NodePort' } }, 'us')).rejects.toMatchObject({ status: 409, reason: 'Conflict' });
    expect((await apply(api, { ...service([]), spec: { type: 'NodePort' } }, 'us', true)).spec).toEqual({ type: 'NodePort' });
  });

  test('the same apply again changes nothing', async () => {
    const api = fakeApiServer();
    const first = await apply(api, service([{ port: 1, protocol: 'TCP' }]), 'us');
    const second = await apply(api, service([{ port: 1, protocol: 'TCP' }]), 'us');
    expect(second.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
  });
});

describe('reads', () => {
  test('lists come in pages that show one moment, and expire', async () => {
    const api = fakeApiServer({ maxPage: 2 });
    for (const name of ['a', 'b', 'c', 'd', 'e']) api.put(kinds.configMap, configMap(name, {}));
    expect((await listObjects(api.client(), kinds.configMap, null)).items.map((item) => item.metadata.name)).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(api.calls.filter((call) => call.verb === 'list')).toHaveLength(3);
    const page = await api.client().request({ method: 'GET', path: '/api/v1/configmaps', query: { limit: '2' } }) as { metadata: { continue: string } };
    api.put(kinds.configMap, configMap('f', {}));
    api.compact();
    await expect(api.client().request({ method: 'GET', path: '/api/v1/configmaps', query: { limit: '2', continue: page.metadata.continue } })).rejects.toMatchObject({ status: 410, reason: 'Expired' });
  });

  test.each([
    [{ labelSelector: 'app=x' }, ['a']], [{ labelSelector: 'app in (x, y),!gone' }, ['a', 'b']], [{ labelSelector: 'app!=x' }, ['b', 'c']], [{ labelSelector: 'app notin (x)' }, ['b', 'c']],
    [{ labelSelector: 'app' }, ['a', 'b']], [{ fieldSelector: 'metadata.name=c' }, ['c']], [{ fieldSelector: 'metadata.name!=c' }, ['a', 'b']],
  ])('the selector %j finds %j', async (query, names) => {
    const api = fakeApiServer();
    for (const [name, labels] of [['a', { app: 'x' }], ['b', { app: 'y' }], ['c', {}]] as const) api.put(kinds.configMap, { ...configMap(name, {}), metadata: { name, namespace: 'shop', labels } });
    expect((await listObjects(api.client(), kinds.configMap, null, query)).items.map((item) => item.metadata.name)).toEqual(names);
  });

  test('metadata alone carries no data', async () => {
    const api = fakeApiServer();
    api.put(kinds.secret, { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace: 'shop' }, data: { password: 'aGFsbG8=' } } as KubeObject);
    const answer = await getObject(api.client(), kinds.secret, 'shop', 's', { metadataOnly: true });
    expect(JSON.stringify(answer)).not.toContain('aGFsbG8');
    expect(api.calls.at(-1)).toMatchObject({ resource: 'secrets', metadataOnly: true });
  });
});

test('RBAC from manifests allows what is granted, refuses the rest and names what nobody needed', async () => {
  const rbac = createRbac(grantsOf([
    { kind: 'ClusterRole', metadata: { name: 'r' }, rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'create'] }, { apiGroups: [''], resources: ['secrets'], resourceNames: ['one'], verbs: ['get'] }] },
    { kind: 'RoleBinding', metadata: { name: 'b', namespace: 'shop' }, roleRef: { kind: 'ClusterRole', name: 'r' }, subjects: [{ kind: 'ServiceAccount', name: 'op', namespace: 'sys' }] },
  ]));
  const api = fakeApiServer({ rbac });
  const client = api.client('system:serviceaccount:sys:op');
  await getObject(client, kinds.configMap, 'shop', 'a');
  await getObject(client, kinds.secret, 'shop', 'one');
  for (const refused of [getObject(client, kinds.configMap, 'other', 'a'), getObject(client, kinds.secret, 'shop', 'two'), listObjects(client, kinds.configMap, 'shop')]) await expect(refused).rejects.toMatchObject({ status: 403 });
  expect(rbac.unused()).toEqual(['system:serviceaccount:sys:op /configmaps create']);
});

test('an apply that makes an object needs create too, and other owners need delete and the finalizers of who blocks', async () => {
  const asked: string[] = [];
  const api = fakeApiServer({
    garbageCollector: false,
    rbac: {
      unused: () => [],
      allows: ({ verb, resource, subresource }) => {
        asked.push(`${verb} ${resource}${subresource === null ? '' : `/${subresource}`}`);
        return verb !== 'delete';
      },
    },
  });
  const owned = (uid: string): Parameters<typeof applyObject>[2] => ({ ...configMap('a', {}), metadata: { name: 'a', namespace: 'shop', ownerReferences: [{ apiVersion: 'sallyport.dev/v1alpha1', kind: 'ProxyConfig', name: 'p', uid, controller: true, blockOwnerDeletion: true }] } } as Parameters<typeof applyObject>[2]);
  const apply = async (uid: string): Promise<readonly string[]> => {
    asked.splice(0);
    await applyObject(api.client('us'), kinds.configMap, owned(uid), { fieldManager: 'us', force: true });
    return [...asked];
  };
  expect(await apply('u-1')).toEqual(['patch configmaps', 'create configmaps', 'update proxyconfigs/finalizers']);
  expect(await apply('u-1')).toEqual(['patch configmaps']);
  await expect(apply('u-2')).rejects.toMatchObject({ status: 403 });
});
