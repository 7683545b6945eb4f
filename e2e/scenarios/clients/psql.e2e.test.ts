import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { findAsset } from '../../../tools/e2e-assets.ts';
import { connectDirect, conninfo, endClients, eventually, libpqEnv, type LiveProgram, type Ran, runClient, serverStatements, startClient, startOnTerminal } from '../../hosts/clients.ts';
import { allowEverything, startWorld, type World } from '../../hosts/gateway.ts';

jest.setTimeout(30_000);
const psql = findAsset('psql')?.path ?? '';
const directory = mkdtempSync(join(tmpdir(), 'sp-psql-'));
let world: World;
let engineer = '';
let analyst = '';

const policies = `${allowEverything}---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: masked}
spec:
  subjects: [{kind: Group, name: analysts}]
  targets: {names: [db]}
  rules: [{name: all, action: Allow, postgres: {statements: [Select, Explain, Insert, CopyOut, CopyIn, Set, Show]}}]
  masking:
  - {columns: [public.people.ssn], style: Partial, keepLast: 4}
  - {detectors: [us-ssn], style: Redact}
`;

const schema = `
create type mood as enum ('calm', 'busy');
create table people (id int primary key, name text not null, ssn text, at timestamptz default now(), state mood default 'calm');
comment on table people is 'those who pay';
create index on people (name);
insert into people (id, name, ssn) values (1, 'Alice', '536-22-7841'), (2, E'Bo\\tb\\nJr', null), (3, 'Caròl "C"', '219-09-9999');
create view names as select id, name from people;
create function greet(who text) returns text language sql as $$ select 'hello ' || who $$;
create schema audit;
create table audit.notes (note text);
create table copied (like people);
`;

beforeAll(async () => {
  world = await startWorld({
    policies,
    clients: [{ id: 'engineer', secret: 'e', claims: { email: 'engineer@bank.example', groups: ['sre'] } }, { id: 'analyst', secret: 'a', claims: { email: 'analyst@bank.example', groups: ['analysts'] } }],
    // psql of Debian 15 asks an 18 for columns that it no longer has: \\l fails without any gateway, too.
    postgres: { version: 'system' },
    prepare: async (postgres) => {
      const client = await connectDirect(postgres);
      await client.query(schema);
      await client.end();
    },
  });
  [engineer, analyst] = await Promise.all([world.token('engineer'), world.token('analyst')]);
}, 60_000);

