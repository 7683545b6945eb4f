import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { proxyConfigKind } from '../../sidecar/adapters/cluster/kinds.ts';
import { eventually } from '../hosts/clients.ts';
import { type PodProcess, type ProxyWorld, startProxyWorld } from '../hosts/proxy-world.ts';

let world: ProxyWorld;
const open = new Set<pg.Client>();

const everything = { subjects: ['group:sre'], rules: [{ name: 'all', action: 'Allow' as const }] };

beforeAll(async () => {
  world = await startProxyWorld();
}, 60_000);
afterEach(async () => {
  world.api.faults.clear();
  await world.apiUp();
  await Promise.all([...open].map((client) => client.end().catch(() => undefined)));
  open.clear();
});
afterAll(async () => world?.[Symbol.asyncDispose]());

async function session(pod: PodProcess, groups: readonly string[] = ['sre']): Promise<{ readonly client: pg.Client; readonly ended: Promise<{ readonly code: string | undefined; readonly message: string; readonly atMs: number }> }> {
  const client = new pg.Client({ host: pod.host, port: world.port, user: 'me', password: await world.token('ann', groups), database: 'postgres', ssl: { ca: world.ca, servername: 'localhost' } });
  const { promise, resolve } = Promise.withResolvers<{ readonly code: string | undefined; readonly message: string; readonly atMs: number }>();
  client.on('error', (error) => resolve({ code: (error as pg.DatabaseError).code, message: error.message, atMs: performance.now() }));
  await client.connect();
  open.add(client);
  return { client, ended: promise };
}

async function refusal(pod: PodProcess): Promise<string> {
  try {
    await session(pod);
    return 'opened';
  } catch (error) {
    return (error as Error).message;
  }
}

const one = async (client: pg.Client): Promise<unknown> => (await client.query('select 1 as one')).rows;
const applied = (pod: PodProcess, revision: number): Promise<unknown> => eventually(`${pod.pod} applied ${revision}`, () => world.ack(pod.pod)?.['revision'] === revision && world.ack(pod.pod)?.['state'] === 'Applied');

