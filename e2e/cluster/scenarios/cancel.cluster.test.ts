import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { endClients, eventually, type LiveProgram } from '../../hosts/clients.ts';
import { openCluster } from '../hosts/cluster.ts';
import { interruptClients } from '../hosts/interrupt.ts';
import { allowSre, type NamespaceWorld, startNamespace } from '../hosts/namespace-world.ts';

const cluster = openCluster();
const namespace = 'cancel';

interface Endpoints {
  readonly endpoints?: readonly { readonly conditions: { readonly ready: boolean }; readonly targetRef: { readonly name: string } }[];
}

(cluster ? describe : describe.skip)('Ctrl-C in a cluster', () => {
  if (cluster === null) return void test.todo('needs a Kubernetes node');
  let world: NamespaceWorld;
  let alice = '';

  beforeAll(async () => {
    alice = await cluster.tokenOf('alice', ['sre']);
    world = await startNamespace(cluster, { namespace, policies: allowSre.replace('FunctionCall', 'FunctionCall, Call') });
  }, 240_000);

  afterAll(async () => {
    endClients();
    await world?.[Symbol.asyncDispose]();
  }, 60_000);

  test('through the Service reaches the replica that holds the session, whichever replica it comes to', async () => {
    // Which replica a CancelRequest comes to is chance: that twelve come to the right one by themselves is one case in 4,096.
    const sessions = await sleeping(12);
    await interruptClients(cluster, namespace);
    await Promise.all(sessions.map((live) => live.until(/canceling statement due to user request/)));
    await Promise.all(sessions.map((live) => live.end()));
  }, 240_000);

  test('works while two generations run: the sessions are on draining pods, the Service leads to new ones only', async () => {
    const old = await pods();
    const sessions = await sleeping(4);
    await cluster.must(['rollout', 'restart', 'deployment/sallyport-proxy', '-n', namespace]);
    await cluster.must(['rollout', 'status', 'deployment/sallyport-proxy', '-n', namespace, '--timeout=120s']);
    // Terminating pods leave the Service's endpoints; kube-proxy hears of it a little later.
    await eventually('new pods alone are behind the Service', async () => {
      const ready = (await cluster.list('endpointslices', namespace, ['-l', 'kubernetes.io/service-name=orders-db'])).flatMap((slice) => (slice as unknown as Endpoints).endpoints ?? []).filter(({ conditions }) => conditions.ready).map(({ targetRef }) => targetRef.name);
      return ready.length === 2 && ready.every((name) => !old.includes(name));
    }, 60_000);
    expect((await world.psql(alice, 'select 7')).out).toBe('7\n');
    expect(await running()).toBe(4);
    await interruptClients(cluster, namespace);
    await Promise.all(sessions.map((live) => live.until(/canceling statement due to user request/)));
    await Promise.all(sessions.map((live) => live.end()));
  }, 300_000);

  /** Sessions that each run a statement which takes minutes. */
  async function sleeping(count: number): Promise<readonly LiveProgram[]> {
    const sessions = Array.from({ length: count }, () => world.live(alice));
    for (const live of sessions) live.say('begin;\nselect pg_sleep(300);');
    await eventually('the server runs them', async () => (await running()) === count, 60_000);
    return sessions;
  }

  async function running(): Promise<number> {
    return Number((await world.direct("select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'")).out);
  }

  async function pods(): Promise<readonly string[]> {
    return (await cluster!.list('pods', namespace, ['-l', 'app.kubernetes.io/name=sallyport-proxy'])).map(({ metadata }) => metadata.name);
  }
});
