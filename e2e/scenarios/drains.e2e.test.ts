import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { eventually } from '../hosts/clients.ts';
import { startWorld, type World } from '../hosts/gateway.ts';
import { answer, nextRequest, shown, tokenOf } from '../hosts/people.ts';
import { policyFile, usualStatements } from '../hosts/policy-files.ts';
import { sallyport, sessionEnds } from '../hosts/sallyport.ts';
import { refusedLogin, requestNamed, seenError, watchedSession } from '../hosts/session-watch.ts';

let world: World;

const policies = policyFile(
  { rules: [
    { name: 'usual', action: 'Allow', postgres: { statements: usualStatements.filter((name) => name !== 'Delete') } },
    { name: 'deletes', action: 'RequireApproval', postgres: { statements: ['Delete'] }, approval: { groups: ['dba'], decideWithin: '10m' } },
  ] },
  { name: 'on-request', subjects: [{ kind: 'Group', name: 'guests' }], access: { mode: 'OnRequest', approval: { groups: ['dba'], grantTTL: '10m' } } },
);

beforeAll(async () => {
  world = await startWorld({ policies, serve: ['--drain-seconds', '3'] });
}, 60_000);
afterAll(async () => world?.[Symbol.asyncDispose]());

test('SIGTERM ends what is idle, and what is held so close to the deadline, at once; running statements and open transactions have until the deadline; it refuses new sessions with 57P03, and exits 0', async () => {
  const [token, approver, guest] = await Promise.all([world.token('engineer'), world.token('approver'), tokenOf(world, 'gus', ['guests'])]);
  const [idle, inTransaction, held, short, long] = await Promise.all(Array.from({ length: 5 }, () => watchedSession(world, token)));
  if (!idle || !inTransaction || !held || !short || !long) throw new Error('no sessions');
  await inTransaction.run('begin; create table half (a int)');
  const answers = { held: held.run('delete from nothing_here'), short: short.run('select 1 as done from pg_sleep(1)'), long: long.run('select pg_sleep(60)') };
  const request = await eventually('the statement is held', () => requestNamed(held.notices) ?? world.gateway.stderr().includes('never'));
  const login = watchedSession(world, guest).catch(seenError);
  const known = new Set([String(request)]);
  const loginRequest = await nextRequest(world, approver, known);

  const startedMs = performance.now();
  const exited = world.gateway.stop();
  const shutDown = expect.objectContaining({ severity: 'FATAL', code: '57P01', message: 'the gateway is shutting down [DRAINING]', hint: 'connect again' });
  const [idleEnd, heldEnd] = await Promise.all([idle.ended, held.ended]);
  expect([idleEnd.error, heldEnd.error, await answers.held]).toEqual([shutDown, shutDown, shutDown]);
  expect(Math.max(idleEnd.atMs, heldEnd.atMs) - startedMs).toBeLessThan(1_000);
  expect(await inTransaction.run('select count(*)::int as rows from half')).toEqual([{ rows: 0 }]);
  expect(await login).toMatchObject({ severity: 'FATAL', code: '57P03', message: 'the gateway is shutting down [DRAINING]' });
  expect(await refusedLogin(world, token)).toMatchObject({ severity: 'FATAL', code: '57P03', message: 'the gateway is shutting down [DRAINING]', hint: 'connect again' });
  const ready = await fetch(`${world.gateway.httpUrl}/readyz`);
  expect([ready.status, await ready.text(), (await fetch(`${world.gateway.httpUrl}/healthz`)).status]).toEqual([503, 'not ready: DRAINING\n', 200]);
  expect(await answer(world, approver, String(request), 'approve')).toBe('APPROVAL_CLOSED');
  expect(await shown(world, approver, loginRequest)).toMatchObject({ phase: 'Pending' });

  expect(await answers.short).toEqual([{ done: 1 }]);
  expect((await short.ended).error).toEqual(shutDown);
  expect((await short.ended).atMs - startedMs).toBeLessThan(2_500);
  expect(await answers.long).toEqual(shutDown);
  expect((await inTransaction.ended).error).toEqual(shutDown);
  expect(Math.min((await long.ended).atMs, (await inTransaction.ended).atMs) - startedMs).toBeGreaterThan(2_800);
  expect(await exited).toBe(0);
  expect(performance.now() - startedMs).toBeLessThan(8_000);

  expect(world.postgres.log()).not.toContain('delete from nothing_here');
  expect(await sessionEnds(world.dataDirectory)).toEqual({ ProxyShutdown: 5 });
  expect(await sallyport(['audit', 'verify', '--data', world.dataDirectory])).toMatchObject({ exit: 0 });
}, 30_000);

test('an open transaction that is committed while the gateway drains is committed, and its session then ends', async () => {
  await world.restart();
  const session = await watchedSession(world, await world.token('engineer'));
  await session.run('create table kept (a int)');
  await session.run('begin');
  await session.run('insert into kept values (1)');
  const exited = world.gateway.stop();
  await eventually('it drains', () => world.gateway.stderr().includes('"draining"'));
  expect(await session.run('commit')).toEqual([]);
  expect((await session.ended).error).toMatchObject({ code: '57P01' });
  expect(await exited).toBe(0);
  await world.restart();
  const next = await watchedSession(world, await world.token('engineer'));
  expect(await next.run('select a from kept')).toEqual([{ a: 1 }]);
}, 30_000);

test('a second SIGTERM is the deadline: what runs is cancelled and told, and the records are complete', async () => {
  const session = await watchedSession(world, await world.token('engineer'));
  const answer = session.run('select pg_sleep(60)');
  await eventually('it runs', () => world.postgres.log().split('select pg_sleep(60)').length > 2);
  const startedMs = performance.now();
  const exited = world.gateway.stop();
  await eventually('it drains', () => world.gateway.stderr().includes('"draining"'));
  world.gateway.child.kill('SIGTERM');
  expect(await answer).toMatchObject({ severity: 'FATAL', code: '57P01' });
  expect([await exited, performance.now() - startedMs < 2_500]).toEqual([0, true]);
  expect(await sallyport(['audit', 'verify', '--data', world.dataDirectory])).toMatchObject({ exit: 0 });
}, 30_000);
