import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { allowEverything, startWorld, type World } from '../hosts/gateway.ts';

// A migration holds ACCESS EXCLUSIVE locks for as long as its transaction lasts: other sessions, and its own, must go on meanwhile.
let world: World;

beforeAll(async () => {
  world = await startWorld({
    policies: `${allowEverything}  masking:\n  - {columns: [public.people.ssn], style: Redact}\n`,
    prepare: async (postgres) => {
      const owner = await direct(postgres);
      await owner.query("create table people(id int, ssn text); insert into people values (1, '536-22-7841'); create view names as select id, ssn from people; create table plain(a int); insert into plain values (7)");
      await owner.end();
    },
  });
});

afterAll(async () => { await world[Symbol.asyncDispose](); });

test('a new session works while another transaction has a table locked under a view', async () => {
  const owner = await direct(world.postgres);
  await owner.query('begin; lock table people in access exclusive mode');
  const started = performance.now();
  const client = await throughGateway();
  expect((await client.query('select a from plain')).rows).toEqual([{ a: 7 }]);
  // What could not be read cannot be proven, so the view is refused until the lock is gone, and not hung.
  await expect(client.query('select id from names')).rejects.toThrow(/MASKING_UNPROVEN|MASKED_COLUMN_REFUSED/);
  expect(performance.now() - started).toBeLessThan(5_000);
  await owner.query('rollback');
  await owner.end();
  await eventually(async () => (await client.query('select ssn from names')).rows[0]?.ssn === '********');
  await client.end();
}, 30_000);

test('a migration that changes and uses tables in one transaction is not held up by its own locks', async () => {
  const client = await throughGateway();
  const started = performance.now();
  await client.query('begin');
  await client.query('create table orders(id int, total int)');
  await client.query('insert into orders values (1, 10)');
  await client.query('create view totals as select id, total from orders');
  await client.query('alter table plain add column b int default 5');
  expect((await client.query('select b from plain')).rows).toEqual([{ b: 5 }]);
  expect((await client.query('select total from orders')).rows).toEqual([{ total: 10 }]);
  await client.query('commit');
  expect((await client.query('select total from totals')).rows).toEqual([{ total: 10 }]);
  expect(performance.now() - started).toBeLessThan(5_000);
  await client.end();
}, 30_000);

async function direct(postgres: World['postgres']): Promise<pg.Client> {
  const client = new pg.Client({ host: postgres.socketDirectory, port: postgres.port, user: postgres.owner, database: 'postgres' });
  await client.connect();
  return client;
}

async function throughGateway(): Promise<pg.Client> {
  const client = new pg.Client({ host: 'localhost', port: world.port, user: 'me', database: 'postgres', password: await world.token('engineer'), ssl: { ca: world.ca } });
  await client.connect();
  return client;
}

/** Polls at most 10 s. */
async function eventually(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    if (await holds().catch(() => false)) return;
    if (performance.now() > deadline) throw new Error('did not come true within 10 s');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
