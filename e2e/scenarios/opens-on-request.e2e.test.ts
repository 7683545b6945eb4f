import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../tools/e2e-assets.ts';
import { conninfo, eventually, libpqEnv, startClient } from '../hosts/clients.ts';
import { startWorld, type World } from '../hosts/gateway.ts';
import { answer, endRequest, nextRequest, shown, tokenOf } from '../hosts/people.ts';
import { policyFile, putConfig } from '../hosts/policy-files.ts';
import { refusedLogin, seenError, type SeenError, type WatchedSession, watchedSession } from '../hosts/session-watch.ts';

const onRequest = (approval: object): string => policyFile({ access: { mode: 'OnRequest', approval: { groups: ['dba'], grantTTL: '10m', decideWithin: '10m', ...approval } } });
const oncePerSession = onRequest({});
const psql = findAsset('psql');
const known = new Set<string>();
let world: World;
let engineer: string;
let approver: string;

beforeAll(async () => {
  world = await startWorld({ policies: oncePerSession });
  [engineer, approver] = await Promise.all([world.token('engineer'), world.token('approver')]);
}, 60_000);
afterAll(async () => world?.[Symbol.asyncDispose]());

let inForce = oncePerSession;
async function put(policies: string): Promise<void> {
  if (policies !== inForce) await putConfig(world, 'policy.yaml', policies);
  inForce = policies;
}
beforeEach(() => put(oncePerSession));

/** A login that waits: it resolves with the session, or the error. */
function logIn(token: string): Promise<WatchedSession | SeenError> {
  return watchedSession(world, token).catch(seenError);
}

async function opened(login: Promise<WatchedSession | SeenError>): Promise<WatchedSession> {
  const session = await login;
  if (!('client' in session)) throw new Error(session.message);
  return session;
}

const next = (): Promise<string> => nextRequest(world, approver, known);

(psql ? test : test.skip)('psql shows the notice with the request, waits, and opens when another person approves', async () => {
  const session = startClient(psql?.path ?? '', ['-X', '-At', '-c', 'select 40 + 2', conninfo(world)], libpqEnv(engineer));
  const said = await session.until(/session held: waiting for approval by group dba \((areq-[a-z0-9]+)\)/);
  await session.until(new RegExp(`an approver can run: sallyport approve ${said[1]}`));
  known.add(said[1] ?? '');
  // A line of its own: the time and the name of the request may hold the digits too.
  expect(session.text()).not.toMatch(/^\s*42\s*$/m);
  expect(await answer(world, approver, said[1] ?? '', 'approve')).toMatch(/^(Approved|Used) 1\/1$/);
  expect(await session.ended).toMatchObject({ code: 0, out: '42\n' });
});

test('nothing dials the target while the session waits', async () => {
  const before = world.postgres.log().length;
  const login = logIn(engineer);
  const request = await next();
  expect(world.postgres.log().slice(before)).not.toContain('sallyport/');
  await answer(world, approver, request, 'deny');
  await login;
  expect(world.postgres.log().slice(before)).not.toContain('sallyport/');
});

describe('a session that is not approved is refused', () => {
  test('when an approver denies it, with name and reason', async () => {
    const login = logIn(engineer);
    const request = await next();
    expect(await answer(world, approver, request, 'deny', { reason: 'not during the freeze' })).toBe('Denied 0/1');
    expect(await login).toMatchObject({ severity: 'FATAL', code: '42501', message: 'the approver said no [APPROVAL_DENIED]', detail: `request ${request} was denied by oidc:approver@bank.example: not during the freeze` });
  });

  test('when nobody decides in time, and a later approval counts for nothing (A8)', async () => {
    await put(onRequest({ decideWithin: '1s' }));
    const login = logIn(engineer);
    const request = await next();
    expect(await login).toMatchObject({ severity: 'FATAL', code: '57014', message: expect.stringContaining('[APPROVAL_EXPIRED]') });
    expect(await answer(world, approver, request, 'approve')).toBe('APPROVAL_CLOSED');
  });

  test('when the policy changes meanwhile: an approval of the old generation counts for nothing', async () => {
    const login = logIn(engineer);
    const request = await next();
    await put(onRequest({ decideWithin: '9m' }));
    expect(await login).toMatchObject({ severity: 'FATAL', code: '42501', message: expect.stringContaining('[APPROVAL_SUPERSEDED]') });
    expect(await shown(world, approver, request)).toMatchObject({ phase: 'Superseded' });
    expect(await answer(world, approver, request, 'approve')).toBe('APPROVAL_CLOSED');
  });
});

test('the request outlives the connection: a user who hung up opens after the approval, once, without asking again', async () => {
  const login = logIn(engineer);
  const request = await next();
  const first = watchedSession(world, engineer, { connectionTimeoutMillis: 300 });
  await expect(first).rejects.toThrow(/timeout/);
  expect(await shown(world, approver, request)).toMatchObject({ phase: 'Pending' });
  // The first client is still there and takes the approval; it hangs up, and the second one must ask anew.
  expect(await answer(world, approver, request, 'approve')).toMatch(/^(Approved|Used) 1\/1$/);
  await (await opened(login)).client.end();

  const hungUp = watchedSession(world, engineer, { connectionTimeoutMillis: 300 });
  const again = await next();
  await expect(hungUp).rejects.toThrow(/timeout/);
  expect(await answer(world, approver, again, 'approve')).toBe('Approved 1/1');
  const back = await watchedSession(world, engineer);
  expect(await back.run('select 1 as one')).toEqual([{ one: 1 }]);
  await back.client.end();
  expect(await shown(world, approver, again)).toMatchObject({ phase: 'Used' });
});

