import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import Cursor from 'pg-cursor';
import { systemBinDirectory } from '../hosts/postgres.ts';
import { run } from '../hosts/wire.ts';
import { type LeakBench, startLeakBench } from '../leaks/leak-bench.ts';
import { readCells, type RawClient, readFields } from '../leaks/raw-client.ts';

/** Denying everything is no masking: what touches no masked value works and gives exact values. */
describe.each(['app', 'superuser'] as const)('a masked session with the account of %s', (role) => {
  let bench: LeakBench;
  let client: pg.Client;

  beforeAll(async () => {
    bench = await startLeakBench();
  }, 60_000);
  afterAll(async () => {
    await client.end();
    await bench[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await client?.end();
    await bench.reset();
    client = new pg.Client({ host: 'localhost', port: bench.port(role, 'Redact'), user: 'me', database: 'postgres', password: await bench.world.token('engineer'), ssl: { ca: bench.world.ca } });
    await client.connect();
  });

  const people = [{ id: 1, name: 'Alice' }, { id: 2, name: 'Bob' }, { id: 3, name: 'Carol' }];
  const maskedPeople = people.map(({ name }) => ({ name, ssn: '********' }));

  test('reads columns that are not masked exactly', async () => {
    expect((await client.query('select id, name from people order by id')).rows).toEqual(people);
    expect((await client.query('select count(*) from people')).rows).toEqual([{ count: '3' }]);
  });

  test('shows masked columns masked beside exact names', async () => {
    expect((await client.query('select name, ssn from people order by id')).rows).toEqual(maskedPeople);
  });

  test('gives every column of the table in a form that the driver reads', async () => {
    const { rows } = await client.query('select * from people order by id');
    expect(rows[0]).toEqual({ id: 1, name: 'Alice', ssn: '********', card: '********', email: '********', acct: '0', salary: 0, dob: new Date(1970, 0, 1) });
  });

  test('runs a statement that is prepared once and executed twice', async () => {
    for (let time = 0; time < 2; time++) expect((await client.query({ name: 'twice', text: 'select name, ssn from people order by id' })).rows).toEqual(maskedPeople);
  });

  test('answers in binary', async () => {
    const { rows } = await client.query({ text: 'select name, ssn, id from people where id = $1', values: [1], binary: true } as pg.QueryConfig);
    expect(rows).toEqual([{ name: 'Alice', ssn: '********', id: 1 }]);
  });

  test('pages through a portal one row at a time', async () => {
    const cursor = client.query(new Cursor('select name, ssn from people order by id'));
    const seen = [];
    for (let rows = await cursor.read(1); rows.length > 0; rows = await cursor.read(1)) seen.push(...rows);
    expect(seen).toEqual(maskedPeople);
  });

  test('fetches from a declared cursor', async () => {
    await client.query('begin');
    await client.query('declare people_cursor cursor for select name, ssn from people order by id');
    const first = await client.query('fetch 1 from people_cursor');
    const rest = await client.query('fetch all from people_cursor');
    await client.query('commit');
    expect([...first.rows, ...rest.rows]).toEqual(maskedPeople);
  });

  test('writes and reads back, and rolls back', async () => {
    await client.query("insert into people(id, name) values (70, 'Dan')");
    expect((await client.query("update people set name = 'Al' where id = 1 returning id, name")).rows).toEqual([{ id: 1, name: 'Al' }]);
    await client.query('begin');
    await client.query('delete from people where id = 70');
    await client.query('rollback');
    expect((await client.query('select id, name from people order by id')).rows).toEqual([{ id: 1, name: 'Al' }, { id: 2, name: 'Bob' }, { id: 3, name: 'Carol' }, { id: 70, name: 'Dan' }]);
  });

  test('writes a masked column from a parameter without recording the parameter', async () => {
    await client.query('update people set ssn = $1 where id = $2', ['601-22-3344', 2]);
    await client.query("update people set ssn = '601-22-3345' where id = 3");
    await client.end();
    client = new pg.Client({ host: bench.world.postgres.socketDirectory, port: bench.world.postgres.port, user: 'postgres', database: 'postgres' });
    await client.connect();
    expect((await client.query('select ssn from people where id > 1 order by id')).rows).toEqual([{ ssn: '601-22-3344' }, { ssn: '601-22-3345' }]);
    const { readDataDirectory } = await import('../hosts/gateway.ts');
    expect(await readDataDirectory(bench.world.dataDirectory)).not.toMatch(/601-22-334/);
  });

  test('creates, fills, reads, alters and drops a table of its own', async () => {
    await client.query('create table notes(a text)');
    await client.query("insert into notes values ('first'), ('second')");
    expect((await client.query('select a from notes order by a desc')).rows).toEqual([{ a: 'second' }, { a: 'first' }]);
    await client.query('alter table notes add column at timestamptz default now()');
    await client.query('create temp table scratch as select a, length(a) as n from notes');
    expect((await client.query('select upper(a) as a, n from scratch order by n')).rows).toEqual([{ a: 'FIRST', n: 5 }, { a: 'SECOND', n: 6 }]);
    await client.query('drop table notes');
  });

  test('explains', async () => {
    const { rows } = await client.query('explain select id from people');
    expect(rows[0]?.['QUERY PLAN']).toMatch(/^Seq Scan on people/);
  });

  test('joins, groups, sorts and filters by columns that are not masked', async () => {
    const { rows } = await client.query("select p.name, count(*)::int as n from people p join people q on p.id <= q.id where p.name like '%o%' group by p.name having count(*) > 0 order by 1");
    expect(rows).toEqual([{ name: 'Bob', n: 2 }, { name: 'Carol', n: 1 }]);
  });

  test('copies out and in', async () => {
    const raw = await bench.open(role, 'Redact');
    expect(await copyOut(raw, 'copy people(id, name) to stdout')).toBe('1\tAlice\n2\tBob\n3\tCarol\n');
    expect(await copyOut(raw, 'copy (select id, ssn from people order by id) to stdout (format csv, header)')).toBe('id,ssn\n1,********\n2,********\n3,********\n');
    await raw.close();
  });

  test('a session sees a view as it is at its login, though other sessions hold an older catalog', async () => {
    const owner = new pg.Client({ host: bench.world.postgres.socketDirectory, port: bench.world.postgres.port, user: 'postgres', database: 'postgres' });
    await owner.connect();
    await owner.query('create view shown as select id, name as s from people; grant select on shown to app');
    expect((await (await bench.open(role, 'Redact')).query('select s from shown')).frames.map(({ type }) => type)).toContain('D');
    await owner.query('create or replace view shown as select id, ssn as s from people');
    await owner.end();
    const late = await bench.open(role, 'Redact');
    const { frames } = await late.query('select s from shown');
    await late.close();
    expect(frames.flatMap(({ type, body }) => (type === 'D' ? (readCells(body) ?? []).map(String) : []))).toEqual(['********', '********', '********']);
  });

  test('keeps the words of an error about the own text, and the session goes on', async () => {
    await expect(client.query('insert into people(id, nope) values (9, 1)')).rejects.toMatchObject({ code: '42703', message: 'column "nope" of relation "people" does not exist' });
    await expect(client.query('select nope from people')).rejects.toMatchObject({ code: '42501', detail: expect.stringContaining('column "nope" cannot be resolved') });
    await expect(client.query('select 1/0')).rejects.toMatchObject({ code: '22012' });
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });
});

// psql describes servers up to its own version: the machine's psql with the machine's server.
(systemBinDirectory() ? describe : describe.skip)('psql in a masked session', () => {
  let bench: LeakBench;
  let psql: (command: string) => ReturnType<typeof run>;

  beforeAll(async () => {
    bench = await startLeakBench('system');
    await bench.reset();
    const caFile = join(bench.world.configDirectory, '..', 'psql-ca.crt');
    writeFileSync(caFile, bench.world.ca);
    const env = { PGPASSWORD: await bench.world.token('engineer') };
    const url = `host=localhost hostaddr=127.0.0.1 port=${bench.port('app', 'Redact')} user=me dbname=postgres sslmode=verify-full sslrootcert=${caFile}`;
    psql = (command) => run(join(systemBinDirectory() as string, 'psql'), [url, '-X', '-v', 'ON_ERROR_STOP=1', '-c', command], env);
    expect(await psql('create view names as select id, name from people')).toMatchObject({ code: 0 });
    const owner = new pg.Client({ host: bench.world.postgres.socketDirectory, port: bench.world.postgres.port, user: 'postgres', database: 'postgres' });
    await owner.connect();
    await owner.query('create function twice(a int) returns int language sql as $$select 2 * a$$; create index on people(name)');
    await owner.end();
  }, 60_000);
  afterAll(async () => bench[Symbol.asyncDispose]());

  test('\\d describes the columns, indexes and constraints of a table with masked columns', async () => {
    const { out, err } = await psql('\\d people');
    expect(err).toBe('');
    expect(out).toMatch(/ssn +\| text/);
    expect(out).toMatch(/"people_pkey" PRIMARY KEY, btree \(id\)/);
    expect(out).toMatch(/CHECK \(salary < 1000000\)/);
  });

  test.each(['\\d', '\\d names', '\\d+ people', '\\d+ names', '\\dt', '\\dt+', '\\df', '\\df+', '\\dv', '\\di', '\\dn', '\\du', '\\dp', '\\l', '\\l+', '\\dT', '\\dx', '\\sf twice', '\\sv names'])('%s works', async (command) => {
    expect(await psql(command)).toMatchObject({ code: 0, err: '' });
  });

  test('\\copy writes a table with masked columns to the client', async () => {
    expect((await psql('\\copy (select name, ssn from people order by id) to stdout')).out).toBe('Alice\t********\nBob\t********\nCarol\t********\n');
  });
});

async function copyOut(raw: RawClient, sql: string): Promise<string> {
  const { frames } = await raw.query(sql);
  const failed = frames.find(({ type }) => type === 'E');
  if (failed) throw new Error(readFields(failed.body).get('M'));
  expect(frames.flatMap(({ type, body }) => (type === 'D' ? (readCells(body) ?? []) : []))).toEqual([]);
  return Buffer.concat(frames.filter(({ type }) => type === 'd').map(({ body }) => body)).toString();
}
