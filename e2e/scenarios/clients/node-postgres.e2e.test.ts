import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import { cancelRequest } from '../../../sidecar/postgres/wire/frame-writer.ts';
import { auditEvents, connectDirect, connectPg, decide, eventually, phaseOf, serverStatements } from '../../hosts/clients.ts';
import { allowEverything, startWorld, type World } from '../../hosts/gateway.ts';

jest.setTimeout(30_000);
let world: World;
let engineer = '';
let approver = '';
let client: pg.Client;

const holds = `---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: holds}
spec:
  subjects: [{kind: Group, name: sre}]
  targets: {names: [db]}
  rules:
  - {name: held, action: RequireApproval, postgres: {statements: [Update], tables: [public.held]}, approval: {groups: [dba], required: 1, decideWithin: 10m}}
  - {name: kept, action: Deny, postgres: {statements: [Delete], tables: [public.kept]}}
`;

beforeAll(async () => {
  world = await startWorld({
    policies: allowEverything + holds,
    prepare: async (postgres) => {
      const direct = await connectDirect(postgres);
      await direct.query('create table held (id int, note text); insert into held values (1, null); create table kept (id int); create table loaded (id int, note text); create table things (id int primary key, name text)');
      await direct.end();
    },
  });
  [engineer, approver] = await Promise.all([world.token('engineer'), world.token('approver')]);
  client = await connectPg(world, engineer);
}, 60_000);

afterAll(async () => {
  await client?.end();
  await world[Symbol.asyncDispose]();
});

afterEach(async () => {
  client.removeAllListeners('notice');
  await client.query('rollback');
});

/** Key and process id of a session's BackendKeyData, as node-postgres keeps them. */
function keyOf(session: pg.Client): { readonly processID: number; readonly secretKey: number } {
  return session as unknown as { processID: number; secretKey: number };
}

/** Sends a CancelRequest over TLS and waits until the gateway has closed the connection. */
async function cancel(session: pg.Client, localAddress = '127.0.0.1'): Promise<void> {
  const { processID, secretKey } = keyOf(session);
  const key = Buffer.alloc(4);
  key.writeInt32BE(secretKey);
  const socket = connectTls({ socket: connect({ host: '127.0.0.1', port: world.port, localAddress }), servername: 'localhost', ca: world.ca, ALPNProtocols: ['postgresql'] });
  socket.on('error', () => undefined);
  socket.resume().write(cancelRequest(processID, key));
  await once(socket, 'close');
}

const values = [
  ['int2', 7, 7], ['int4', -2_000_000_000, -2_000_000_000], ['int8', '9007199254740993', '9007199254740993'], ['float4', 1.5, 1.5], ['float8', 0.1, 0.1], ['numeric', '12345678901234567890.0123', '12345678901234567890.0123'],
  ['bool', true, true], ['text', 'naïve 😀 \\ \' "', 'naïve 😀 \\ \' "'], ['varchar', '', ''], ['bytea', Buffer.from([0, 1, 255, 10, 13]), Buffer.from([0, 1, 255, 10, 13])], ['uuid', '00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-00000000000a'],
  ['jsonb', JSON.stringify({ a: [1, null, 'x'] }), { a: [1, null, 'x'] }], ['json', '{"b": 2}', { b: 2 }], ['date', '2024-02-29', new Date(2024, 1, 29)], ['timestamptz', new Date(1_700_000_000_123), new Date(1_700_000_000_123)],
  ['int4[]', [1, 2, 3], [1, 2, 3]], ['text[]', ['a,b', 'c"d', '{}'], ['a,b', 'c"d', '{}']], ['inet', '10.1.2.3', '10.1.2.3'], ['point', '(1,2)', { x: 1, y: 2 }], ['int4', null, null],
] as const;