describe('who may approve', () => {
  test('never the requester, not by another group, not an agent of theirs (A3)', async () => {
    const groups = ['sre', 'dba'];
    const login = logIn(await tokenOf(world, 'ann', groups));
    const request = await next();
    expect(await answer(world, await tokenOf(world, 'ann', groups), request, 'approve')).toBe('APPROVAL_SELF');
    expect(await answer(world, await tokenOf(world, 'ann', groups, { agents: ['robot'] }), request, 'approve')).toBe('APPROVAL_SELF');
    expect(await answer(world, await tokenOf(world, 'bob', groups, { agents: ['ann'] }), request, 'approve')).toBe('APPROVAL_SELF');
    expect(await answer(world, await tokenOf(world, 'bob', groups, { agents: ['robot'] }), request, 'approve')).toBe('APPROVAL_NOT_APPROVER');
    expect(await answer(world, await tokenOf(world, 'eve', ['sre']), request, 'approve')).toBe('APPROVAL_NOT_APPROVER');
    expect(await answer(world, await tokenOf(world, 'bob', groups), request, 'approve')).toMatch(/1\/1$/);
    await (await opened(login)).client.end();
  });

  test('not the person for whom an agent asks, nor that agent for others', async () => {
    const login = logIn(await tokenOf(world, 'ann', ['sre'], { agents: ['robot'] }));
    const request = await next();
    expect(await answer(world, await tokenOf(world, 'ann', ['dba']), request, 'approve')).toBe('APPROVAL_SELF');
    expect(await answer(world, await tokenOf(world, 'robot', ['dba']), request, 'approve')).toBe('APPROVAL_SELF');
    expect(await answer(world, await tokenOf(world, 'bob', ['dba'], { agents: ['robot'] }), request, 'approve')).toBe('APPROVAL_SELF');
    expect(await shown(world, approver, request)).toMatchObject({ phase: 'Pending', approvals: 0 });
    await answer(world, approver, request, 'deny');
    await login;
  });

  test('a quorum of two is two people: the same one twice, in another group too, is one (A4)', async () => {
    await put(onRequest({ groups: ['dba', 'leads'], required: 2 }));
    const login = logIn(engineer);
    const request = await next();
    expect(await answer(world, approver, request, 'approve')).toBe('Pending 1/2');
    expect(await answer(world, approver, request, 'approve')).toBe('Pending 1/2');
    expect(await answer(world, await world.issuer.sign({ sub: 'approver', email: 'other@bank.example', groups: ['leads'] }), request, 'approve')).toBe('Pending 1/2');
    expect(await answer(world, await world.token('second-approver'), request, 'approve')).toMatch(/^(Approved|Used) 2\/2$/);
    await (await opened(login)).client.end();
  });

  test('only what was shown is approved', async () => {
    const login = logIn(engineer);
    const request = await next();
    expect(await answer(world, approver, request, 'approve', { digest: `sha256:${'0'.repeat(64)}` })).toBe('APPROVAL_DIGEST_MISMATCH');
    await answer(world, approver, request, 'deny');
    await login;
  });
});

describe('a grant', () => {
  test('of scope Window opens further sessions of the same person, and of nobody else', async () => {
    await put(onRequest({ scope: 'Window' }));
    const login = logIn(engineer);
    await answer(world, approver, await next(), 'approve');
    await (await opened(login)).client.end();
    expect(await refusedLogin(world, engineer)).toBeNull();
    const other = logIn(await tokenOf(world, 'ann', ['sre']));
    await answer(world, approver, await next(), 'deny');
    expect(await other).toMatchObject({ code: '42501' });
  });

  test('ends its session when its time is over, and reconnecting does not lengthen it (A6)', async () => {
    await put(onRequest({ scope: 'Window', grantTTL: '3s' }));
    const login = logIn(engineer);
    await answer(world, approver, await next(), 'approve');
    const approvedMs = performance.now();
    const first = await opened(login);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const second = await watchedSession(world, engineer);
    const ends = await Promise.all([first.ended, second.ended]);
    for (const { error, atMs } of ends) {
      expect(error).toMatchObject({ severity: 'FATAL', code: '57P01', message: expect.stringContaining('[SESSION_EXPIRED]'), detail: 'the approved time has ended' });
      expect(atMs - approvedMs).toBeLessThan(4_000);
    }
  });

  test.each(['approver', 'requester'])('that the %s ends, ends its live session in less than a second (A7)', async (who) => {
    const login = logIn(engineer);
    const request = await next();
    await answer(world, approver, request, 'approve');
    const session = await opened(login);
    const startedMs = performance.now();
    expect(await endRequest(world, who === 'approver' ? approver : engineer, request)).toMatch(/^(Revoked|Withdrawn) /);
    const { error, atMs } = await session.ended;
    expect(error).toMatchObject({ severity: 'FATAL', code: '57P01', message: expect.stringContaining('[SESSION_REVOKED]') });
    expect(atMs - startedMs).toBeLessThan(1_000);
  });
});

test('holds that wait are counted, and none stays', async () => {
  const pending = async (): Promise<number> => Number(/^sallyport_holds_pending (\d+)$/m.exec(await (await fetch(`${world.gateway.httpUrl}/metrics`)).text())?.[1]);
  const login = logIn(engineer);
  const request = await next();
  expect(await pending()).toBe(1);
  await answer(world, approver, request, 'deny');
  await login;
  await eventually('the count goes back', async () => (await pending()) === 0);
});
