import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { auditEvents, connectDirect, eventually, serverStatements } from '../hosts/clients.ts';
import { startWorld, type World } from '../hosts/gateway.ts';
import { answer, nextRequest, shown, tokenOf } from '../hosts/people.ts';
import { policyFile, putConfig, usualStatements } from '../hosts/policy-files.ts';
import { watchedSession, type WatchedSession } from '../hosts/session-watch.ts';
import { type Frame, openRaw, type RawClient, readCells, readFields } from '../leaks/raw-client.ts';

const others = (...held: readonly string[]): object => ({ name: 'others', action: 'Allow', postgres: { statements: usualStatements.filter((name) => !held.includes(name)) } });
const needs = (name: string, statement: string, approval: object): object => ({ name, action: 'RequireApproval', postgres: { statements: [statement] }, approval: { groups: ['dba'], decideWithin: '10m', ...approval } });
const updatesHeld = policyFile({ rules: [others('Update', 'DDL'), needs('updates', 'Update', {}), { name: 'no-drops', action: 'Deny', postgres: { statements: ['Drop'] } }] });
const known = new Set<string>();
let world: World;
let direct: pg.Client;
let engineer: string;
let approver: string;
let raws: RawClient[] = [];
let sessions: WatchedSession[] = [];

beforeAll(async () => {
  world = await startWorld({ policies: updatesHeld });
  [engineer, approver] = await Promise.all([world.token('engineer'), world.token('approver')]);
  direct = await connectDirect(world.postgres);
  await direct.query('create table accounts (id int primary key, balance int); create table keep (a int)');
}, 60_000);
afterAll(async () => {
  await direct?.end();
  await world?.[Symbol.asyncDispose]();
});

let inForce = updatesHeld;
async function put(policies: string): Promise<void> {
  if (policies !== inForce) await putConfig(world, 'policy.yaml', policies);
  inForce = policies;
}
beforeEach(async () => {
  await put(updatesHeld);
  await direct.query('truncate accounts, keep; insert into accounts values (1, 100), (2, 100)');
});
afterEach(async () => {
  await Promise.all([...raws.map((client) => client.close()), ...sessions.map(({ client }) => client.end().catch(() => undefined))]);
  [raws, sessions] = [[], []];
});

async function raw(): Promise<RawClient> {
  const { client } = await openRaw({ port: world.port, ca: world.ca, user: 'me', database: 'postgres', password: engineer });
  raws.push(client);
  return client;
}

async function session(token = engineer): Promise<WatchedSession> {
  const opened = await watchedSession(world, token);
  sessions.push(opened);
  return opened;
}

const next = (): Promise<string> => nextRequest(world, approver, known);
const pipeline = (...parts: readonly Buffer[]): Buffer => Buffer.concat(parts);
const run = (text: string, ...values: readonly string[]): Buffer => pipeline(write.parse('', text), write.bind('', '', values), write.execute(''));
const balances = async (): Promise<readonly number[]> => (await direct.query<{ balance: number }>('select balance from accounts order by id')).rows.map((row) => row.balance);
const ranOnServer = (text: string): number => serverStatements(world.postgres).filter((statement) => statement.includes(text)).length;

/** `C UPDATE 1`, `E 42501 STATEMENT_DENIED`, `N SP001`, `Z I`, `D 7`; others by their letter. */
function told(frames: readonly Frame[]): readonly string[] {
  return frames.map(({ type, body }) => {
    const fields = type === 'E' || type === 'N' ? readFields(body) : new Map<string, string>();
    if (type === 'E') return `E ${fields.get('C')} ${/\[([A-Z_]+)\]$/.exec(fields.get('M') ?? '')?.[1] ?? fields.get('M')}`;
    if (type === 'N') return `N ${fields.get('C')}`;
    if (type === 'D') return `D ${(readCells(body) ?? []).map((cell) => cell?.toString()).join('|')}`;
    return type === 'C' || type === 'Z' ? `${type} ${body.toString('latin1').replace('\0', '')}` : type;
  });
}

