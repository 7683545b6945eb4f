import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { auditEvents, connectDirect, eventually } from '../hosts/clients.ts';
import { startWorld, type World } from '../hosts/gateway.ts';
import { policyFile, putConfig } from '../hosts/policy-files.ts';
import { watchedSession } from '../hosts/session-watch.ts';
import { type Frame, openRaw, type RawClient, readFields } from '../leaks/raw-client.ts';

const tenRows = policyFile({ limits: { rowsPerStatement: 10 } });
let world: World;
let direct: pg.Client;
let client: RawClient;

beforeAll(async () => {
  world = await startWorld({ policies: tenRows });
  direct = await connectDirect(world.postgres);
  await direct.query('create table many as select i, repeat(\'x\', 100) as x from generate_series(1, 200000) i; create table few as select i from generate_series(1, 12) i; create table log (a int); analyze many');
}, 60_000);
afterAll(async () => {
  await direct?.end();
  await world?.[Symbol.asyncDispose]();
});

let inForce = tenRows;
async function put(policies: string): Promise<void> {
  if (policies !== inForce) await putConfig(world, 'policy.yaml', policies);
  inForce = policies;
}
beforeEach(async () => {
  await put(tenRows);
  await client?.close();
  ({ client } = await openRaw({ port: world.port, ca: world.ca, user: 'me', database: 'postgres', password: await world.token('engineer') }));
});
afterAll(async () => client?.close());

const pipeline = (...parts: readonly Buffer[]): Buffer => Buffer.concat(parts);
const run = (text: string, rows = 0): Buffer => pipeline(write.parse('', text), write.bind('', ''), write.execute('', rows), write.sync());

/** Rows, the error and the status: what matters of an answer. */
function outcome(frames: readonly Frame[]): { readonly rows: number; readonly error: string | null; readonly detail: string | null; readonly status: string | null } {
  const error = frames.find((frame) => frame.type === 'E');
  const fields = error ? readFields(error.body) : null;
  return {
    rows: frames.filter((frame) => frame.type === 'D' || frame.type === 'd').length,
    error: fields ? `${fields.get('C')} ${/\[([A-Z_]+)\]$/.exec(fields.get('M') ?? '')?.[1] ?? fields.get('M')}` : null,
    detail: fields?.get('D') ?? null,
    status: frames.at(-1)?.type === 'Z' ? (frames.at(-1)?.body.toString() ?? null) : null,
  };
}

const cancelled = '10 rows were passed; the statement was cancelled on the server';
const completed = '10 rows were passed; the statement had completed on the server';

