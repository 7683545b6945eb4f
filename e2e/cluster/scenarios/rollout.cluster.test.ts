import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import { endClients, eventually } from '../../hosts/clients.ts';
import { verifyCollected } from '../../hosts/collected-lines.ts';
import { type Cluster, openCluster } from '../hosts/cluster.ts';
import { gateOf, type LedgerClient, type LedgerResult, startLedger } from '../hosts/ledger-load.ts';
import { type NamespaceWorld, startNamespace } from '../hosts/namespace-world.ts';
import { openPodDoors, proxyPods } from '../hosts/pod-doors.ts';
import { probeService } from '../hosts/probe-service.ts';
import { type Door, openDoor } from '../hosts/through-service.ts';

const cluster = openCluster();
const namespace = 'rollout';

const policies = JSON.stringify({
  apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessPolicy', metadata: { name: 'sre', namespace },
  spec: { subjects: [{ kind: 'Group', name: 'sre' }], targets: { names: ['orders-db'] }, rules: [{ name: 'all', action: 'Allow', postgres: { statements: ['Select', 'Insert', 'Call'] } }] },
});

(cluster ? describe : describe.skip)('under 50 live sessions with work in flight', () => {
  if (cluster === null) return void test.todo('needs a Kubernetes node');
  let world: NamespaceWorld;
  let door: Door;
  let alice = '';
  const running: LedgerClient[] = [];

  beforeAll(async () => {
    [world, alice] = await Promise.all([startNamespace(cluster, { namespace, policies, schema: 'create table ledger (id text);' }), cluster.tokenOf('alice', ['sre'])]);
    door = await openDoor(cluster, world);
  }, 240_000);

  afterEach(() => {
    for (const client of running.splice(0)) void client.stop();
  });

  afterAll(async () => {
    door?.close();
    endClients();
    await world?.[Symbol.asyncDispose]();
  }, 60_000);

  async function load(prefix: string): Promise<readonly LedgerClient[]> {
    const clients: LedgerClient[] = [];
    const gate = gateOf(6);
    for (let i = 0; i < 50; i++) {
      // Every fifth is in a transaction of six seconds most of the time.
      clients.push(startLedger({ name: `${prefix}${i}`, connect: () => gate(() => door.connect(alice)), holdSeconds: i % 5 === 0 ? 6 : 0, pauseMs: 300 }));
      await eventually(`client ${i} works`, () => i % 5 === 0 || (clients[i]?.count() ?? 0) > 0, 20_000);
    }
    running.push(...clients);
    return clients;
  }

  async function outcome(clients: readonly LedgerClient[]): Promise<LedgerResult> {
    const results = await Promise.all(clients.map((client) => client.stop()));
    return {
      acknowledged: results.flatMap(({ acknowledged }) => acknowledged), cuts: results.flatMap(({ cuts }) => cuts),
      reconnects: results.reduce((sum, { reconnects }) => sum + reconnects, 0),
    };
  }

  async function ledger(prefix: string): Promise<readonly string[]> {
    const { out, err, code } = await world.direct(`select id from ledger where id like '${prefix}%' order by id`);
    if (code !== 0) throw new Error(err);
    return out.trimEnd().split('\n');
  }

  test('a rollout of the proxies cuts no transaction, loses no statement and runs none twice, refuses no connection, and Ctrl-C works while two generations run', async () => {
    const before = new Set((await proxyPods(cluster, namespace)).map(({ metadata }) => metadata.name));
    const clients = await load('p');
    const sleeper = await door.connect(alice);
    await sleeper.query('begin');
    const sleeping = sleeper.query('select pg_sleep(120)').then(() => 'slept', (error: unknown) => (error as pg.DatabaseError).code);
    const clusterIP = await cluster.must(['get', 'service', 'orders-db', '-n', namespace, '-o', 'jsonpath={.spec.clusterIP}']);
    const probing = probeService(cluster, world, clusterIP, alice, 30).catch((error: unknown) => ({ opened: 0, failed: [String(error)] }));
    await cluster.must(['rollout', 'restart', 'deployment/sallyport-proxy', '-n', namespace]);
    await eventually('all ready pods are new', async () => {
      const pods = await proxyPods(cluster, namespace);
      return pods.length === 2 && pods.every(({ metadata, status }) => !before.has(metadata.name) && isReady(status));
    }, 90_000);
    // The old pods have closed their ports by now or do within seconds: new connections reach the new generation only.
    await new Promise<void>((resolve) => void setTimeout(resolve, 7_000));
    const counts = clients.map((client) => client.count());
    await eventually('every client works on', () => clients.every((client, i) => client.count() > (counts[i] ?? 0)), 120_000);
    const old = (await cluster.list('pods', namespace, ['-l', 'app.kubernetes.io/name=sallyport-proxy'])).filter(({ metadata }) => metadata.deletionTimestamp !== undefined);
    expect(old.length).toBeGreaterThan(0);
    await cancelThrough(cluster.forward, clusterIP, sleeper);
    expect(await Promise.race([sleeping, new Promise((resolve) => void setTimeout(resolve, 5_000, 'no effect within 5 s'))])).toBe('57014');
    await sleeper.end();
    const { opened, failed } = await probing;
    const { acknowledged, cuts, reconnects } = await outcome(clients);
    process.stderr.write(`rollout of the proxies: ${acknowledged.length} acknowledged, ${reconnects} reconnects, ${cuts.length} cuts; ${opened} logins of psql opened, ${failed.length} not\n`);
    expect(cuts).toEqual([]);
    expect(reconnects).toBeGreaterThan(0);
    expect(opened).toBeGreaterThan(5);
    expect(failed).toEqual([]);
    expect(await ledger('p')).toEqual([...acknowledged].sort());
    await eventually('the old generation is gone', async () => (await cluster.list('pods', namespace, ['-l', 'app.kubernetes.io/name=sallyport-proxy'])).length === 2, 60_000);
  }, 420_000);

  test('of a proxy that is deleted by force together with its volume, the collected lines hold every answered statement and say that the end is missing', async () => {
    const [pod] = await proxyPods(cluster, namespace);
    if (!pod) throw new Error('no proxy');
    const collector = cluster.live(['logs', '-f', '-n', namespace, pod.metadata.name]);
    await collector.until(/log\.opened/);
    const doors = await openPodDoors(cluster, world);
    const session = await doors.find((each) => each.pod === pod.metadata.name)?.connect(alice);
    if (!session) throw new Error('no door');
    for (let i = 0; i < 20; i++) await session.query('insert into ledger values ($1)', [`f-${i}`]);
    await cluster.must(['delete', 'pod', pod.metadata.name, '-n', namespace, '--force', '--grace-period=0']);
    const collected = await collector.ended;
    for (const each of doors) each.close();
    const { exit, text } = await verifyCollected(collected.out);
    process.stderr.write(`collected of a proxy that was deleted by force: ${text.slice(0, 1_500)}\n`);
    expect([exit === 2 || exit === 3, text.includes('the log is not finished'), text.includes('session-open')]).toEqual([true, true, true]);
    expect(Number(/(\d+) intents/.exec(text)?.[1])).toBeGreaterThanOrEqual(20);
    expect((await ledger('f-')).length).toBe(20);
    await eventually('two proxies are ready again', async () => (await proxyPods(cluster, namespace)).filter(({ status }) => isReady(status)).length === 2, 90_000);
  }, 180_000);

  test('a rollout of the operator is not noticed', async () => {
    const clients = await load('o');
    await cluster.must(['rollout', 'restart', 'deployment/sallyport-operator', '-n', 'sallyport-system']);
    await cluster.must(['rollout', 'status', 'deployment/sallyport-operator', '-n', 'sallyport-system', '--timeout=120s']);
    const { acknowledged, cuts, reconnects } = await outcome(clients);
    process.stderr.write(`rollout of the operator: ${acknowledged.length} acknowledged, ${reconnects} reconnects\n`);
    expect([cuts, reconnects]).toEqual([[], 0]);
    expect(await ledger('o')).toEqual([...acknowledged].sort());
    expect((await world.psql(alice, 'select 1')).out).toBe('1\n');
  }, 300_000);
});

function isReady(status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] } | undefined): boolean {
  return status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') ?? false;
}

/** What Ctrl-C in psql sends: a CancelRequest on a connection of its own, to whichever replica the Service gives it. */
async function cancelThrough(forward: Cluster['forward'], clusterIP: string, client: pg.Client): Promise<void> {
  const { processID, secretKey } = client as unknown as { readonly processID: number; readonly secretKey: number };
  const { port, close } = await forward(clusterIP, 5_432);
  const request = Buffer.alloc(16);
  [16, 80_877_102, processID, secretKey].forEach((value, i) => request.writeInt32BE(value, i * 4));
  await new Promise<void>((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(request));
    socket.once('close', () => resolve()).once('error', reject).resume();
  });
  close();
}