describe('a statement that is held in the extended protocol', () => {
  test('holds no lock on the server while it waits, alone and behind the Parse and Bind of its own', async () => {
    const client = await raw();
    const answered = client.exchange(pipeline(run('update accounts set balance = $1 where id = 1', '11'), write.sync()));
    const request = await next();
    const { rows } = await direct.query("select a.state, a.query, count(l.relation) as relations from pg_stat_activity a left join pg_locks l on l.pid = a.pid where a.application_name like 'sallyport/%' group by 1, 2");
    expect(rows).toEqual([{ state: 'idle', query: expect.any(String), relations: '0' }]);
    expect(await balances()).toEqual([100, 100]);
    expect(await answer(world, approver, request, 'approve')).toMatch(/ 1\/1$/);
    expect(told((await answered).frames)).toEqual(['N SP001', 'N SP003', '1', '2', 'C UPDATE 1', 'Z I']);
    expect(await balances()).toEqual([11, 100]);
  });

  test('runs exactly once after its approval, and its intent, with the approval, stands before it', async () => {
    const client = await raw();
    const answered = client.exchange(pipeline(run('update accounts set balance = balance + $1 where id = 2', '5'), write.sync()));
    const request = await next();
    expect(ranOnServer('balance + $1')).toBe(0);
    await Promise.all([answer(world, approver, request, 'approve'), answer(world, await world.token('second-approver'), request, 'approve'), answer(world, approver, request, 'approve')]);
    await answered;
    expect([await balances(), ranOnServer('balance + $1')]).toEqual([[100, 105], 1]);
    const events = auditEvents(world.dataDirectory).filter((event) => event.line.includes(request) || event.line.includes('balance + '));
    // Of answers that come at once, those after the deciding one find the request closed.
    expect(events.map((event) => event.code)).toEqual(['request.created', 'statement.held', ...events.filter((event) => event.code === 'request.decided').map((event) => event.code), 'statement.intent']);
    expect(events.at(-1)?.line).toContain(`"oidc:approver@bank.example"`);
    const ranAt = Date.parse(`${/^(\S+ \S+) UTC .*balance \+ \$1/m.exec(world.postgres.log())?.[1]?.replace(' ', 'T')}Z`);
    expect(Number(/"time":(\d+)/.exec(events.at(-1)?.line ?? '')?.[1])).toBeLessThanOrEqual(ranAt);
    expect(await answer(world, approver, request, 'approve')).toBe('APPROVAL_CLOSED');
  });

  test('is asked for again when it comes again: an approval is used once', async () => {
    const client = await raw();
    const statement = pipeline(run('update accounts set balance = 12 where id = 1'), write.sync());
    const first = client.exchange(statement);
    await answer(world, approver, await next(), 'approve');
    await first;
    const second = client.exchange(statement);
    await answer(world, approver, await next(), 'deny');
    expect(told((await second).frames)).toEqual(['N SP001', 'E 42501 APPROVAL_DENIED', 'Z I']);
  });
});

describe('a refusal has the effect of a server error', () => {
  test('refusing the second statement of a pipeline rolls back the first', async () => {
    const client = await raw();
    const { frames } = await client.exchange(pipeline(run('insert into keep values (1)'), run('drop table keep'), run('insert into keep values (2)'), write.sync()));
    expect(told(frames)).toEqual(['1', '2', 'C INSERT 0 1', 'E 42501 STATEMENT_DENIED', 'Z I']);
    expect((await direct.query('select * from keep')).rows).toEqual([]);
    expect(told((await client.query('select 7')).frames)).toEqual(['T', 'D 7', 'C SELECT 1', 'Z I']);
  });

  test('denying a held statement in a pipeline rolls back what ran before it', async () => {
    const client = await raw();
    const answered = client.exchange(pipeline(run('insert into keep values (1)'), run('update accounts set balance = 13'), write.sync()));
    await answer(world, approver, await next(), 'deny');
    expect(told((await answered).frames).filter((one) => !one.startsWith('N'))).toEqual(['1', '2', 'C INSERT 0 1', 'E 42501 APPROVAL_DENIED', 'Z I']);
    expect((await direct.query('select * from keep')).rows).toEqual([]);
    expect(ranOnServer('balance = 13')).toBe(0);
  });

  test('refusing inside BEGIN leaves status E, in both protocols, and ROLLBACK makes it good', async () => {
    const client = await raw();
    for (const refused of [write.query('drop table keep'), pipeline(run('drop table keep'), write.sync())]) {
      await client.query('begin; insert into keep values (1)');
      expect(told((await client.exchange(refused)).frames)).toEqual(['E 42501 STATEMENT_DENIED', 'Z E']);
      expect(told((await client.query('select 1')).frames)).toEqual(['E 25P02 current transaction is aborted, commands ignored until end of transaction block', 'Z E']);
      expect(told((await client.query('commit')).frames)).toEqual(['C ROLLBACK', 'Z I']);
    }
    expect((await direct.query('select * from keep')).rows).toEqual([]);
  });

  test('`select 1; drop table keep` executes nothing when Drop is denied', async () => {
    const client = await raw();
    expect(told((await client.query('insert into keep values (1); drop table keep')).frames)).toEqual(['E 42501 STATEMENT_DENIED', 'Z I']);
    expect((await direct.query('select * from keep')).rows).toEqual([]);
    expect(ranOnServer('drop table keep')).toBe(0);
  });

  test('a text with one held statement waits whole', async () => {
    const client = await raw();
    const answered = client.query('insert into keep values (5); update accounts set balance = 14 where id = 1');
    const request = await next();
    expect(await shown(world, approver, request)).toMatchObject({ statement: { text: 'insert into keep values (5);\nupdate accounts set balance = 14 where id = 1' } });
    expect((await direct.query('select * from keep')).rows).toEqual([]);
    await answer(world, approver, request, 'approve');
    expect(told((await answered).frames)).toEqual(['N SP001', 'N SP003', 'C INSERT 0 1', 'C UPDATE 1', 'Z I']);
  });
});

