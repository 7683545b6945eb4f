import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { findAsset } from '../../../tools/e2e-assets.ts';
import { auditEvents, connectDirect, conninfo, decide, endClients, eventually, libpqEnv, type LiveProgram, phaseOf, serverStatements, startClient, startOnTerminal } from '../../hosts/clients.ts';
import { allowEverything, startWorld, type World } from '../../hosts/gateway.ts';

jest.setTimeout(30_000);
const psql = findAsset('psql')?.path ?? '';
let world: World;
let engineer = '';
let approver = '';

/** Each test has a table of its own, so that nothing another test did counts. */
const holds = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: holds}
spec:
  subjects: [{kind: Group, name: sre}]
  targets: {names: [db]}
  rules:
  - name: updates
    action: RequireApproval
    message: "updates are looked at first"
    postgres: {statements: [Update]}
    approval: {groups: [dba], required: 1, decideWithin: 10m}
  - name: quick
    action: RequireApproval
    postgres: {statements: [Delete]}
    approval: {groups: [dba], required: 1, decideWithin: 2s}
`;

beforeAll(async () => {
  world = await startWorld({
    policies: `${allowEverything}---\n${holds}`,
    prepare: async (postgres) => {
      const client = await connectDirect(postgres);
      await client.query('create table accounts (id int primary key, balance int); insert into accounts select i, 100 from generate_series(1, 20) i');
      await client.end();
    },
  });
  [engineer, approver] = await Promise.all([world.token('engineer'), world.token('approver')]);
}, 60_000);

afterAll(async () => {
  endClients();
  await world[Symbol.asyncDispose]();
});

const flags = ['-X', '-q', '-n', '-At', '-v', 'VERBOSITY=verbose'];

function openPsql(): LiveProgram {
  return startOnTerminal(psql, [...flags, conninfo(world)], libpqEnv(engineer));
}

/** Says a statement that will be held; resolves with the name of its request once the notice is there. */
async function hold(session: LiveProgram, statement: string): Promise<string> {
  const from = session.text().length;
  session.say(statement);
  return (await session.until(/statement held: waiting for approval by group dba \((areq-[a-z0-9]+)\)/, from))[1] ?? '';
}

async function balance(id: number): Promise<number> {
  const client = await connectDirect(world.postgres);
  const { rows } = await client.query<{ balance: number }>('select balance from accounts where id = $1', [id]);
  await client.end();
  return rows[0]?.balance ?? Number.NaN;
}

async function quit(session: LiveProgram): Promise<void> {
  session.say('\\q');
  await session.end();
}

function arrived(statement: string): boolean {
  return serverStatements(world.postgres).some((text) => text.includes(statement));
}

const whenHere = psql ? describe : describe.skip;

whenHere('a statement that is held in psql', () => {
  test('is announced at once with request, rule and how to decide, waits, and runs when another person approves', async () => {
    const session = openPsql();
    const started = performance.now();
    const request = await hold(session, 'update accounts set balance = 1 where id = 1;');
    expect(performance.now() - started).toBeLessThan(3_000);
    await session.until(/HINT: {2}an approver can run: sallyport approve areq-/);
    expect(session.text()).toMatch(/NOTICE: {2}SP001: statement held: .*\r?\nDETAIL: {2}policy "holds", rule "updates"; to be decided by 20/);
    await expect(decide(world, engineer, request, 'approve')).rejects.toThrow('APPROVAL_SELF');
    expect([arrived('balance = 1 '), await balance(1)]).toEqual([false, 100]);
    await decide(world, approver, request, 'approve', 'fine');
    await session.until(/NOTICE: {2}SP003: approved/);
    session.say("select 'bal' || 'ance ' || balance from accounts where id = 1;");
    await session.until(/balance 1\r?\n/);
    expect(await phaseOf(world, approver, request)).toBe('Used');
    expect(serverStatements(world.postgres).filter((text) => text.includes('balance = 1 '))).toEqual(['update accounts set balance = 1 where id = 1;']);
    await quit(session);
  });

  test('is approved once: the same text again is held again', async () => {
    const session = openPsql();
    const statement = 'update accounts set balance = balance + 1 where id = 2;';
    const first = await hold(session, statement);
    await decide(world, approver, first, 'approve');
    await session.until(/SP003/);
    const second = await hold(session, statement);
    expect(second).not.toBe(first);
    await decide(world, approver, second, 'deny', 'once is enough');
    await session.until(/once is enough/);
    await quit(session);
    expect(await balance(2)).toBe(101);
  });

  test('is given up by Ctrl-C with 57014; nothing reached the server, and the session goes on', async () => {
    const session = openPsql();
    const request = await hold(session, 'update accounts set balance = 3 where id = 3;');
    session.child.stdin?.write('\x03');
    await session.until(/ERROR: {2}57014: /);
    session.say("select 'af' || 'ter';");
    await session.until(/after/);
    await quit(session);
    expect([await phaseOf(world, approver, request), arrived('balance = 3 '), await balance(3)]).toEqual(['Withdrawn', false, 100]);
    await expect(decide(world, approver, request, 'approve')).rejects.toThrow('APPROVAL_CLOSED');
  });

  test('is refused with the approver and the reason when denied; the session goes on', async () => {
    const session = openPsql();
    const request = await hold(session, 'update accounts set balance = 4 where id = 4;');
    await decide(world, approver, request, 'deny', 'not before the backup');
    await session.until(/ERROR: {2}42501: the approver said no \[APPROVAL_DENIED\]/);
    await session.until(/was denied by oidc:approver@bank\.example: not before the backup/);
    session.say("select 'af' || 'ter';");
    await session.until(/after/);
    await quit(session);
    expect([arrived('balance = 4 '), await balance(4)]).toEqual([false, 100]);
  });

  test('expires with 57014 when nobody decides in time', async () => {
    const session = openPsql();
    const started = performance.now();
    const request = await hold(session, 'delete from accounts where id = 5;');
    await session.until(/ERROR: {2}57014: /);
    const waitedMs = performance.now() - started;
    expect(waitedMs).toBeGreaterThan(1_900);
    expect(waitedMs).toBeLessThan(5_000);
    await quit(session);
    expect([await phaseOf(world, approver, request), arrived('delete from accounts'), await balance(5)]).toEqual(['Expired', false, 100]);
  });

  test('is withdrawn when psql is killed, and its transaction is rolled back', async () => {
    const session = startClient(psql, [...flags, conninfo(world)], libpqEnv(engineer));
    const request = await hold(session, 'begin; insert into accounts values (60, 1); update accounts set balance = 6 where id = 6;');
    session.child.kill('SIGKILL');
    await session.ended;
    await eventually('withdrawn', async () => (await phaseOf(world, approver, request)) === 'Withdrawn');
    const direct = await connectDirect(world.postgres);
    await eventually('nothing of it is open', async () => (await direct.query("select 1 from pg_stat_activity where application_name like 'sallyport/%' and state <> 'idle'")).rows.length === 0);
    expect((await direct.query('select 1 from accounts where id = 60')).rows).toEqual([]);
    await direct.end();
    await expect(decide(world, approver, request, 'approve')).rejects.toThrow('APPROVAL_CLOSED');
    expect([arrived('balance = 6 '), await balance(6)]).toEqual([false, 100]);
  });

  test('inside a transaction keeps its locks and says so; a denial fails the transaction as a server error would', async () => {
    const session = openPsql();
    session.say('begin; insert into accounts values (70, 1);');
    const request = await hold(session, 'update accounts set balance = 7 where id = 7;');
    expect(session.text()).toMatch(/locks of your transaction are kept/);
    await decide(world, approver, request, 'deny', 'no');
    await session.until(/ERROR: {2}42501/);
    session.say('select 1;');
    await session.until(/ERROR: {2}25P02/);
    session.say("commit; select 'rows ' || count(*) from accounts where id = 70;");
    await session.until(/rows 0/);
    await quit(session);
  });

  test('holds all of a text of several statements: none has run before the approval', async () => {
    const session = openPsql();
    const request = await hold(session, "insert into accounts values (80, 1) \\; update accounts set balance = 8 where id = 8 \\; select 'af' || 'ter';");
    expect(await balance(80)).toBeNaN();
    await decide(world, approver, request, 'approve');
    await session.until(/after/);
    await quit(session);
    expect([await balance(80), await balance(8)]).toEqual([1, 8]);
  });

  test('holds no lock on the server while it waits outside of a transaction', async () => {
    const session = openPsql();
    const request = await hold(session, 'update accounts set balance = 9 where id = 9;');
    const direct = await connectDirect(world.postgres);
    expect((await direct.query("select mode from pg_locks where relation = 'accounts'::regclass")).rows).toEqual([]);
    await direct.end();
    await decide(world, approver, request, 'approve');
    await session.until(/SP003/);
    await quit(session);
  });

  test('in a PREPARE is held, and held again at its EXECUTE', async () => {
    const session = openPsql();
    const prepared = await hold(session, 'prepare raise (int) as update accounts set balance = $1 where id = 11;');
    await decide(world, approver, prepared, 'approve');
    await session.until(/SP003/);
    const request = await hold(session, 'execute raise(11);');
    await decide(world, approver, request, 'approve');
    await session.until(new RegExp(`SP003: approved \\(${request}`));
    session.say("select 'bal' || 'ance ' || balance from accounts where id = 11;");
    await session.until(/balance 11\r?\n/);
    await quit(session);
  });

  test('is denied, and its session ended, within a second of the policy that allowed it being deleted', async () => {
    const session = openPsql();
    const request = await hold(session, 'update accounts set balance = 10 where id = 10;');
    const started = performance.now();
    world.writeConfig('policy.yaml', null);
    await session.until(/FATAL: {2}57P01|ERROR: {2}42501/);
    expect(performance.now() - started).toBeLessThan(1_000);
    await quit(session);
    expect([await phaseOf(world, approver, request).then((phase) => phase === 'Pending' || phase === 'Approved'), arrived('balance = 10 '), await balance(10)]).toEqual([false, false, 100]);
  });

  test('has its records: held, then intent with the approval, or denied, cancelled; each with the request', () => {
    const events = auditEvents(world.dataDirectory);
    const of = (code: string): number => events.filter((event) => event.code === code).length;
    expect(of('statement.held')).toBe(13);
    expect(of('statement.cancelled')).toBe(2);
    const approved = events.filter((event) => event.code === 'statement.intent' && event.line.includes('areq-'));
    expect(approved.map((event) => /"query_string":"([a-zA-Z]+ [a-z]+)/.exec(event.line)?.[1])).toEqual(expect.arrayContaining(['update accounts']));
    const endedSessions = events.filter((event) => event.code === 'session.end').map((event) => event.session);
    const last = endedSessions.map((session) => events.filter((event) => event.session === session && !event.code.startsWith('request.')).at(-1)?.code);
    expect(last).toEqual(endedSessions.map(() => 'session.end'));
  });
});
