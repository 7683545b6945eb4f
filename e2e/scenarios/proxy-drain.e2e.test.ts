import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { eventually } from '../hosts/clients.ts';
import { type PodProcess, type ProxyWorld, startProxyWorld } from '../hosts/proxy-world.ts';
import { sallyport } from '../hosts/sallyport.ts';

let world: ProxyWorld;

beforeAll(async () => {
  world = await startProxyWorld();
  world.putConfig({ everything: { subjects: ['group:sre'], rules: [{ name: 'all', action: 'Allow' }] } });
}, 60_000);
afterAll(async () => world?.[Symbol.asyncDispose]());

interface Watched {
  readonly client: pg.Client;
  readonly ended: Promise<{ readonly code: string | undefined; readonly atMs: number }>;
}

async function session(pod: PodProcess): Promise<Watched> {
  const client = new pg.Client({ host: pod.host, port: world.port, user: 'me', password: await world.token('ann', ['sre']), database: 'postgres', ssl: { ca: world.ca, servername: 'localhost' } });
  const { promise, resolve } = Promise.withResolvers<{ readonly code: string | undefined; readonly atMs: number }>();
  client.on('error', (error) => resolve({ code: (error as pg.DatabaseError).code, atMs: performance.now() }));
  await client.connect();
  return { client, ended: promise };
}

test('a pod that is asked to end says so, serves whoever still comes for five seconds, then closes its ports; only idle sessions end before the deadline', async () => {
  const pod = await world.start('pod-a', { settings: { drainSeconds: 9 } });
  const [idle, open, running] = await Promise.all([session(pod), session(pod), session(pod)]);
  await open.client.query('create table half (a int)');
  await open.client.query('begin');
  await open.client.query('insert into half values (1)');
  const answer = running.client.query('select pg_sleep(60)').catch((error: unknown) => (error as pg.DatabaseError).code);
  await eventually('it runs', () => world.postgres.log().includes('select pg_sleep(60)'));
  const startMs = performance.now();
  pod.terminate();
  await eventually('it is not ready', async () => (await pod.ready()).text === 'not ready: DRAINING\n');
  await eventually('it acknowledges that it drains', () => world.ack('pod-a')?.['state'] === 'Draining');
  expect(await pod.health()).toBe(200);

  const late = await session(pod);
  expect((await late.client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  const ends = await Promise.all([idle.ended, late.ended]);
  expect(ends.map(({ code }) => code)).toEqual(['57P01', '57P01']);
  expect(Math.min(...ends.map(({ atMs }) => atMs)) - startMs).toBeGreaterThan(4_900);
  await expect(session(pod)).rejects.toThrow('ECONNREFUSED');

  expect((await open.client.query('select count(*)::int as rows from half')).rows).toEqual([{ rows: 1 }]);
  await open.client.query('commit');
  expect((await open.ended).atMs - startMs).toBeLessThan(8_500);
  expect(await answer).toBe('57P01');
  expect(performance.now() - startMs).toBeGreaterThan(8_900);
  expect(await pod.exited).toBe(0);
  expect(await sallyport(['audit', 'verify', '--data', pod.stateDirectory])).toMatchObject({ exit: 0 });
  const admin = new pg.Client({ host: world.postgres.socketDirectory, port: world.postgres.port, user: 'postgres', database: 'postgres' });
  await admin.connect();
  expect((await admin.query('select a from half')).rows).toEqual([{ a: 1 }]);
  await eventually('the cancelled statement is gone', async () => (await admin.query("select 1 from pg_stat_activity where query like 'select pg_sleep(60)%'")).rowCount === 0);
  await admin.end();
}, 60_000);

test('a policy that is revoked while the pod drains ends its sessions all the same', async () => {
  const pod = await world.start('pod-b', { settings: { drainSeconds: 30 } });
  const { client, ended } = await session(pod);
  await client.query('begin');
  pod.terminate();
  await eventually('it drains', () => pod.stderr().includes('"draining"'));
  const startMs = performance.now();
  world.putConfig({});
  const end = await ended;
  expect([end.code, end.atMs - startMs < 1_000]).toEqual(['57P01', true]);
  await pod.kill();
}, 60_000);