describe('a statement that cannot be shown whole (A10)', () => {
  test.each<[string, Buffer]>([
    ['by its text', write.query(`update accounts set balance = 1 where id in (${Array.from({ length: 8_000 }, (_, n) => n + 10_000).join(', ')})`)],
    ['by its parameters', pipeline(run('update accounts set balance = length($1) where id = 1', 'x'.repeat(33_000)), write.sync())],
  ])('%s is refused with 54000 before anybody is asked', async (_what, bytes) => {
    const client = await raw();
    const { frames } = await client.exchange(bytes);
    expect(told(frames)).toEqual(['E 54000 APPROVAL_TOO_LARGE', 'Z I']);
    expect(await balances()).toEqual([100, 100]);
  });
});

describe('rules that ask', () => {
  test('all that match must be satisfied, each by its own group', async () => {
    await put(policyFile({ rules: [others('Update'), needs('owners', 'Update', { groups: ['owners'] }), needs('dbas', 'Update', { groups: ['dba'] })] }));
    const client = await raw();
    const [owner, both] = await Promise.all([tokenOf(world, 'olga', ['owners']), tokenOf(world, 'bea', ['owners', 'dba'])]);
    const answered = client.query('update accounts set balance = 15 where id = 1');
    const seen = { dba: null as string | null, owners: null as string | null };
    for (let asked = 0; asked < 2; asked++) {
      const request = await nextRequest(world, both, known);
      expect(await balances()).toEqual([100, 100]);
      const isForDba = (await shown(world, approver, request)) !== null;
      seen[isForDba ? 'dba' : 'owners'] = request;
      expect(await answer(world, isForDba ? owner : approver, request, 'approve')).toBe('APPROVAL_NOT_APPROVER');
      expect(await answer(world, isForDba ? approver : owner, request, 'approve')).toMatch(/ 1\/1$/);
    }
    expect(told((await answered).frames).filter((one) => !one.startsWith('N'))).toEqual(['C UPDATE 1', 'Z I']);
    expect([seen.dba, seen.owners].every((request) => request !== null)).toBe(true);
    const intent = auditEvents(world.dataDirectory).findLast((event) => event.code === 'statement.intent')?.line ?? '';
    expect([...intent.matchAll(/"name":"(oidc:[^"]+)","decision_uid"|"approver":\{[^}]*"name":"(oidc:[^"]+)"/g)].map((match) => match[1] ?? match[2]).sort()).toEqual(['oidc:approver@bank.example', 'oidc:olga@bank.example']);
  });

  test('with scope Session once for the session, and not for another one (A1)', async () => {
    await put(policyFile({ rules: [others('Update'), needs('updates', 'Update', { scope: 'Session', grantTTL: '10m' })] }));
    const [first, second] = [await session(), await session()];
    const answered = first.run('update accounts set balance = 16 where id = 1 returning balance');
    await answer(world, approver, await next(), 'approve');
    expect(await answered).toEqual([{ balance: 16 }]);
    expect(await first.run('update accounts set balance = 17 where id = 1 returning balance')).toEqual([{ balance: 17 }]);
    const other = second.run('update accounts set balance = 18 where id = 1');
    await answer(world, approver, await next(), 'deny');
    expect(await other).toMatchObject({ code: '42501' });
  });

  test('with scope Window for every session of the person on the target until its end, and for nobody else (A1)', async () => {
    await put(policyFile({ rules: [others('Update'), needs('updates', 'Update', { scope: 'Window', grantTTL: '3s' })] }));
    const [first, second, stranger] = [await session(), await session(), await session(await tokenOf(world, 'ann', ['sre']))];
    const answered = first.run('update accounts set balance = 19 where id = 1 returning balance');
    await answer(world, approver, await next(), 'approve');
    const approvedMs = performance.now();
    expect(await answered).toEqual([{ balance: 19 }]);
    expect(await second.run({ name: 'u', text: 'update accounts set balance = 20 where id = 1 returning balance' })).toEqual([{ balance: 20 }]);
    const other = stranger.run('update accounts set balance = 21 where id = 1');
    await answer(world, approver, await next(), 'deny');
    expect(await other).toMatchObject({ code: '42501' });
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, 3_300 - (performance.now() - approvedMs))));
    const late = second.run({ name: 'u', text: 'update accounts set balance = 20 where id = 1 returning balance' });
    await answer(world, approver, await next(), 'deny');
    expect(await late).toMatchObject({ code: '42501', message: expect.stringContaining('[APPROVAL_DENIED]') });
  });
});

