import { afterAll, beforeAll, describe, test } from '@jest/globals';
import { endClients, eventually, type LiveProgram } from '../../hosts/clients.ts';
import { openCluster } from '../hosts/cluster.ts';
import { interruptClients } from '../hosts/interrupt.ts';
import { allowSre, type NamespaceWorld, startNamespace } from '../hosts/namespace-world.ts';

const cluster = openCluster();
const namespace = 'cancel';

(cluster ? describe : describe.skip)('Ctrl-C in a cluster', () => {
  if (cluster === null) return;
  let world: NamespaceWorld;
  let alice = '';

  beforeAll(async () => {
    alice = await cluster.tokenOf('alice', ['sre']);
    world = await startNamespace(cluster, { namespace, policies: allowSre });
  }, 240_000);

  afterAll(async () => {
    endClients();
    await world?.[Symbol.asyncDispose]();
  }, 60_000);

  test('through the Service reaches the replica that holds the session, whichever replica it comes to', async () => {
    const live = world.live(alice);
    // Which replica a CancelRequest comes to is chance: that twelve in a row come to the right one is one case in 4,096.
    for (let n = 1; n <= 12; n++) await cancelled(live, n);
    await live.end();
  }, 240_000);

  test('works while two generations run: the session is on a draining pod, the Service leads to new ones only', async () => {
    const live = world.live(alice);
    live.say("select 'before';");
    await live.until(/before/);
    const old = await pods();
    live.say('begin;');
    await cluster.must(['rollout', 'restart', 'deployment/sallyport-proxy', '-n', namespace]);
    await cluster.must(['rollout', 'status', 'deployment/sallyport-proxy', '-n', namespace, '--timeout=120s']);
    await eventually('the old pods end', async () => (await cluster.list('pods', namespace, ['-l', 'app.kubernetes.io/name=sallyport-proxy'])).filter(({ metadata }) => old.includes(metadata.name)).every(({ metadata }) => metadata.deletionTimestamp !== undefined), 60_000);
    // Terminating pods are out of the Service's endpoints once kube-proxy has heard of it.
    await eventually('new pods alone are behind the Service', async () => {
      const ready = (await cluster.list('endpointslices', namespace, ['-l', 'kubernetes.io/service-name=orders-db'])).flatMap((slice) => (slice['endpoints' as never] as readonly { readonly conditions: { readonly ready: boolean }; readonly targetRef: { readonly name: string } }[]).filter(({ conditions }) => conditions.ready).map(({ targetRef }) => targetRef.name));
      return ready.length === 2 && ready.every((name) => !old.includes(name));
    }, 60_000);
    for (let n = 1; n <= 3; n++) {
      await cancelled(live, 100 + n);
      live.say('rollback;\nbegin;');
    }
    await live.end();
  }, 300_000);

  /** Runs a statement that would take a minute, cancels it, and sees that the session goes on. */
  async function cancelled(live: LiveProgram, n: number): Promise<void> {
    live.say(`select 'sleeping ${n}';\nselect pg_sleep(60);`);
    await live.until(new RegExp(`sleeping ${n}\\b`));
    await eventually('the server runs it', async () => (await world.direct("select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'")).out === '1\n', 20_000);
    const before = (live.text().match(/canceling statement due to user request/g) ?? []).length;
    await interruptClients(cluster!, namespace);
    await eventually('the statement is cancelled', () => (live.text().match(/canceling statement due to user request/g) ?? []).length > before, 10_000);
  }

  async function pods(): Promise<readonly string[]> {
    return (await cluster!.list('pods', namespace, ['-l', 'app.kubernetes.io/name=sallyport-proxy'])).map(({ metadata }) => metadata.name);
  }
});