describe('a proxy as a pod', () => {
  test('serves the config of its namespace, says so for itself alone, and ends in order', async () => {
    const revision = world.putConfig({ everything });
    const [a, b] = await Promise.all([world.start('pod-a'), world.start('pod-b')]);
    await Promise.all([applied(a, revision), applied(b, revision)]);
    expect(world.ack('pod-a')).toEqual({ pod: 'pod-a', podUID: 'uid-pod-a', revision, hash: expect.stringMatching(/^sha256:/), state: 'Applied', appliedAt: expect.any(String) });
    const { client, ended } = await session(a);
    expect(await one(client)).toEqual([{ one: 1 }]);
    expect([await a.metric('sallyport_sessions'), await b.metric('sallyport_sessions')]).toEqual([1, 0]);
    expect(await a.metric('sallyport_proxy_config_stale_seconds')).toBeLessThan(11);
    expect(a.stdout()).toContain('"class_uid"');
    const exits = [a.stop(), b.stop()];
    expect((await ended).code).toBe('57P01');
    expect(await Promise.all(exits)).toEqual([0, 0]);
  }, 60_000);

  test('ends a session within a second when its policy is gone, and applies what allows anew', async () => {
    const pod = await world.start('pod-a');
    const { ended } = await session(pod);
    await one((await session(pod)).client);
    const startMs = performance.now();
    world.putConfig({});
    const end = await ended;
    expect(end).toMatchObject({ code: '57P01', message: expect.stringContaining('SESSION_REVOKED') });
    expect(end.atMs - startMs).toBeLessThan(1_000);
    expect(await refusal(pod)).toContain('ACCESS_DENIED');
    await applied(pod, world.putConfig({ everything }));
    expect(await one((await session(pod)).client)).toEqual([{ one: 1 }]);
  });

  test('bridges a watch that is dead without a word within ten seconds', async () => {
    const pod = await world.start('pod-a');
    await applied(pod, world.putConfig({ everything }));
    const { ended } = await session(pod);
    for (const watch of world.api.watches) watch.stall();
    const startMs = performance.now();
    world.putConfig({});
    expect((await ended).atMs - startMs).toBeLessThan(10_500);
    await applied(pod, world.putConfig({ everything }));
  }, 30_000);

  test('keeps its config when an older one or a broken one is offered, and says why', async () => {
    const pod = await world.start('pod-a');
    const revision = world.putConfig({ everything });
    await applied(pod, revision);
    const { client } = await session(pod);
    world.api.remove(proxyConfigKind, 'payments', 'sallyport-proxy');
    world.putConfig({}, { revision: revision - 1 });
    await eventually('the pod refuses', () => world.ack(pod.pod)?.['state'] === 'Rejected');
    expect(world.ack(pod.pod)).toMatchObject({ state: 'Rejected', reason: 'RevisionGoesBack', revision });
    expect([await one(client), (await pod.ready()).status]).toEqual([[{ one: 1 }], 200]);
    await applied(pod, world.putConfig({ everything }, { revision: revision + 1 }));
    expect(await one(client)).toEqual([{ one: 1 }]);
  });

  test('uses a rotated credential with the next login, at once', async () => {
    const pod = await world.start('pod-a');
    const admin = new pg.Client({ host: world.postgres.socketDirectory, port: world.postgres.port, user: 'postgres', database: 'postgres' });
    await admin.connect();
    await admin.query("create role rotated login password 'old'");
    world.putSecret('rotated', { username: 'rotated', password: 'old' });
    await applied(pod, world.putConfig({ everything }, { credentialsSecret: 'rotated' }));
    expect(await one((await session(pod)).client)).toEqual([{ one: 1 }]);
    await admin.query("alter role rotated password 'new'");
    world.putSecret('rotated', { username: 'rotated', password: 'new' });
    expect(await one((await session(pod)).client)).toEqual([{ one: 1 }]);
    await admin.end();
    await applied(pod, world.putConfig({ everything }));
  });

  test('names the Target whose Secret is missing, and no longer when it is there', async () => {
    const pod = await world.start('pod-a');
    await applied(pod, world.putConfig({ everything }, { credentialsSecret: 'absent' }));
    await eventually('it is named', () => JSON.stringify(world.ack(pod.pod)).includes('"failedTargets":[{"name":"db","reason":"SecretNotFound"}]'));
    expect(await refusal(pod)).toContain('SECRET_UNAVAILABLE');
    world.putSecret('absent', { username: world.postgres.owner, password: world.postgres.password });
    await eventually('it is named no more', () => world.ack(pod.pod)?.['failedTargets'] === undefined, 10_000);
    expect(await one((await session(pod)).client)).toEqual([{ one: 1 }]);
    await applied(pod, world.putConfig({ everything }));
  }, 30_000);
});

describe('without the API server', () => {
  test('sessions live on, new ones open, and a change is in force soon after it is back', async () => {
    const pod = await world.start('pod-a');
    await applied(pod, world.putConfig({ everything }));
    const { client, ended } = await session(pod);
    await world.apiDown();
    expect(await one(client)).toEqual([{ one: 1 }]);
    expect(await one((await session(pod)).client)).toEqual([{ one: 1 }]);
    expect((await pod.ready()).status).toBe(200);
    world.putConfig({});
    await world.apiUp();
    expect((await ended).message).toContain('SESSION_REVOKED');
    await applied(pod, world.putConfig({ everything }));
  }, 60_000);

  test('a container that starts again serves from its snapshot; a new pod admits nobody', async () => {
    const revision = world.putConfig({ everything });
    const first = await world.start('pod-a');
    await applied(first, revision);
    expect(await one((await session(first)).client)).toEqual([{ one: 1 }]);
    await first.kill();
    await world.apiDown();
    const again = await world.start('pod-a');
    // Its credentials were in memory only: without the API server there is no login at a target.
    expect(await refusal(again)).toContain('SECRET_UNAVAILABLE');
    const fresh = await world.start('pod-new', { untilReady: false });
    await eventually('it says why', () => fresh.stderr().includes('no usable snapshot'), 10_000);
    expect(await fresh.ready()).toEqual({ status: 503, text: 'not ready: CONFIG_NOT_LOADED\n' });
    await world.apiUp();
    await eventually('both serve', async () => (await fresh.ready()).status === 200 && (await refusal(again)) === 'opened', 40_000);
  }, 90_000);
});