test('a policy that changes while a statement is held, and still allows the session, supersedes the request: nothing runs and the session goes on', async () => {
  const held = await session();
  const answered = held.run('update accounts set balance = 22 where id = 1');
  const request = await next();
  await put(policyFile({ rules: [others('Update', 'DDL'), needs('updates', 'Update', { decideWithin: '9m' })] }));
  expect(await answered).toMatchObject({ severity: 'ERROR', code: '42501', message: 'the policy changed while the statement waited [APPROVAL_SUPERSEDED]' });
  expect(await answer(world, approver, request, 'approve')).toBe('APPROVAL_CLOSED');
  expect(await held.run('select balance from accounts where id = 1')).toEqual([{ balance: 100 }]);
});

test('what a client sends during a hold waits behind it, and is decided and recorded when its turn comes (A2)', async () => {
  const client = await raw();
  const recordsBefore = auditEvents(world.dataDirectory).length;
  const first = client.query('update accounts set balance = 25 where id = 1');
  const request = await next();
  const statements = [write.query('insert into keep values (31)'), pipeline(run('insert into keep values (32)'), write.sync()), write.query('drop table keep'), write.frame('F', Buffer.alloc(10)), write.frame('c'), write.sync(), write.query('insert into keep values (33)')];
  // More than is read ahead: the socket is paused, not the memory filled.
  const flood = Array.from({ length: 10 }, () => write.query(`select '${'x'.repeat(50_000)}'`));
  const rest = client.exchange(Buffer.concat([...statements, ...flood]));
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect([ranOnServer('keep values (31)'), (await direct.query('select * from keep')).rows]).toEqual([0, []]);
  await answer(world, approver, request, 'deny');
  await Promise.all([first, rest]);
  await eventually('everything is answered', () => told(client.frames).filter((one) => one === 'Z I').length >= 7 + 10);
  expect(told(client.frames).filter((one) => /^[CE] /.test(one) && one !== 'C SELECT 1')).toEqual(['E 42501 APPROVAL_DENIED', 'C INSERT 0 1', 'C INSERT 0 1', 'E 42501 STATEMENT_DENIED', 'E 42501 STATEMENT_NOT_ALLOWED', 'C INSERT 0 1']);
  const records = auditEvents(world.dataDirectory).slice(recordsBefore).filter((event) => event.code.startsWith('statement.') && event.code !== 'statement.result').map((event) => event.code);
  expect(records).toEqual(['statement.held', 'statement.denied', 'statement.intent', 'statement.intent', 'statement.denied', 'statement.denied', 'statement.intent', ...Array.from({ length: 10 }, () => 'statement.intent')]);
}, 30_000);

test('a large answer that streams while the next statement is held arrives whole, with the notice behind it', async () => {
  const client = await raw();
  const answered = client.exchange(pipeline(run("select repeat('x', 2000000)"), run('update accounts set balance = 23 where id = 1'), write.sync()));
  const request = await next();
  await eventually('the first answer and the notice are here', () => told(client.frames).includes('C SELECT 1') && told(client.frames).includes('N SP001'));
  await answer(world, approver, request, 'approve');
  const frames = (await answered).frames;
  expect(told(frames).map((one) => (one.startsWith('D') ? `D ${one.length - 2}` : one)).filter((one) => !one.startsWith('N'))).toEqual(['1', '2', 'D 2000000', 'C SELECT 1', '1', '2', 'C UPDATE 1', 'Z I']);
});

test('SIGKILL of the gateway while a statement is held: the request is withdrawn at the next start, and the statement never runs', async () => {
  const held = await session();
  const answered = held.run('update accounts set balance = 24 where id = 1');
  const request = await next();
  await world.gateway.kill();
  await answered;
  await world.restart();
  await eventually('the request is withdrawn', async () => (await shown(world, approver, request))?.phase === 'Withdrawn');
  expect(await answer(world, approver, request, 'approve')).toBe('APPROVAL_CLOSED');
  expect([await balances(), ranOnServer('balance = 24')]).toEqual([[100, 100], 0]);
}, 30_000);
