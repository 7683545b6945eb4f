import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { AccessSessionResource } from '../../../contract/api/v1alpha1.gen.ts';
import { type ControlPlane, startControlPlane } from '../hosts/control-plane.ts';
import { missingForNode } from '../hosts/node.ts';
import { installChartObjects, type OperatorProcess, put, startOperatorProcess } from '../hosts/operator-process.ts';
import type { RawApi } from '../hosts/raw-api.ts';

const namespace = 'payments';
const root = `/apis/sallyport.dev/v1alpha1/namespaces/${namespace}/accesssessions`;

// A control plane is enough: the proxies' pods exist, and that none of them runs does not matter to their sessions' records.
(missingForNode().length === 0 ? describe : describe.skip)('the records of sessions', () => {
  let plane: ControlPlane;
  let api: RawApi;
  let operator: OperatorProcess;

  beforeAll(async () => {
    plane = await startControlPlane();
    api = plane.api;
    await installChartObjects(api);
    const meta = (name: string): { readonly name: string; readonly namespace: string } => ({ name, namespace });
    await put(api, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    await put(api, { apiVersion: 'v1', kind: 'Secret', metadata: meta('gateway'), stringData: { username: 'u', password: 'p' } });
    await put(api, { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: meta('proxy'), roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'sallyport-proxy' }, subjects: [{ kind: 'ServiceAccount', name: 'sallyport-proxy', namespace }] });
    await put(api, { apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata: meta('orders-db'), spec: { postgres: { host: 'db', credentials: { secretRef: { name: 'gateway' } }, databases: ['orders'] } } });
    operator = await startOperatorProcess(plane);
  }, 120_000);
  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
    await plane?.[Symbol.asyncDispose]();
  });

  test('of a proxy pod that is deleted become Lost, with a reason; those of the other pod, and those that ended, stay as they are', async () => {
    const [gone = '', alive = ''] = await until('two pods', async () => {
      const names = await pods();
      return names.length === 2 ? names : null;
    });
    await record('open', gone);
    await record('closed', gone, 'Ended');
    await record('elsewhere', alive);
    await api.send({ method: 'DELETE', path: `/api/v1/namespaces/${namespace}/pods/${gone}`, query: { gracePeriodSeconds: '0' } });
    await until('the open one to be closed', async () => (await status('open')).phase === 'Lost' || null);
    expect(await status('open')).toMatchObject({ phase: 'Lost', endReason: 'PodGone', endedAt: expect.any(String) });
    expect([(await status('closed')).phase, (await status('elsewhere')).phase]).toEqual(['Ended', 'Active']);
  }, 60_000);

  test('of a pod that went while the operator was down become Lost when it is back', async () => {
    const [gone = ''] = await pods();
    await record('unwatched', gone);
    await operator.stop();
    await api.send({ method: 'DELETE', path: `/api/v1/namespaces/${namespace}/pods/${gone}`, query: { gracePeriodSeconds: '0' } });
    operator = await startOperatorProcess(plane);
    await until('it to be closed', async () => (await status('unwatched')).phase === 'Lost' || null);
  }, 90_000);

  async function pods(): Promise<readonly string[]> {
    const answer = await api.send({ method: 'GET', path: `/api/v1/namespaces/${namespace}/pods`, query: { labelSelector: 'app.kubernetes.io/name=sallyport-proxy' } });
    return (answer.body as { readonly items: readonly { readonly metadata: { readonly name: string; readonly deletionTimestamp?: string } }[] }).items.filter(({ metadata }) => metadata.deletionTimestamp === undefined).map(({ metadata }) => metadata.name);
  }

  /** Writes a session's record as its proxy does. */
  async function record(name: string, pod: string, phase: 'Active' | 'Ended' = 'Active'): Promise<void> {
    const as = { user: `system:serviceaccount:${namespace}:sallyport-proxy`, groups: ['system:serviceaccounts', 'system:authenticated'], extra: { 'authentication.kubernetes.io/pod-name': [pod] } };
    const session: AccessSessionResource = {
      apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessSession', metadata: { name, namespace },
      spec: { sessionID: name, user: { username: 'oidc:alice@bank.example' }, targetRef: { name: 'orders-db', uid: '33333333-3333-3333-3333-333333333333' }, protocol: 'PostgreSQL', pod, startedAt: '2026-11-24T10:00:00Z' },
    };
    const made = await api.send({ method: 'POST', path: root, body: session, as });
    const told = await api.send({ method: 'PATCH', path: `${root}/${name}/status`, body: { status: { observedGeneration: 1, phase, ...(phase === 'Ended' ? { endedAt: '2026-11-24T10:05:00Z', endReason: 'ClientLeft' } : {}) } }, as });
    if (made.status !== 201 || told.status !== 200) throw new Error(`${made.message}${told.message}`);
  }

  async function status(name: string): Promise<NonNullable<AccessSessionResource['status']>> {
    return ((await api.send({ method: 'GET', path: `${root}/${name}` })).body as AccessSessionResource).status ?? {};
  }

  async function until<T>(what: string, ask: () => Promise<T | null>): Promise<T> {
    const deadline = performance.now() + 40_000;
    for (;;) {
      const answer = await ask();
      if (answer !== null) return answer;
      if (performance.now() > deadline) throw new Error(`never: ${what}\n${operator?.log().slice(-2_000) ?? ''}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
});
