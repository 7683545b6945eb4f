import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import { auditEvents, connectDirect, eventually } from '../hosts/clients.ts';
import { startWorld, type World } from '../hosts/gateway.ts';
import { allowUsual, policyFile, putConfig, usualStatements } from '../hosts/policy-files.ts';
import { refusedLogin, requestNamed, type WatchedSession, watchedSession } from '../hosts/session-watch.ts';

const heldDeletes = { name: 'deletes', action: 'RequireApproval', postgres: { statements: ['Delete'] }, approval: { groups: ['dba'], decideWithin: '10m' } };
const usual = policyFile({});
const files = new Map<string, string>();
const opened: WatchedSession[] = [];
let world: World;
let direct: pg.Client;

beforeAll(async () => {
  world = await startWorld({ policies: usual });
  direct = await connectDirect(world.postgres);
  await direct.query("create table notes (id int, ssn text); insert into notes values (1, '123-45-6789')");
  for (const file of ['target.yaml', 'issuer.yaml']) files.set(file, readFileSync(join(world.configDirectory, file), 'utf8'));
}, 60_000);
afterAll(async () => {
  await direct?.end();
  await world?.[Symbol.asyncDispose]();
});
beforeEach(() => putIfChanged(usual));
afterEach(async () => {
  await Promise.all(opened.splice(0).map(({ client }) => client.end().catch(() => undefined)));
});

let inForce = usual;
async function putIfChanged(policies: string | null): Promise<void> {
  if (policies !== inForce) await putConfig(world, 'policy.yaml', policies);
  inForce = policies ?? '';
}

async function open(token?: string): Promise<WatchedSession> {
  const session = await watchedSession(world, token ?? (await world.token('engineer')));
  opened.push(session);
  return session;
}

const sleepers = async (): Promise<number> => Number((await direct.query("select count(*) from pg_stat_activity where state = 'active' and query like 'select pg_sleep(%'")).rows[0].count);
const isRunning = (): Promise<true> => eventually('the statement runs', async () => (await sleepers()) > 0 || null);
const revoked = expect.objectContaining({ severity: 'FATAL', code: '57P01', message: expect.stringContaining('[SESSION_REVOKED]') });

describe('deleting the policy file (A7, I8)', () => {
  test('ends an idle, a running and a held session in less than a second, cancels the running statement and denies the held one, 20 times', async () => {
    const tookMs: number[] = [];
    for (let round = 0; round < 20; round++) {
      await putIfChanged(policyFile({ rules: [{ ...allowUsual, postgres: { statements: usualStatements.filter((name) => name !== 'Delete') } }, heldDeletes] }));
      const [idle, running, held] = await Promise.all([open(), open(), open()]);
      const answers = [running.run('select pg_sleep(30)'), held.run('delete from notes where id = 1')];
      await Promise.all([isRunning(), eventually('the statement is held', () => requestNamed(held.notices))]);
      const startedMs = performance.now();
      world.writeConfig('policy.yaml', null);
      inForce = '';
      const ends = await Promise.all([idle, running, held].map((session) => session.ended));
      tookMs.push(...ends.map((end) => end.atMs - startedMs));
      expect(ends.map((end) => end.error)).toEqual([revoked, revoked, revoked]);
      expect(await Promise.all(answers)).toEqual([revoked, revoked]);
      await eventually('the statement is cancelled on the server', async () => (await sleepers()) === 0, 1_000);
    }
    tookMs.sort((a, b) => a - b);
    const p99 = tookMs[Math.ceil(tookMs.length * 0.99) - 1] ?? Infinity;
    console.log(`from the deletion of the file to the end of the session, ${tookMs.length} sessions: median ${tookMs[tookMs.length >> 1]?.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms`);
    expect(p99).toBeLessThan(1_000);
    expect((await direct.query('select count(*) from notes where id = 1')).rows).toEqual([{ count: '1' }]);
    expect(world.postgres.log()).not.toContain('statement: delete from notes');
  }, 120_000);

  test('leaves a record of the held statement, denied before the session ends', async () => {
    const events = await eventually('all sessions are closed', () => {
      const all = auditEvents(world.dataDirectory);
      return all.filter((event) => event.code === 'session.end').length >= 60 && all;
    });
    const heldSessions = events.filter((event) => event.code === 'statement.held').map((event) => event.session);
    expect(heldSessions).toHaveLength(20);
    for (const session of heldSessions) {
      expect(events.filter((event) => event.session === session && event.code.match(/^(session\.end|statement)/)).map((event) => event.code)).toEqual(['statement.held', 'statement.denied', 'session.end']);
    }
  });

  test('refuses new sessions', async () => {
    await putIfChanged(null);
    expect(await refusedLogin(world, await world.token('engineer'))).toMatchObject({ severity: 'FATAL', code: '42501', message: expect.stringContaining('[ACCESS_DENIED]') });
  });
});

