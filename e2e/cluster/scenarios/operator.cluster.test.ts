import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from '../../hosts/clients.ts';
import { kinds } from '../../../operator/kube/kinds.ts';
import { createKubeClient } from '../../../runtime/kube/http-client.ts';
import type { KubeClient, KubeObject } from '../../../runtime/kube/kube-client.ts';
import { applyObject, getObject } from '../../../runtime/kube/verbs.ts';
import { operatorName } from '../../../contract/names.ts';
import { openCluster, type Printed } from '../hosts/cluster.ts';

const cluster = openCluster();

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
}

const statusOf = (object: Printed | KubeObject | null): { readonly observedGeneration?: number; readonly programmed?: string; readonly endpoint?: string; readonly listener?: { readonly port: number }; readonly conditions?: readonly Condition[] } => (object?.status ?? {}) as never;
const reasonOf = (object: Printed | KubeObject | null, type: string): string | undefined => statusOf(object).conditions?.find((condition) => condition.type === type)?.reason;

const base = (namespace: string): string => `apiVersion: v1
kind: Namespace
metadata: {name: ${namespace}, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: Secret
metadata: {name: gateway, namespace: ${namespace}}
stringData: {username: u, password: p}
---
`;
const target = (namespace: string, name: string, more = ''): string => `apiVersion: sallyport.dev/v1alpha1
kind: Target
metadata: {name: ${name}, namespace: ${namespace}, labels: {env: prod, argocd.argoproj.io/instance: tenants}}
spec:
  ${more}
  postgres: {host: db.example, tls: {mode: VerifyFull}, credentials: {secretRef: {name: gateway}}, databases: [app]}
---
`;
const policy = (namespace: string, name: string): object => ({
  metadata: { name, namespace }, spec: { subjects: [{ kind: 'Group', name: 'sre' }], targets: { selector: { matchLabels: { env: 'prod' } } }, rules: [{ name: 'reads', action: 'Allow', postgres: { statements: ['Select'] } }] },
});