describe('rowsPerStatement: 10', () => {
  test.each<[string, Buffer]>([
    ['a simple query', write.query('select * from many')],
    ['an extended query', run('select * from many')],
    ['an extended query that is described', pipeline(write.parse('', 'select * from many'), write.bind('', ''), write.describe('P', ''), write.execute(''), write.sync())],
    ['a COPY', write.query('copy many to stdout')],
  ])('%s passes 10 rows, then 54000; the next statement works', async (_what, bytes) => {
    const { frames } = await client.exchange(bytes);
    expect(outcome(frames)).toEqual({ rows: 10, error: '54000 ROW_LIMIT_REACHED', detail: cancelled, status: 'I' });
    expect(frames.filter((frame) => frame.type === 'C' || frame.type === 'c')).toEqual([]);
    expect(outcome((await client.query('select i from few limit 10')).frames)).toEqual({ rows: 10, error: null, detail: null, status: 'I' });
  });

  test.each<[string, Buffer]>([['a simple query', write.query('select * from few')], ['an extended query', run('select * from few')]])('%s that the server had finished gets 54000 too, and says so', async (_what, bytes) => {
    expect(outcome((await client.exchange(bytes)).frames)).toEqual({ rows: 10, error: '54000 ROW_LIMIT_REACHED', detail: completed, status: 'I' });
    expect(outcome((await client.query('select 1')).frames)).toEqual({ rows: 1, error: null, detail: null, status: 'I' });
  });

  test('counts rows that a change returns: without a transaction it is done, and the error says that', async () => {
    expect(outcome((await client.query('insert into log select generate_series(1, 20) returning a')).frames)).toEqual({ rows: 10, error: '54000 ROW_LIMIT_REACHED', detail: completed, status: 'I' });
    expect((await direct.query('delete from log')).rowCount).toBe(20);
  });

  test.each<[string, string, (text: string) => Buffer]>([
    ['a statement that runs on', 'select * from many', write.query], ['one that had finished', 'select * from few', write.query],
    ['an extended one that runs on', 'select * from many', run], ['an extended one that had finished', 'select * from few', run],
  ])('inside a transaction %s fails it: COMMIT rolls back', async (_what, text, bytes) => {
    await client.query('begin; insert into log values (1)');
    expect(outcome((await client.exchange(bytes(text))).frames)).toMatchObject({ rows: 10, error: '54000 ROW_LIMIT_REACHED', status: 'E' });
    const committed = await client.query('commit');
    expect(committed.frames.map((frame) => `${frame.type} ${frame.body.toString('latin1').replace('\0', '')}`)).toEqual(['C ROLLBACK', 'Z I']);
    expect((await direct.query('select * from log')).rows).toEqual([]);
  });

  test('counts each execution of a paged portal by itself', async () => {
    await client.query('begin');
    await client.exchange(pipeline(write.parse('', 'select * from many'), write.bind('p', ''), write.execute('p', 8), write.sync()));
    expect(outcome((await client.exchange(pipeline(write.execute('p', 8), write.sync()))).frames)).toMatchObject({ rows: 8, error: null });
    expect(outcome((await client.exchange(pipeline(write.execute('p', 80), write.sync()))).frames)).toMatchObject({ rows: 10, error: '54000 ROW_LIMIT_REACHED', status: 'E' });
    await client.query('rollback');
  });

  test('in a text of several statements the ones behind do not run', async () => {
    const { frames } = await client.query('insert into log values (1); select * from many; insert into log values (2)');
    expect(outcome(frames)).toMatchObject({ rows: 10, error: '54000 ROW_LIMIT_REACHED', status: 'I' });
    expect((await direct.query('select * from log')).rows).toEqual([]);
  });

  test('is recorded as limited, counted, and does not touch another session', async () => {
    const other = await watchedSession(world, await world.token('engineer'));
    const before = await limited();
    await Promise.all([client.query('select * from many'), other.run('select i from few limit 5')]);
    expect((await limited()) - before).toBe(1);
    expect(await other.run('select 1 as one')).toEqual([{ one: 1 }]);
    await other.client.end();
    await eventually('the result is on record', () => auditEvents(world.dataDirectory).some((event) => event.code === 'statement.result' && /"rows":"10".*"limited":true/.test(event.line)));
  });

  test('a plan stays parallel', async () => {
    const workers = async (): Promise<number> => Number((await direct.query("select parallel_workers_launched as n from pg_stat_database where datname = 'postgres'")).rows[0].n);
    for (const setting of ['max_parallel_workers_per_gather = 2', 'parallel_setup_cost = 0', 'parallel_tuple_cost = 0', 'min_parallel_table_scan_size = 0']) expect(outcome((await client.query(`set ${setting}`)).frames).error).toBeNull();
    const before = await workers();
    expect(outcome((await client.exchange(run("select count(*) from many where x like '%y%'"))).frames)).toMatchObject({ rows: 1, error: null });
    await eventually('the workers are counted', async () => (await workers()) > before);
  });
});

describe('bytesPerStatement: 5000', () => {
  test.each<[string, Buffer]>([['a simple query', write.query('select * from many')], ['an extended query', run('select * from many')], ['a COPY', write.query('copy many to stdout')]])('%s passes less than that, then 54000', async (_what, bytes) => {
    await put(policyFile({ limits: { bytesPerStatement: 5000 } }));
    const { frames } = await client.exchange(bytes);
    expect(outcome(frames)).toMatchObject({ error: '54000 BYTE_LIMIT_REACHED', status: 'I' });
    const passed = frames.filter((frame) => frame.type === 'D' || frame.type === 'd').reduce((sum, frame) => sum + frame.body.length + 5, 0);
    expect(passed).toBeLessThanOrEqual(5000);
    expect(passed).toBeGreaterThan(4500);
  });

  test('one row that is longer than that does not pass', async () => {
    await put(policyFile({ limits: { bytesPerStatement: 5000 } }));
    for (const bytes of [write.query("select repeat('x', 300000)"), run("select repeat('x', 300000)")]) {
      const { frames, closed } = await client.exchange(bytes);
      expect([frames.filter((frame) => frame.type === 'D'), closed]).toEqual([[], false]);
      expect(outcome(frames)).toMatchObject({ error: '54000 BYTE_LIMIT_REACHED' });
    }
  });
});

async function limited(): Promise<number> {
  const text = await (await fetch(`${world.gateway.httpUrl}/metrics`)).text();
  return Number(/^sallyport_denials_total\{code="ROW_LIMIT_REACHED"\} (\d+)$/m.exec(text)?.[1]);
}