afterAll(async () => {
  endClients();
  await world[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

function through(token: string, ...args: readonly string[]): Promise<Ran> {
  return runClient(psql, ['-X', conninfo(world), ...args], libpqEnv(token));
}

function script(token: string, text: string, ...args: readonly string[]): Promise<Ran> {
  return runClient(psql, ['-X', '-q', '-At', conninfo(world), ...args], libpqEnv(token), text);
}

/** psql on a terminal, as a person uses it. */
function openPsql(token: string): LiveProgram {
  return startOnTerminal(psql, ['-X', '-q', '-n', '-At', '-v', 'VERBOSITY=verbose', conninfo(world)], libpqEnv(token));
}

const ctrlC = '\x03';
const whenHere = psql ? describe : describe.skip;

whenHere('psql through the gateway', () => {
  test('runs statements, several in one text, and variables', async () => {
    expect(await script(engineer, "select 1, 'é', null; \\set who Alice\nselect id from people where name = :'who';\nselect 'a' \\; select 'b';\n")).toEqual({ code: 0, out: '1|é|\n1\na\nb\n', err: '' });
  });

  test('says who it is connected to, over which TLS, without the target', async () => {
    const { out } = await script(engineer, '\\conninfo\n');
    expect(out).toMatch(/You are connected to database "postgres" as user "me" on host "localhost" .*\nSSL connection \(protocol: TLSv1\.3/);
  });

  test('pages through a result with FETCH_COUNT', async () => {
    const { out } = await script(engineer, '\\set FETCH_COUNT 100\nselect i from generate_series(1, 1050) i;\n');
    expect(out.split('\n').slice(0, -1)).toEqual(Array.from({ length: 1050 }, (_, index) => String(index + 1)));
  });

  test('reads what \\gdesc, \\gexec and \\crosstabview ask', async () => {
    const { out, err } = await script(engineer, "select 1 as a, 'x' as b \\gdesc\nselect 'select 7' \\gexec\nselect 8;\nselect 'r' as row, 'c' as col, 9 as val \\crosstabview\n");
    expect({ out, err }).toEqual({ out: 'a|integer\nb|text\n7\n8\nr|9\n', err: '' });
  });

  test('keeps a session usable after an error, and fails what follows in the transaction until ROLLBACK', async () => {
    const { out, err } = await script(engineer, 'select nope;\nbegin;\nselect 1/0;\nselect 1;\nrollback;\nselect 2;\n', '-v', 'VERBOSITY=sqlstate');
    expect({ out, err }).toEqual({ out: '2\n', err: 'ERROR:  42703\nERROR:  22012\nERROR:  25P02\n' });
  });

  test('shows the position of an error as the server does', async () => {
    const { err } = await through(engineer, '-c', 'select 1 +\n  nope from pg_am');
    expect(err).toBe('ERROR:  column "nope" does not exist\nLINE 2:   nope from pg_am\n          ^\n');
  });

  test('rolls back to a savepoint with ON_ERROR_ROLLBACK', async () => {
    const { out } = await script(engineer, "\\set ON_ERROR_ROLLBACK on\nbegin;\ncreate temp table kept (i int);\nselect 1/0;\ninsert into kept values (5);\ncommit;\nselect i from kept;\n");
    expect(out).toBe('5\n');
  });

  test.each(['\\d', '\\d people', '\\d+ people', '\\d names', '\\dt *.*notes', '\\dt+', '\\df', '\\df+ greet', '\\sf greet', '\\l', '\\dn+', '\\du', '\\dp', '\\di', '\\dv', '\\dT+ mood', '\\sv names', '\\dx', '\\db', '\\dc', '\\do', '\\det', '\\drds', '\\dRp'])('%s says the same with the gateway as without, in a session with masks too', async (command) => {
    const direct = await runClient(psql, ['-X', '-c', command, `host=${world.postgres.socketDirectory} port=${world.postgres.port} user=postgres dbname=postgres`], libpqEnv(''));
    const [plain, masked] = await Promise.all([through(engineer, '-c', command), through(analyst, '-c', command)]);
    expect(plain).toEqual(direct);
    expect(masked).toEqual(direct);
  });

  test('masks in the masked session what it does not mask in the other', async () => {
    const [plain, masked] = await Promise.all([script(engineer, 'select ssn from people order by id;'), script(analyst, 'select ssn from people order by id;')]);
    expect([plain.out, masked.out]).toEqual(['536-22-7841\n\n219-09-9999\n', '***-**-7841\n\n***-**-9999\n']);
  });

  test('\\copy takes rows out and in, with tabs, newlines and quotes in them', async () => {
    const [text, csv] = [join(directory, 'people.txt'), join(directory, 'people.csv')];
    const ran = await script(engineer, `\\copy people to '${text}'\n\\copy people to '${csv}' (format csv, header)\n\\copy copied from '${text}'\ntable copied except table people;\nselect count(*) from copied;\ntruncate copied;\n\\copy copied from '${csv}' (format csv, header)\ntable copied except table people;\nselect count(*) from copied;\n`);
    expect(ran).toEqual({ code: 0, out: '3\n3\n', err: '' });
    expect(readFileSync(text, 'utf8').split('\n').length).toBe(4);
  });

  test('\\copy out of a masked session is masked, and \\copy into it arrives', async () => {
    const [out, back] = [join(directory, 'masked.csv'), join(directory, 'new.csv')];
    writeFileSync(back, 'from the masked session\n"two\nlines"\n');
    expect(await script(analyst, `\\copy people (name, ssn) to '${out}' csv\n\\copy audit.notes from '${back}' csv\nselect count(*) from audit.notes;\n`)).toEqual({ code: 0, out: '2\n', err: '' });
    expect(readFileSync(out, 'utf8')).toBe('Alice,***-**-7841\n"Bo\tb\nJr",\n"Caròl ""C""",***-**-9999\n');
  });

  test('a COPY that fails in the middle is an error, and the session goes on', async () => {
    const bad = join(directory, 'bad.csv');
    writeFileSync(bad, Array.from({ length: 20_000 }, (_, index) => (index === 9_000 ? 'nine,thousand' : `${index + 100},name ${index}`)).join('\n'));
    const { out, err } = await script(engineer, `\\copy copied (id, name) from '${bad}' csv\nselect count(*) from copied where id >= 100;\n`);
    expect({ out, err: err.split('\n')[0] }).toEqual({ out: '0\n', err: 'ERROR:  invalid input syntax for type integer: "nine"' });
  });

  test('a COPY from standard input that runs in a script leaves the statements behind it in order', async () => {
    expect(await script(engineer, 'create temp table t (a int, b text);\ncopy t from stdin;\n1\tone\n2\ttwo\n\\.\nselect sum(a), string_agg(b, \'+\' order by a) from t;\ncopy t to stdout;\n')).toEqual({ code: 0, out: '3|one+two\n1\tone\n2\ttwo\n', err: '' });
  });

  test('an error stops a script with ON_ERROR_STOP and the exit status says so', async () => {
    expect(await script(engineer, 'select 1;\nselect 1/0;\nselect 2;\n', '-v', 'ON_ERROR_STOP=1')).toMatchObject({ code: 3, out: '1\n' });
  });

  test('shows notices at once', async () => {
    const { err } = await through(engineer, '-c', "do $$ begin raise notice 'seen'; raise warning 'and this'; end $$");
    expect(err).toBe('NOTICE:  seen\nWARNING:  and this\n');
  });
});

whenHere('Ctrl-C in psql', () => {
  test('stops pg_sleep, and the session goes on', async () => {
    const session = openPsql(engineer);
    session.say('select pg_sleep(60);');
    await eventually('it sleeps', () => serverStatements(world.postgres).includes('select pg_sleep(60);'));
    session.child.stdin?.write(ctrlC);
    await session.until(/ERROR: {2}57014: canceling statement due to user request/);
    session.say("select 'af' || 'ter';");
    await session.until(/after/);
    session.say('\\q');
    expect((await session.end()).code).toBe(0);
  });

  test('stops a COPY that is on its way out, and the session goes on', async () => {
    const session = openPsql(engineer);
    session.say("\\copy (select repeat('x', 1000) from generate_series(1, 100000000)) to '/dev/null'");
    await eventually(`the COPY has started: ${session.text()}`, () => serverStatements(world.postgres).some((text) => /^COPY .*generate_series \( 1, 100000000 \)/.test(text)));
    session.child.stdin?.write(ctrlC);
    await session.until(/57014/);
    session.say("select 'af' || 'ter';");
    await session.until(/after/);
    session.say('\\q');
    await session.end();
  });
});

whenHere('a session that ends badly', () => {
  test('psql killed in the middle of a statement leaves nothing running on the server', async () => {
    const session = startClient(psql, ['-X', '-q', '-At', conninfo(world)], libpqEnv(engineer));
    session.say("begin; insert into audit.notes values ('never'); select 'here'; select pg_sleep(60), 'marker-of-the-killed';");
    await session.until(/here/);
    session.child.kill('SIGKILL');
    await session.ended;
    const direct = await connectDirect(world.postgres);
    const running = async (): Promise<number> => (await direct.query("select 1 from pg_stat_activity where query like '%marker-of-the-killed%' and state <> 'idle' and pid <> pg_backend_pid()")).rows.length;
    await eventually('nothing of it runs', async () => (await running()) === 0);
    expect((await direct.query("select 1 from audit.notes where note = 'never'")).rows).toEqual([]);
    await direct.end();
  });

  test('the server sees statements of the gateway under the name of the session and the person', () => {
    expect(serverStatements(world.postgres)).toContain("select id from people where name = 'Alice';");
    expect(world.postgres.log()).toMatch(/ sallyport\/[0-9A-Z]{26}\/oidc:engineer@bank\.example LOG: /);
  });
});