(cluster ? describe : describe.skip)('the operator in a cluster', () => {
  if (cluster === null) return void test.todo('needs a Kubernetes node');
  const [one, two] = ['operator-one', 'operator-two'];
  let client: KubeClient;
  let end = (): void => undefined;
  let refusedBefore = 0;

  beforeAll(async () => {
    const { server, ca, token, close } = await cluster.apiServer();
    client = createKubeClient({ server, ca: async () => Buffer.from(ca), headers: async () => ['authorization', `Bearer ${token}`] });
    end = close;
    // In a namespace that is being deleted nothing may be created: what an earlier scenario left would count as refused here.
    await eventually('no namespace is on its way out', async () => !(await cluster.must(['get', 'namespaces', '-o', 'jsonpath={.items[*].status.phase}'])).includes('Terminating'), 120_000);
    refusedBefore = (await operatorRequests()).refused;
    await cluster.apply(base(one) + target(one, 'orders-db') + base(two) + target(two, 'orders-db') + target(two, 'second-db'));
    await cluster.waitFor('condition=Ready', ['target', '--all'], one, 120);
    await cluster.waitFor('condition=Ready', ['target', '--all'], two, 120);
    // Ready means that each proxy which is up serves it; the second one may still be on its way.
    for (const namespace of [one, two]) await cluster.must(['rollout', 'status', 'deployment/sallyport-proxy', '-n', namespace, '--timeout=120s']);
  }, 420_000);

  afterAll(async () => {
    await cluster.kubectl(['delete', 'namespace', one, two, '--wait=false']);
    await cluster.kubectl(['delete', 'pods', '--all', '-n', one, '--force', '--grace-period=0']);
    await cluster.kubectl(['delete', 'pods', '--all', '-n', two, '--force', '--grace-period=0']);
    await client?.close();
    end();
  }, 60_000);

  /** Of all replicas. The Lease is renewed by PUT; the forgery probe is a POST that must be refused, as a dry run. */
  async function operatorRequests(): Promise<{ readonly writes: number; readonly refused: number }> {
    const pods = (await cluster?.list('pods', 'sallyport-system', ['-l', `app.kubernetes.io/name=${operatorName}`]) ?? []).map((pod) => pod.metadata.name);
    if (pods.length === 0) throw new Error('there is no operator');
    const texts = await Promise.all(pods.map(async (pod) => await cluster?.must(['get', '--raw', `/api/v1/namespaces/sallyport-system/pods/${pod}:8080/proxy/metrics`]) ?? ''));
    const lines = texts.flatMap((text) => text.split('\n')).filter((line) => line.startsWith('rest_client_requests_total'));
    const sum = (isWanted: (line: string) => boolean): number => lines.filter(isWanted).reduce((total, line) => total + Number(line.split(' ').at(-1)), 0);
    return { writes: sum((line) => /method="(PATCH|DELETE)"/.test(line) || /code="201",method="POST"/.test(line)), refused: sum((line) => /code="403"/.test(line) && !/method="POST"/.test(line)) };
  }

  const proxyPods = async (namespace: string): Promise<readonly string[]> => (await cluster.list('pods', namespace, ['-l', 'app.kubernetes.io/name=sallyport-proxy'])).map((pod) => String((pod.metadata as { readonly uid?: string }).uid)).sort();
  const configOf = async (namespace: string): Promise<{ readonly spec: { readonly config: string; readonly listeners: readonly { readonly port: number; readonly target: string; readonly releasedAt?: string }[] } }> => await cluster.get('proxyconfig', 'sallyport-proxy', namespace) as never;

  test('two namespaces have two proxies, and neither config knows of the other', async () => {
    expect([(await proxyPods(one)).length, (await proxyPods(two)).length]).toEqual([2, 2]);
    const names = async (namespace: string): Promise<unknown> => (JSON.parse((await configOf(namespace)).spec.config) as { readonly namespace: string; readonly targets: readonly { readonly name: string }[] });
    expect([await names(one), await names(two)]).toMatchObject([{ namespace: one, targets: [{ name: 'orders-db' }] }, { namespace: two, targets: [{ name: 'orders-db' }, { name: 'second-db' }] }]);
  }, 30_000);

  test('kubectl get reads as a dashboard', async () => {
    const rows = (await cluster.must(['get', 'tgt', '-n', one])).trim().split('\n').map((line) => line.split(/\s{2,}/).slice(0, 5));
    expect(rows).toEqual([['NAME', 'ENDPOINT', 'READY', 'PROGRAMMED', 'REASON'], ['orders-db', `orders-db.${one}:5432`, 'True', '2/2', 'Ready']]);
  }, 30_000);

  test('adding a Target restarts no pod, and its Service comes with every proxy\'s port open', async () => {
    const before = await proxyPods(one);
    await cluster.apply(target(one, 'late-db'));
    await cluster.waitFor('condition=Ready', ['target/late-db'], one, 60);
    expect(await proxyPods(one)).toEqual(before);
    const port = statusOf(await cluster.get('target', 'late-db', one)).listener?.port;
    const service = await cluster.get('service', 'late-db', one) as unknown as { readonly spec: { readonly clusterIP: string; readonly ports: readonly { readonly targetPort: number }[] }; readonly metadata: { readonly labels: object; readonly annotations: object } };
    expect(service.spec.ports.map((each) => each.targetPort)).toEqual([port]);
    expect(JSON.stringify([service.metadata.labels, service.metadata.annotations])).not.toContain('argocd');
    // Both replicas answer: the Service stands only before open ports.
    for (let attempt = 0; attempt < 10; attempt++) expect((await cluster.inside('bash', ['-c', `exec 3<>/dev/tcp/${service.spec.clusterIP}/5432`])).code).toBe(0);
  }, 90_000);

  test('a foreign Service of a Target\'s name is left as it is until its owner takes it away', async () => {
    await cluster.apply(`apiVersion: v1\nkind: Service\nmetadata: {name: taken, namespace: ${one}}\nspec: {ports: [{port: 80}], selector: {app: theirs}}\n`);
    const before = await cluster.get('service', 'taken', one);
    await cluster.apply(target(one, 'taken'));
    await eventually('NameConflict', async () => reasonOf(await cluster.get('target', 'taken', one), 'Accepted') === 'NameConflict', 30_000);
    expect(await cluster.get('service', 'taken', one)).toEqual(before);
    await cluster.must(['delete', 'service', 'taken', '-n', one]);
    await cluster.waitFor('condition=Ready', ['target/taken'], one, 60);
    expect((await cluster.get('service', 'taken', one) as unknown as { readonly spec: { readonly selector: unknown } }).spec.selector).toEqual({ 'app.kubernetes.io/name': 'sallyport-proxy' });
  }, 120_000);

  test('a Target made anew under its name gets another port, and the old one rests', async () => {
    const before = statusOf(await cluster.get('target', 'orders-db', one)).listener?.port;
    await cluster.must(['delete', 'target', 'orders-db', '-n', one]);
    await cluster.apply(target(one, 'orders-db'));
    await cluster.waitFor('condition=Ready', ['target/orders-db'], one, 60);
    const after = statusOf(await cluster.get('target', 'orders-db', one)).listener?.port;
    const { listeners } = (await configOf(one)).spec;
    expect([after === before, listeners.filter((listener) => listener.port === before).map((listener) => typeof listener.releasedAt)]).toEqual([false, ['string']]);
    expect((await cluster.get('service', 'orders-db', one) as unknown as { readonly spec: { readonly ports: readonly { readonly targetPort: number }[] } }).spec.ports[0]?.targetPort).toBe(after);
  }, 120_000);

  test('a policy runs on all proxies within 1.5 s after it was applied: median of 100, the p99 is printed', async () => {
    const apply = async (round: number): Promise<number> => {
      const body = policy(two, 'measured') as { readonly metadata: { readonly name: string; readonly namespace: string }; readonly spec: object };
      const startedMs = performance.now();
      const applied = await applyObject<KubeObject>(client, kinds.accessPolicy, { ...body, spec: { ...body.spec, limits: { rowsPerStatement: round + 1 } } } as never, { fieldManager: 'author', force: true });
      for (;;) {
        const stored = await getObject(client, kinds.accessPolicy, two, 'measured');
        const ready = statusOf(stored).conditions?.find((condition) => condition.type === 'Ready');
        if (statusOf(stored).observedGeneration === applied.metadata.generation && ready?.status === 'True') return performance.now() - startedMs;
        if (performance.now() - startedMs > 20_000) throw new Error(`round ${round} is never programmed`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    };
    const times: number[] = [];
    for (let round = 0; round < 100; round++) times.push(await apply(round));
    times.sort((a, b) => a - b);
    const [p50, p99] = [times[49] ?? 0, times[98] ?? 0];
    process.stderr.write(`from apply to Ready on both proxies: p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, most ${(times[99] ?? 0).toFixed(0)} ms\n`);
    // The p99 belongs to a machine that does nothing else; docs/performance.md has it.
    expect(p50).toBeLessThan(1_500);
  }, 300_000);

  test('with 200 policies an idle operator writes nothing for a minute, and was refused nothing', async () => {
    for (let index = 0; index < 200; index++) await applyObject(client, kinds.accessPolicy, policy(two, `p${index}`) as never, { fieldManager: 'author', force: true });
    await cluster.waitFor('condition=Ready', ['accesspolicy', '--all'], two, 120);
    await eventually('rest', async () => {
      const before = await operatorRequests();
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      return (await operatorRequests()).writes === before.writes;
    }, 60_000);
    const before = await operatorRequests();
    await new Promise((resolve) => setTimeout(resolve, 60_000));
    const after = await operatorRequests();
    // The integrity controller renews its word once in 5 minutes, in each namespace with a proxy.
    expect(before.writes).toBeGreaterThan(100);
    expect(after.writes - before.writes).toBeLessThanOrEqual(2);
    expect(after.refused).toBe(refusedBefore);
  }, 300_000);

  test('the last Target takes everything with it but the namespace\'s own keys', async () => {
    await cluster.must(['delete', 'target', '--all', '-n', one]);
    await eventually('the ProxyConfig is gone', async () => (await cluster.get('proxyconfig', 'sallyport-proxy', one)) === null, 60_000);
    await eventually('the rest is collected', async () => (await cluster.must(['get', 'deployment,service,serviceaccount,role,rolebinding,networkpolicy,poddisruptionbudget', '-n', one, '-l', 'app.kubernetes.io/managed-by=sallyport', '-o', 'name'])).trim() === '', 60_000);
    expect((await cluster.must(['get', 'secret', '-n', one, '-o', 'name'])).trim().split('\n').sort()).toEqual(['secret/gateway', 'secret/sallyport-proxy-hmac', 'secret/sallyport-proxy-ssh', 'secret/sallyport-proxy-tls', 'secret/sallyport-ssh-user-ca']);
  }, 150_000);
});