describe('node-postgres', () => {
  test.each(values)('passes a parameter of type %s there and back', async (type, given, back) => {
    const { rows } = await client.query(`select $1::${type} as value`, [given]);
    expect(rows).toEqual([{ value: back }]);
  });

  test('reads binary results as it reads them from the server', async () => {
    const query = { text: "select $1::int4 as i, $2::text as t, 0.5::float8 as f, true as b, 9::int8 as l, null::text as n, now()::date = current_date as d, '{1,2}'::int4[] as a", values: [5, 'five'], binary: true } as pg.QueryConfig;
    const direct = await connectDirect(world.postgres);
    const [through, directly] = [(await client.query(query)).rows, (await direct.query(query)).rows];
    await direct.end();
    expect(through).toEqual(directly);
    expect(through).toMatchObject([{ i: 5, t: 'five', b: true, n: null, d: true }]);
  });

  test('runs a named statement again and again with other parameters, and the record has each', async () => {
    const before = auditEvents(world.dataDirectory).length;
    for (let round = 0; round < 5; round++) expect((await client.query({ name: 'twice', text: 'select $1::int * 2 as double', values: [round] })).rows).toEqual([{ double: round * 2 }]);
    const intents = auditEvents(world.dataDirectory).slice(before).filter((event) => event.code === 'statement.intent');
    expect(intents.map((event) => /"value":"(\d)"/.exec(event.line)?.[1])).toEqual(['0', '1', '2', '3', '4']);
    expect(serverStatements(world.postgres).filter((text) => text === 'select $1::int * 2 as double').length).toBe(5);
  });

  test('pages through a cursor, and stops early', async () => {
    const cursor = client.query(new Cursor<{ i: number }>('select i from generate_series(1, $1::int) i', [1000]));
    const pages = [await cursor.read(10), await cursor.read(500), await cursor.read(1)];
    await cursor.close();
    expect(pages.map((page) => [page.length, page[0]?.i])).toEqual([[10, 1], [500, 11], [1, 511]]);
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  test('pages through two cursors in one transaction in turns', async () => {
    await client.query('begin; declare a cursor for select i from generate_series(1, 9) i; declare b cursor for select i from generate_series(101, 109) i');
    const turns: unknown[] = [];
    for (const name of ['a', 'b', 'a', 'b']) turns.push((await client.query(`fetch 2 from ${name}`)).rows.map((row: { i: number }) => row.i));
    await client.query('commit');
    expect(turns).toEqual([[1, 2], [101, 102], [3, 4], [103, 104]]);
  });

  test('queues queries without waiting: answers come in order, an error touches only its own', async () => {
    const asked = Array.from({ length: 200 }, (_, index) => client.query(index % 50 === 17 ? 'select 1/0' : 'select $1::int as n', index % 50 === 17 ? [] : [index]).then((result) => (result.rows[0] as { n: number }).n, (error: { code: string }) => error.code));
    expect(await Promise.all(asked)).toEqual(Array.from({ length: 200 }, (_, index) => (index % 50 === 17 ? '22012' : index)));
  });

  test('runs 200 statements in one text; an error in the middle undoes all of them', async () => {
    const inserts = (from: number): string[] => Array.from({ length: 200 }, (_, index) => `insert into things values (${from + index}, 'n''${index}')`);
    const results = (await client.query(inserts(1).join(';'))) as unknown as pg.QueryResult[];
    expect([results.length, results[199]?.rowCount]).toEqual([200, 1]);
    const bad = inserts(1001);
    bad[150] = 'insert into things values (1, null)';
    await expect(client.query(bad.join(';'))).rejects.toMatchObject({ code: '23505', detail: 'Key (id)=(1) already exists.' });
    expect((await client.query('select count(*)::int as n from things')).rows).toEqual([{ n: 200 }]);
  });

  test('gets errors with all their fields, and the transaction fails as on the server', async () => {
    await client.query('begin');
    await expect(client.query('select * from nowhere')).rejects.toMatchObject({ code: '42P01', severity: 'ERROR', position: '15', message: 'relation "nowhere" does not exist' });
    await expect(client.query('select $1::int', [1])).rejects.toMatchObject({ code: '25P02' });
    await client.query('rollback');
    await expect(client.query('select $1::int', ['x'])).rejects.toMatchObject({ code: '22P02' });
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  test('a denied statement in a transaction fails it, and outside it changes nothing', async () => {
    await expect(client.query('delete from kept')).rejects.toMatchObject({ code: '42501', message: expect.stringContaining('STATEMENT_DENIED') });
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await client.query('begin');
    await client.query("insert into things values (5000, 'x')");
    await expect(client.query('delete from kept where id = $1', [1])).rejects.toMatchObject({ code: '42501' });
    await expect(client.query('select 1')).rejects.toMatchObject({ code: '25P02' });
    expect((await client.query('commit')).command).toBe('ROLLBACK');
    expect((await client.query('select 1 from things where id = 5000')).rows).toEqual([]);
  });

  test('gets notices and warnings', async () => {
    const heard: string[] = [];
    client.on('notice', (notice) => heard.push(`${notice.severity} ${notice.message}`));
    await client.query("do $$ begin raise notice 'a note'; raise warning 'a warning'; end $$");
    expect(heard).toEqual(['NOTICE a note', 'WARNING a warning']);
  });

  test('hears NOTIFY in a session without masks, from itself and from others', async () => {
    const heard: string[] = [];
    client.on('notification', (message) => heard.push(`${message.channel}:${message.payload}`));
    await client.query('listen news');
    await client.query("notify news, 'own'");
    const direct = await connectDirect(world.postgres);
    await direct.query("notify news, 'other'");
    await direct.end();
    await eventually('both are heard', () => heard.length === 2);
    await client.query('unlisten *');
    expect(heard).toEqual(['news:own', 'news:other']);
  });
});

describe('pg-copy-streams', () => {
  const rows = 40_000;

  test('loads 2 MB with newlines, tabs and quotes in values, and reads them back', async () => {
    const lines = function* (): Generator<string> {
      for (let id = 0; id < rows; id++) yield `${id},"line one ${id}\nline ""two""\twith, comma ${id}"\n`;
    };
    const load = client.query(copyFrom('copy loaded from stdin (format csv)'));
    await pipeline(Readable.from(lines()), load);
    expect(load.rowCount).toBe(rows);
    const read = client.query(copyTo('copy (select * from loaded order by id) to stdout (format csv)'));
    const parts: Buffer[] = [];
    for await (const part of read) parts.push(part as Buffer);
    const text = Buffer.concat(parts).toString();
    expect(text.length).toBeGreaterThan(1_900_000);
    expect(text === [...lines()].join('')).toBe(true);
  });

  test('loads binary what it reads binary', async () => {
    const read = client.query(copyTo('copy loaded to stdout (format binary)'));
    const parts: Buffer[] = [];
    for await (const part of read) parts.push(part as Buffer);
    await client.query('create temp table again (like loaded)');
    await pipeline(Readable.from(parts), client.query(copyFrom('copy again from stdin (format binary)')));
    expect((await client.query('select count(*)::int as n, count(distinct note)::int as notes from again')).rows).toEqual([{ n: rows, notes: rows }]);
  });

  test('a load that the client gives up loads nothing', async () => {
    await client.query('truncate loaded');
    const load = client.query(copyFrom('copy loaded from stdin'));
    load.write('1\tone\n');
    const failed = once(load, 'error').catch((error: unknown) => [error]);
    load.destroy(new Error('given up'));
    expect(String((await failed)[0])).toMatch(/given up|57014|COPY from stdin failed/);
    await eventually('the session is usable', async () => (await client.query('select count(*)::int as n from loaded')).rows[0]?.n === 0);
  });

  test('a bad row is an error with its place, and the session goes on', async () => {
    const load = client.query(copyFrom('copy loaded from stdin (format csv)'));
    await expect(pipeline(Readable.from(Array.from({ length: 5_000 }, (_, id) => (id === 2_500 ? 'x,y\n' : `${id},y\n`))), load)).rejects.toMatchObject({ code: '22P02', where: 'COPY loaded, line 2501, column id: "x"' });
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });
});

describe('cancel', () => {
  test('stops what runs, and the session goes on', async () => {
    const sleeping = client.query('select pg_sleep(60)').catch((error: { code: string }) => error.code);
    await eventually('it sleeps', () => serverStatements(world.postgres).includes('select pg_sleep(60)'));
    await cancel(client);
    expect(await sleeping).toBe('57014');
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  test("by node-postgres' own cancel, in plain text, stops it too", async () => {
    const query = new pg.Query('select pg_sleep(62)');
    const outcome = new Promise<string>((resolve) => { query.once('error', (error) => resolve((error as { code?: string }).code ?? '')); });
    client.query(query);
    await eventually('it sleeps', () => serverStatements(world.postgres).includes('select pg_sleep(62)'));
    (new pg.Client({ host: '127.0.0.1', port: world.port }) as unknown as { cancel(session: pg.Client, running: pg.Query): void }).cancel(client, query);
    expect(await outcome).toBe('57014');
  });

  test('with a wrong key does nothing', async () => {
    const { processID, secretKey } = keyOf(client);
    const sleeping = client.query('select 1 as one, pg_sleep(0.3)');
    await cancel({ processID, secretKey: secretKey ^ 1 } as unknown as pg.Client);
    expect((await sleeping).rows).toMatchObject([{ one: 1 }]);
  });

  test('that comes late never hits the next statement', async () => {
    const hit: number[] = [];
    for (let round = 0; round < 24; round++) {
      const first = client.query(`select pg_sleep(${0.001 * (round % 12)})`).catch(() => null);
      // The cancel is on its way while the first one ends; as libpq's, it has returned before the client goes on.
      // Of one address only ten a second are looked at.
      await Promise.all([first, cancel(client, `127.0.0.${10 + round}`)]);
      await client.query('select count(*) from generate_series(1, 50000)').catch(() => hit.push(round));
    }
    expect(hit).toEqual([]);
  });

  test('in a transaction fails it, and ROLLBACK ends it', async () => {
    await client.query('begin');
    const sleeping = client.query('select pg_sleep($1)', [61]).catch((error: { code: string }) => error.code);
    await eventually('it sleeps', () => serverStatements(world.postgres).includes('select pg_sleep($1)'));
    await cancel(client);
    expect(await sleeping).toBe('57014');
    await expect(client.query('select 1')).rejects.toMatchObject({ code: '25P02' });
    await client.query('rollback');
  });
});

describe('a held statement in the extended protocol', () => {
  async function hold(text: string, parameters: readonly unknown[]): Promise<{ readonly request: string; readonly outcome: Promise<unknown> }> {
    const noticed = once(client, 'notice');
    const outcome = client.query(text, [...parameters]).then((result) => result.rowCount, (error: { code: string }) => error.code);
    const [notice] = (await noticed) as [{ message: string; code: string }];
    expect(notice.code).toBe('SP001');
    return { request: /areq-[a-z0-9]+/.exec(notice.message)?.[0] ?? '', outcome };
  }

  test('shows the approver its parameters and runs once approved; no lock is held meanwhile', async () => {
    const { request, outcome } = await hold('update held set note = $1 where id = $2', ['from node', 1]);
    const direct = await connectDirect(world.postgres);
    expect((await direct.query("select 1 from pg_locks where relation = 'held'::regclass")).rows).toEqual([]);
    const shown = (await (await fetch(`${world.gateway.httpUrl}/v1/requests/${request}`, { headers: { authorization: `Bearer ${approver}` } })).json()) as { statement: { text: string; parameters: string[] } };
    expect(shown.statement).toMatchObject({ text: 'update held set note = $1 where id = $2', parameters: ['from node', '1'] });
    await decide(world, approver, request, 'approve');
    expect(await outcome).toBe(1);
    expect((await direct.query('select note from held')).rows).toEqual([{ note: 'from node' }]);
    await direct.end();
  });

  test('is refused when denied, cancelled by a CancelRequest; the session goes on', async () => {
    const denied = await hold('update held set note = $1', ['denied']);
    await decide(world, approver, denied.request, 'deny', 'no');
    expect(await denied.outcome).toBe('42501');
    const cancelled = await hold('update held set note = $1', ['cancelled']);
    await cancel(client);
    expect(await cancelled.outcome).toBe('57014');
    expect(await phaseOf(world, approver, cancelled.request)).toBe('Withdrawn');
    expect((await client.query("select 1 from held where note in ('denied', 'cancelled')")).rows).toEqual([]);
  });

  test('makes the queries that were queued behind it wait, and they run in order after it', async () => {
    const { request, outcome } = await hold('update held set note = $1 where id = 1', ['in order']);
    const behind = client.query('select note from held');
    await decide(world, approver, request, 'approve');
    expect([await outcome, (await behind).rows]).toEqual([1, [{ note: 'in order' }]]);
  });
});

describe('a client that does not read', () => {
  test('stops the server instead of filling the memory of the gateway', async () => {
    const reader = await connectPg(world, engineer);
    await reader.query(`select repeat('x', 20000000) as value`);
    const { stream } = (reader as unknown as { connection: { stream: Socket } }).connection;
    const [before, read] = [residentKib(world.gateway.child.pid ?? 0), stream.bytesRead];
    const answer = reader.query<{ value: string }>("select repeat('y', 300 * 1024 * 1024) as value");
    stream.pause();
    const direct = await connectDirect(world.postgres);
    await eventually('the server waits for room', async () => (await direct.query("select 1 from pg_stat_activity where wait_event = 'ClientWrite' and query like 'select repeat(''y''%'")).rows.length === 1);
    await direct.end();
    // 300 MiB are ready at the server; what stands in sockets and streams is all that has moved.
    expect([residentKib(world.gateway.child.pid ?? 0) - before < 128 * 1024, stream.bytesRead - read < 4 * 1024 * 1024]).toEqual([true, true]);
    stream.resume();
    expect((await answer).rows[0]?.value.length).toBe(300 * 1024 * 1024);
    await reader.end();
  });
});

describe('a value of 100 MB', () => {
  const bytes = 100 * 1024 * 1024;

  test.each(['text', 'bytea'])('of type %s passes through a session without masks while the gateway grows by less than 64 MiB', async (type) => {
    const reader = await connectPg(world, engineer);
    // Once, whatever the size, a process grows by the buffers that Node has not collected yet, and by V8 compiling the parser again, optimised (docs/clients.md).
    for (let round = 0; round < 3; round++) await reader.query(`select repeat('x', ${bytes}) as value`);
    const before = residentKib(world.gateway.child.pid ?? 0);
    const peak = watchPeak(world.gateway.child.pid ?? 0);
    // node-postgres would make a string of twice the size of a bytea: the length is what counts.
    const { rows } = await reader.query<{ value: string | Buffer }>({ text: type === 'text' ? `select repeat('x', ${bytes}) as value` : `select decode(repeat('00', ${bytes / 2}), 'hex') as value`, rowMode: 'object' } as pg.QueryConfig);
    const grown = peak.stop() - before;
    expect(rows[0]?.value.length).toBe(type === 'text' ? bytes : bytes / 2);
    expect(grown).toBeLessThan(64 * 1024);
    await reader.end();
  });
});

function residentKib(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN);
}

/** The most resident memory of a process, in KiB, looked at every 10 ms. */
function watchPeak(pid: number): { stop(): number } {
  let most = residentKib(pid);
  const timer = setInterval(() => { most = Math.max(most, residentKib(pid)); }, 10);
  return {
    stop: () => {
      clearInterval(timer);
      return most;
    },
  };
}
