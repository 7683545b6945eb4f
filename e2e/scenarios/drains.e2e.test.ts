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

test('SIGTERM ends what is idle or held at once, lets running statements finish until the deadline, refuses new sessions with 57P03, and exits 0', async () => {
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
  const [idleEnd, transactionEnd, heldEnd] = await Promise.all([idle.ended, inTransaction.ended, held.ended]);
  expect([idleEnd.error, transactionEnd.error, heldEnd.error, await answers.held]).toEqual([shutDown, shutDown, shutDown, shutDown]);
  expect(Math.max(idleEnd.atMs, transactionEnd.atMs, heldEnd.atMs) - startedMs).toBeLessThan(1_000);
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
  expect((await long.ended).atMs - startedMs).toBeGreaterThan(2_800);
  expect(await exited).toBe(0);
  expect(performance.now() - startedMs).toBeLessThan(8_000);

  expect(world.postgres.log()).not.toContain('delete from nothing_here');
  expect(await sessionEnds(world.dataDirectory)).toEqual({ ProxyShutdown: 5 });
  expect(await sallyport(['audit', 'verify', '--data', world.dataDirectory])).toMatchObject({ exit: 0 });
}, 30_000);