describe('a change of the policy that still allows the session', () => {
  test('does not drop it, and the new rules count for the very next statement, prepared ones included', async () => {
    const session = await open();
    const insert = { name: 'ins', text: 'insert into notes values ($1)', values: [2] };
    expect(await session.run(insert)).toEqual([]);
    await putIfChanged(policyFile({ rules: [allowUsual, { name: 'no-inserts', action: 'Deny', message: 'not today', postgres: { statements: ['Insert'] } }] }));
    expect(await session.run('insert into notes values (3)')).toMatchObject({ severity: 'ERROR', code: '42501', message: 'statement denied by policy "everything", rule "no-inserts" [STATEMENT_DENIED]', detail: 'not today' });
    expect(await session.run(insert)).toMatchObject({ severity: 'ERROR', code: '42501' });
    await putIfChanged(usual);
    expect(await session.run(insert)).toEqual([]);
  });

  test('masks the next answer, of a prepared statement too, and unmasks it again', async () => {
    const session = await open();
    const read = { name: 'read', text: 'select ssn from notes where id = $1', values: [1] };
    expect(await session.run(read)).toEqual([{ ssn: '123-45-6789' }]);
    await putIfChanged(policyFile({ masking: [{ columns: ['public.notes.ssn'], style: 'Partial', keepLast: 4 }] }));
    expect(await session.run(read)).toEqual([{ ssn: '***-**-6789' }]);
    expect(await session.run('select ssn from notes where id = 1')).toEqual([{ ssn: '***-**-6789' }]);
    await putIfChanged(usual);
    expect(await session.run(read)).toEqual([{ ssn: '123-45-6789' }]);
  });
});

describe('what a session rests on (A7)', () => {
  test.each(['issuer.yaml', 'target.yaml'])('%s deleted: the session ends', async (file) => {
    const [idle, running] = await Promise.all([open(), open()]);
    const answer = running.run('select pg_sleep(30)');
    await isRunning();
    world.writeConfig(file, null);
    expect((await Promise.all([idle.ended, running.ended])).map((end) => end.error)).toEqual([revoked, revoked]);
    expect(await answer).toEqual(revoked);
    await eventually('the statement is cancelled on the server', async () => (await sleepers()) === 0, 2_000);
    await putConfig(world, file, files.get(file) ?? '');
    await eventually('sessions open again', async () => (await refusedLogin(world, await world.token('engineer'))) === null);
  }, 20_000);

  test('a token that expires ends the session (I9)', async () => {
    // A session ends at `exp` plus the leeway of the IdentityProvider.
    await putConfig(world, 'issuer.yaml', `${files.get('issuer.yaml')}  clockSkew: 0s\n`);
    const token = await world.issuer.sign({ sub: 'engineer', email: 'engineer@bank.example', groups: ['sre'] }, { expiresInSeconds: 3 });
    const session = await open(token);
    expect(await session.run('select 1 as one')).toEqual([{ one: 1 }]);
    expect((await session.ended).error).toMatchObject({ severity: 'FATAL', code: '57P01', message: expect.stringContaining('[SESSION_EXPIRED]'), detail: 'the token has expired' });
    expect(await refusedLogin(world, token)).toMatchObject({ code: '28000', message: expect.stringContaining('[TOKEN_EXPIRED]') });
  }, 20_000);
});

describe('limits of a session', () => {
  test('sessionDuration ends it, whatever runs', async () => {
    await putIfChanged(policyFile({ limits: { sessionDuration: '2s' } }));
    const session = await open();
    expect(await session.run('select pg_sleep(30)')).toMatchObject({ severity: 'FATAL', code: '57P01', detail: 'the policy allows sessions of 2 s' });
    await eventually('the statement is cancelled on the server', async () => (await sleepers()) === 0, 2_000);
  }, 20_000);

  test('idleTimeout does not count while a statement runs or is held, and begins anew after it', async () => {
    await putIfChanged(policyFile({ limits: { idleTimeout: '2s' }, rules: [{ ...allowUsual, postgres: { statements: usualStatements.filter((name) => name !== 'Delete') } }, { ...heldDeletes, approval: { groups: ['dba'], decideWithin: '3s' } }] }));
    const [running, held] = await Promise.all([open(), open()]);
    const answers = await Promise.all([running.run('select 4 as slept from pg_sleep(3.5)'), held.run('delete from notes')]);
    expect(answers).toEqual([[{ slept: 4 }], expect.objectContaining({ severity: 'ERROR', code: '57014', message: expect.stringContaining('[APPROVAL_EXPIRED]') })]);
    expect(await held.run('select 1 as alive')).toEqual([{ alive: 1 }]);
    const startedMs = performance.now();
    const end = await held.ended;
    expect(end.error).toMatchObject({ severity: 'FATAL', code: '57P05', message: expect.stringContaining('[SESSION_IDLE]') });
    expect(end.atMs - startedMs).toBeGreaterThan(1_900);
  }, 30_000);

  test('concurrentSessions refuses one too many with 53300, and others are not affected', async () => {
    await putIfChanged(policyFile({ limits: { concurrentSessions: 2 } }));
    const sessions = await Promise.all([open(), open()]);
    expect(await refusedLogin(world, await world.token('engineer'))).toMatchObject({ severity: 'FATAL', code: '53300', message: expect.stringContaining('[SESSION_LIMIT_REACHED]'), detail: 'the limit is 2' });
    expect(await sessions[0]?.run('select 1 as one')).toEqual([{ one: 1 }]);
    await sessions[1]?.client.end();
    await eventually('a place is free', async () => (await refusedLogin(world, await world.token('engineer'))) === null);
  });
});
