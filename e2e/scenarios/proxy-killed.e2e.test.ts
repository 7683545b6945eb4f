import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { verifyCollected } from '../hosts/collected-lines.ts';
import { type PodProcess, type ProxyWorld, startProxyWorld } from '../hosts/proxy-world.ts';
import { sallyport, sessionEnds } from '../hosts/sallyport.ts';

let world: ProxyWorld;

beforeAll(async () => {
  world = await startProxyWorld();
  world.putConfig({ everything: { subjects: ['group:sre'], rules: [{ name: 'all', action: 'Allow' }] } });
}, 60_000);
afterAll(async () => world?.[Symbol.asyncDispose]());

/** A pod that was killed while a session worked; how many statements were answered. */
async function killedAtWork(pod: PodProcess): Promise<number> {
  const client = new pg.Client({ host: pod.host, port: world.port, user: 'me', password: await world.token('ann', ['sre']), database: 'postgres', ssl: { ca: world.ca, servername: 'localhost' } });
  client.on('error', () => undefined);
  await client.connect();
  let answered = 0;
  for (; answered < 40; answered++) await client.query(`select ${answered}`);
  const last = client.query('select pg_sleep(30)').catch(() => undefined);
  await new Promise<void>((resolve) => void setImmediate(resolve));
  await pod.kill();
  await last;
  return answered;
}

test('a proxy that is killed and starts again on its state volume has complete records: what was open is closed as ProxyLost', async () => {
  const pod = await world.start('pod-a');
  const answered = await killedAtWork(pod);
  await world.start('pod-a');
  const { exit, text } = await sallyport(['audit', 'verify', '--data', pod.stateDirectory]);
  expect([exit, text.includes('log-recovered'), Number(/(\d+) intents/.exec(text)?.[1]) >= answered]).toEqual([0, true, true]);
  expect(await sessionEnds(pod.stateDirectory)).toEqual({ ProxyLost: 1 });
}, 60_000);

test('of a proxy whose volume is gone with it, the lines that were collected say what is missing', async () => {
  const pod = await world.start('pod-b');
  const answered = await killedAtWork(pod);
  const { exit, text } = await verifyCollected(pod.stdout());
  expect(text).toContain('the log is not finished');
  expect(text).toContain('session-open');
  expect(text).not.toContain('TAMPER');
  expect([exit === 2 || exit === 3, Number(/(\d+) intents/.exec(text)?.[1]) >= answered]).toEqual([true, true]);

  const lines = pod.stdout().split('\n');
  const cut = await verifyCollected([...lines.slice(0, 10), ...lines.slice(12)].join('\n'));
  expect(cut.exit).toBe(1);
}, 60_000);
