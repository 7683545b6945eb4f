import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually, type LiveProgram, type Ran } from '../../hosts/clients.ts';
import { openCluster, type Printed } from '../hosts/cluster.ts';
import { type NamespaceWorld, allowSre, startNamespace } from '../hosts/namespace-world.ts';

const cluster = openCluster();
const chart = fileURLToPath(new URL('../../../helm/sallyport', import.meta.url));
const system = 'sallyport-system';
const namespace = 'lifecycle-payments';

(cluster ? describe : describe.skip)('the life of a release', () => {
  if (cluster === null) return void test.todo('needs a Kubernetes node');
  let world: NamespaceWorld;
  let alice = '';
  /** Of the shared node's release, and those of this file. */
  let found = '';
  let values = '';
  let live: LiveProgram;

  beforeAll(async () => {
    found = (await helm('helm', 'get', 'values', 'sallyport', '--output', 'json')).out;
    const given = (JSON.parse(found) ?? {}) as { readonly proxy?: object };
    // Kubernetes looks at a namespace that ends again after half of its pods' grace period, which is the drain and a minute.
    values = JSON.stringify({ ...given, proxy: { ...given.proxy, drainSeconds: 1 } });
    await must('helm', ['upgrade', 'sallyport', chart, '--values', '-', '--wait', '--timeout', '3m'], values);
    alice = await cluster.tokenOf('alice', ['sre']);
    world = await startNamespace(cluster, { namespace });
    live = world.live(alice);
    live.say('select 6 * 7;');
    await live.until(/^42$/m);
  }, 240_000);

  // The shared node is left as it was found, whatever happened here.
  afterAll(async () => {
    await live?.end();
    await must('helm', ['upgrade', '--install', 'sallyport', chart, '--values', '-', '--reset-values', '--wait', '--timeout', '3m'], found);
    await world?.[Symbol.asyncDispose]();
  }, 240_000);

  describe.each(['helm', 'helm3'])('%s', (program) => {
    test('refuses a wrong value with its place, and changes nothing', async () => {
      const before = await clusterWide();
      const ran = await helm(program, 'upgrade', 'sallyport', chart, '--reuse-values', '--set', 'proxy.maxSession=5');
      expect(ran.code).not.toBe(0);
      expect(ran.err).toContain("at '/proxy': additional properties 'maxSession' not allowed");
      expect(await clusterWide()).toEqual(before);
    });

    test('uninstalls the operator, its rights and the admission policies, and leaves every custom resource as it was', async () => {
      const before = await customResources();
      expect(before.map((line) => line.split(' ')[0])).toEqual(expect.arrayContaining(['Target/orders-db', 'AccessPolicy/sre', 'ProxyConfig/sallyport-proxy', 'IdentityProvider/company']));
      await must(program, ['uninstall', 'sallyport', '--wait', '--timeout', '2m']);
      expect(await customResources()).toEqual(before);
      expect(await clusterWide()).toEqual([...kinds.map((kind) => `CustomResourceDefinition/${kind}.sallyport.dev`)].sort());
      await eventually('the pods of the operator are gone', async () => (await cluster.list('pods', system)).length === 0, 40_000);
    }, 180_000);

    test('does not end a session by that: the proxies go on without operator and rights, for new sessions too', async () => {
      live.say("select 'still ' || 'here';");
      await live.until(/still here/, live.text().lastIndexOf('\n'));
      expect(await world.psql(alice, 'select count(*) from orders')).toEqual({ code: 0, out: '20\n', err: '' });
    });

    test('lets people write resources meanwhile, which are as InProgress as any that nobody has looked at', async () => {
      await cluster.must(['apply', '-n', namespace, '-f', '-'], { input: allowSre.replace('name: sre}', `name: during-${program}}`) });
      expect((await cluster.get('accesspolicy', `during-${program}`, namespace))?.status).toEqual({ observedGeneration: -1 });
    });

    test('installs again, waits until the operator is there, and finds everything', async () => {
      const before = await proxyPods();
      await must(program, ['install', 'sallyport', chart, '--values', '-', '--wait', '--timeout', '3m'], values);
      expect((await cluster.get('deployment', 'sallyport-operator', system))?.status).toMatchObject({ readyReplicas: 2, updatedReplicas: 2 });
      expect((await clusterWide()).filter((name) => name.startsWith('ValidatingAdmissionPolicyBinding/')).length).toBeGreaterThanOrEqual(12);
      await cluster.waitFor('condition=Ready', [`accesspolicy/during-${program}`, 'target/orders-db'], namespace, 60);
      await cluster.waitFor('condition=ApprovalIntegrity', ['proxyconfig/sallyport-proxy'], namespace, 60);
      expect(await proxyPods()).toEqual(before);
      live.say("select 'and ' || 'again';");
      await live.until(/and again/, live.text().lastIndexOf('\n'));
    }, 240_000);

    test('upgrades and rolls back, waiting each time for the operator that the values describe', async () => {
      const first = await revision();
      await must(program, ['upgrade', 'sallyport', chart, '--values', '-', '--set', 'operator.logLevel=debug', '--wait', '--timeout', '3m'], values);
      expect(await settings()).toMatchObject({ logLevel: 'debug' });
      const upgraded = await cluster.get('deployment', 'sallyport-operator', system);
      expect(upgraded?.status).toMatchObject({ readyReplicas: 2, updatedReplicas: 2, observedGeneration: upgraded?.metadata.generation });
      await must(program, ['rollback', 'sallyport', String(first), '--wait', '--timeout', '3m']);
      expect(await settings()).toMatchObject({ logLevel: 'info' });
      await cluster.waitFor('condition=Ready', ['target/orders-db'], namespace, 60);
    }, 300_000);

    test('brings an altered admission policy and a lost right back by an upgrade', async () => {
      await cluster.must(['delete', 'validatingadmissionpolicybinding', 'accessdecision-integrity.sallyport.dev']);
      await eventually('no approval counts', async () => integrity(await cluster.get('proxyconfig', 'sallyport-proxy', namespace)) === 'False', 30_000);
      await must(program, ['upgrade', 'sallyport', chart, '--values', '-', '--set', `commonLabels.round=${program}`, '--timeout', '3m'], values);
      await cluster.waitFor('condition=ApprovalIntegrity', ['proxyconfig/sallyport-proxy'], namespace, 90);
    }, 240_000);

    test('a served namespace can be deleted, with the operator and without it', async () => {
      for (const name of [`lifecycle-with-${program}`, `lifecycle-without-${program}`]) {
        await cluster.apply(emptyTenant(name));
        await eventually('its proxies are ready', async () => (await cluster.get('deployment', 'sallyport-proxy', name))?.status?.readyReplicas === 2, 90_000);
      }
      await deleted(`lifecycle-with-${program}`);
      await must(program, ['uninstall', 'sallyport', '--wait', '--timeout', '2m']);
      await deleted(`lifecycle-without-${program}`);
      await must(program, ['install', 'sallyport', chart, '--values', '-', '--wait', '--timeout', '3m'], values);
    }, 900_000);
  });

  test('serves the listed namespaces and no other, without a cluster-wide right on anything in a namespace', async () => {
    await cluster.apply(emptyTenant('lifecycle-foreign'));
    await eventually('it is served while all are', async () => (await cluster.get('deployment', 'sallyport-proxy', 'lifecycle-foreign')) !== null, 60_000);
    await deleted('lifecycle-foreign');
    await must('helm', ['upgrade', 'sallyport', chart, '--values', '-', '--set', `watchNamespaces={${namespace}}`, '--wait', '--timeout', '3m'], values);
    await cluster.apply(emptyTenant('lifecycle-foreign'));
    await cluster.must(['apply', '-n', namespace, '-f', '-'], { input: allowSre.replace('name: sre}', 'name: listed}') });
    await cluster.waitFor('condition=Ready', ['accesspolicy/listed', 'target/orders-db'], namespace, 90);
    await cluster.waitFor('condition=Ready', ['identityprovider/company'], undefined, 60);
    expect((await cluster.get('target', 'orders-db', 'lifecycle-foreign'))?.status).toEqual({ observedGeneration: -1 });
    expect(await cluster.get('deployment', 'sallyport-proxy', 'lifecycle-foreign')).toBeNull();
    const can = async (verb: string, resource: string, where: string): Promise<string> => (await cluster.kubectl(['auth', 'can-i', verb, resource, '-n', where, `--as=system:serviceaccount:${system}:sallyport-operator`])).out.trim();
    const asked = [['list', 'targets.sallyport.dev'], ['create', 'secrets'], ['get', 'secrets'], ['patch', 'deployments.apps'], ['create', 'rolebindings.rbac.authorization.k8s.io']] as const;
    expect(await Promise.all(asked.map(([verb, resource]) => can(verb, resource, 'lifecycle-foreign')))).toEqual(asked.map(() => 'no'));
    expect(await Promise.all(asked.map(([verb, resource]) => can(verb, resource, namespace)))).toEqual(asked.map(() => 'yes'));
    expect(await cluster.must(['logs', '-n', system, '-l', 'app.kubernetes.io/name=sallyport-operator', '--tail=-1'])).not.toMatch(/forbidden|403/i);
    await deleted('lifecycle-foreign');
  }, 900_000);

  const kinds = ['accessdecisions', 'accesspolicies', 'accessrequests', 'accesssessions', 'identityproviders', 'proxyconfigs', 'targets'];

  function helm(program: string, ...args: readonly string[]): Promise<Ran> {
    return cluster?.inside(program, [...args, '--namespace', system]) ?? Promise.reject(new Error('no cluster'));
  }

  async function must(program: string, args: readonly string[], input = ''): Promise<void> {
    const ran = await cluster?.inside(program, [...args, '--namespace', system], input);
    if (ran?.code !== 0) throw new Error(`${program} ${args.join(' ')}: ${ran?.err}${ran?.out}`);
  }

  /** Everything of Sallyport that lives in no namespace, custom resources left out. */
  async function clusterWide(): Promise<readonly string[]> {
    const found = await Promise.all(['customresourcedefinition', 'validatingadmissionpolicy', 'validatingadmissionpolicybinding', 'clusterrole', 'clusterrolebinding'].map((kind) => cluster?.list(kind, undefined, ['-l', 'app.kubernetes.io/part-of=sallyport']) ?? Promise.resolve([])));
    return found.flat().map((object) => `${object.kind}/${object.metadata.name}`).sort();
  }

  /** Custom resources with what would change if anybody had made them anew or written to them. */
  async function customResources(): Promise<readonly string[]> {
    const found = await Promise.all(['target', 'accesspolicy', 'identityprovider', 'proxyconfig'].map((kind) => cluster?.list(kind) ?? Promise.resolve([])));
    return found.flat().map(({ kind, metadata, spec }) => `${kind}/${metadata.name} ${metadata.namespace} ${metadata.uid} ${metadata.generation} ${JSON.stringify(spec)}`).sort();
  }

  async function proxyPods(): Promise<readonly string[]> {
    return ((await cluster?.list('pods', namespace, ['-l', 'app.kubernetes.io/name=sallyport-proxy'])) ?? []).map((pod) => pod.metadata.uid).sort();
  }

  async function settings(): Promise<unknown> {
    return JSON.parse((await cluster?.get('configmap', 'sallyport-operator', system))?.data['settings.json'] as string);
  }

  async function revision(): Promise<number> {
    const history = JSON.parse((await helm('helm', 'history', 'sallyport', '--output', 'json')).out) as readonly { readonly revision: number }[];
    return Math.max(...history.map((entry) => entry.revision));
  }

  function integrity(config: Printed | null): string | undefined {
    return (config?.status?.conditions as readonly { readonly type: string; readonly status: string }[] | undefined)?.find((condition) => condition.type === 'ApprovalIntegrity')?.status;
  }

  /** A namespace with a Target whose server does not answer: its proxies run all the same. */
  function emptyTenant(name: string): string {
    return `apiVersion: v1
kind: Namespace
metadata: {name: ${name}, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: Secret
metadata: {name: orders-gateway, namespace: ${name}}
stringData: {username: sallyport, password: none}
---
apiVersion: sallyport.dev/v1alpha1
kind: Target
metadata: {name: orders-db, namespace: ${name}}
spec: {postgres: {host: nowhere.${name}.svc, credentials: {secretRef: {name: orders-gateway}}, databases: [orders]}}
`;
  }

  async function deleted(name: string): Promise<void> {
    const ran = await cluster?.kubectl(['delete', 'namespace', name, '--timeout=300s']);
    if (ran?.code !== 0) throw new Error(`${ran?.err}\n${JSON.stringify((await cluster?.get('namespace', name))?.status)}`);
  }
});
