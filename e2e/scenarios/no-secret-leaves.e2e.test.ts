import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { connectDirect, eventually } from '../hosts/clients.ts';
import { readDataDirectory, startWorld, type World } from '../hosts/gateway.ts';
import { answer, endRequest, nextRequest, tokenOf } from '../hosts/people.ts';
import { policyFile, putConfig, usualStatements } from '../hosts/policy-files.ts';
import { sallyport } from '../hosts/sallyport.ts';
import { refusedLogin, watchedSession } from '../hosts/session-watch.ts';
import { message, openRaw } from '../leaks/raw-client.ts';

/** Values that must be nowhere but on the target; the keys say how they were sent. */
const canaries: Record<string, string> = {
  'target password': 'zebra-target-4c1d', 'row of a masked column': 'zebra-row-7f3k', 'second row of a masked column': 'zebra-second-2b9x', 'regulated value in a row': '536-22-7841',
  'parameter compared with a masked column': 'zebra-compared-8w2m', 'parameter put into a masked column': 'zebra-inserted-5t6y', 'row copied into a masked column': 'zebra-copied-3n4p',
  'regulated literal': '602-31-4492', 'regulated literal in a text that does not parse': '691-08-3357', 'regulated literal of EXECUTE': '219-09-9998', 'password in a statement': 'zebra-role-9q8r',
  'regulated literal of a held statement': '457-55-5462', 'parameter of a held statement': 'zebra-held-6v7c', 'password that is no token': 'zebra-guess-1a2b',
};
const policies = (change: object = {}): string => policyFile({
  rules: [
    { name: 'usual', action: 'Allow', postgres: { statements: [...usualStatements.filter((name) => name !== 'Delete'), 'Role'] } },
    { name: 'deletes', action: 'RequireApproval', postgres: { statements: ['Delete'] }, approval: { groups: ['dba'], decideWithin: '10m' } },
    { name: 'no-truncate', action: 'Deny', postgres: { statements: ['Truncate'] } },
  ],
  masking: [{ columns: ['public.people.secret'], style: 'Redact', predicates: 'Equality' }, { columns: ['public.people.ssn'], style: 'Partial', keepLast: 4 }, { detectors: ['us-ssn'], style: 'Redact' }],
  ...change,
});

const heapDirectory = mkdtempSync(join(tmpdir(), 'sallyport-heap-'));
const answers: string[] = [];
const tokens: Record<string, string> = {};
let world: World;
let texts: Readonly<Record<string, string>> = {};
let labels: readonly string[];

beforeAll(async () => {
  const program = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
  world = await startWorld({
    policies: policies(), auditToStdout: true, account: { username: 'gateway', password: canaries['target password'] ?? '' },
    command: [process.execPath, '--disable-warning=ExperimentalWarning', '--heapsnapshot-signal=SIGUSR2', `--diagnostic-dir=${heapDirectory}`, program],
    prepare: async (postgres) => {
      const client = await connectDirect(postgres);
      await client.query(`create role gateway login superuser password '${canaries['target password']}'`);
      await client.query('create table people (id int, secret text unique, ssn text)');
      await client.query('insert into people values (1, $1, $2), (2, $3, null)', [canaries['row of a masked column'], canaries['regulated value in a row'], canaries['second row of a masked column']]);
      await client.end();
    },
  });
  await liveThroughEverything();
  texts = { ...texts, stdout: world.gateway.stdout(), stderr: world.gateway.stderr(), 'data directory': await readDataDirectory(world.dataDirectory), answers: answers.join('\n') };
}, 120_000);
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  rmSync(heapDirectory, { recursive: true, force: true });
});

/** Logins good and bad, statements of every fate, holds, limits, COPY, errors with values, a revocation, a crash, and every command that reads the records. */
async function liveThroughEverything(): Promise<void> {
  Object.assign(tokens, {
    engineer: await world.token('engineer'), approver: await world.token('approver'), expired: await world.issuer.sign({ sub: 'old', email: 'old@bank.example', groups: ['sre'] }, { expiresInSeconds: -120 }),
    forged: `${(await tokenOf(world, 'mallory', ['sre'])).slice(0, -8)}AAAAAAAA`, stranger: await tokenOf(world, 'eve', ['guests']),
  });
  for (const password of [tokens['expired'], tokens['forged'], tokens['stranger'], canaries['password that is no token']]) answers.push(JSON.stringify(await refusedLogin(world, password ?? '')));
  // A token where it does not belong.
  answers.push(JSON.stringify(await refusedLogin(world, tokens['engineer'] ?? '', { user: tokens['engineer'] ?? '' })), JSON.stringify(await refusedLogin(world, tokens['engineer'] ?? '', { database: tokens['stranger'] ?? '' })));
  await statementsOfEveryFate();
  await holdsOfEveryFate();
  await httpOfEveryKind();
  await putConfig(world, 'policy.yaml', policies({ limits: { rowsPerStatement: 1 } }));
  const last = await watchedSession(world, tokens['engineer'] ?? '');
  answers.push(JSON.stringify(await last.run('select * from people')));
  await putConfig(world, 'policy.yaml', null);
  answers.push(JSON.stringify((await last.ended).error));
  await heapSnapshot();
  const before = world.gateway;
  await before.kill();
  texts = { ...texts, 'stdout before the crash': before.stdout(), 'stderr before the crash': before.stderr() };
  await world.restart();
  const { dataDirectory: data } = world;
  const sessions = await sallyport(['sessions', '--data', data, '--json']);
  const names = [...sessions.text.matchAll(/"session": "([0-9A-Z]{26})"/g)].map((match) => match[1] ?? '');
  expect(names.length).toBeGreaterThan(3);
  answers.push(sessions.text, (await sallyport(['audit', 'verify', '--data', data, '--json'])).text);
  for (const name of names) answers.push((await sallyport(['replay', name, '--data', data, '--text'])).text);
  const day = (offset: number): string => new Date(Date.now() + offset * 86_400_000).toISOString().slice(0, 10);
  const pack = join(heapDirectory, 'pack');
  mkdirSync(pack);
  answers.push((await sallyport(['evidence', 'export', '--from', day(-1), '--to', day(2), '--data', data, '--out', join(pack, 'pack.zip')])).text);
}

async function statementsOfEveryFate(): Promise<void> {
  const session = await watchedSession(world, tokens['engineer'] ?? '');
  const c = (name: string): string => canaries[name] ?? '';
  const statements: readonly (string | { readonly text: string; readonly values: readonly string[]; readonly name?: string })[] = [
    'select * from people order by id', `select ssn as "${c('regulated literal')}" from people`, { text: 'select * from people', values: [] }, { name: 'p', text: 'select secret, ssn from people where id = $1', values: ['1'] },
    { text: 'select id from people where secret = $1', values: [c('parameter compared with a masked column')] }, { text: 'insert into people values (3, $1, null)', values: [c('parameter put into a masked column')] },
    `select '${c('regulated literal')}'::text as x`, `selec '${c('regulated literal in a text that does not parse')}'`, 'prepare e as select $1::text as x', `execute e('${c('regulated literal of EXECUTE')}')`,
    `create role helper password '${c('password in a statement')}'`, `alter role helper password '${c('password in a statement')}'`, `comment on table people is '${c('regulated literal')}'`,
    // Errors whose words hold values.
    'insert into people select 9, secret, ssn from people', { text: 'insert into people values (4, $1, null)', values: [c('row of a masked column')] }, `select '${c('regulated literal')}'::int`, 'select secret::int from people', 'truncate people',
    "do $$begin raise notice '%', (select secret from people limit 1); end$$", 'explain analyze select * from people', 'select pg_sleep(0) from people where secret like \'z%\'',
  ];
  for (const statement of statements) answers.push(JSON.stringify(await session.run(statement as string)));
  answers.push(...session.notices);
  await session.client.end();
  const { client } = await openRaw({ port: world.port, ca: world.ca, user: 'me', database: 'postgres', password: tokens['engineer'] ?? '' });
  await client.query('copy (select * from people) to stdout');
  await client.exchangeUntil(write.query('copy people from stdin'), 'G');
  await client.exchange(Buffer.concat([message('d', Buffer.from(`5\t${c('row copied into a masked column')}\t\\N\n`)), message('c', Buffer.alloc(0))]));
  await client.exchange(Buffer.concat([write.parse('', 'select secret from people'), write.bind('', ''), write.execute(''), write.sync()]));
  answers.push(client.received.toString('latin1'));
  await client.close();
}

async function holdsOfEveryFate(): Promise<void> {
  const session = await watchedSession(world, tokens['engineer'] ?? '');
  const known = new Set<string>();
  const next = (): Promise<string> => nextRequest(world, tokens['approver'] ?? '', known);
  const show = async (request: string): Promise<void> => {
    const headers = { authorization: `Bearer ${tokens['approver']}` };
    answers.push(await (await fetch(`${world.gateway.httpUrl}/v1/requests/${request}`, { headers })).text(), (await sallyport(['requests', request, '--gateway', world.gateway.httpUrl], { SALLYPORT_TOKEN: tokens['approver'] })).text);
  };
  const literal = session.run(`delete from people where id = 77 and '${canaries['regulated literal of a held statement']}' = 'x'`);
  const first = await next();
  await show(first);
  answers.push(await answer(world, tokens['approver'] ?? '', first, 'approve'), JSON.stringify(await literal));
  const parameter = session.run({ text: 'delete from people where secret = $1', values: [canaries['parameter of a held statement']] });
  const second = await next();
  await show(second);
  answers.push(await answer(world, tokens['engineer'] ?? '', second, 'approve'), await answer(world, tokens['approver'] ?? '', second, 'deny'), JSON.stringify(await parameter));
  const withdrawn = session.run('delete from people');
  answers.push(await endRequest(world, tokens['engineer'] ?? '', await next()), JSON.stringify(await withdrawn), ...session.notices);
  await session.client.end();
}

async function httpOfEveryKind(): Promise<void> {
  const get = async (path: string, token?: string): Promise<void> => {
    const response = await fetch(`${world.gateway.httpUrl}${path}`, { headers: token === undefined ? {} : { authorization: `Bearer ${token}` } });
    answers.push(JSON.stringify([...response.headers]), await response.text());
  };
  for (const path of ['/healthz', '/readyz', '/metrics', '/v1/requests', '/v1/sessions']) for (const token of [undefined, tokens['engineer'], tokens['approver'], tokens['expired'], tokens['forged']]) await get(path, token);
  await get(`/v1/requests/${tokens['engineer']}`, tokens['approver']);
  await get(`/v1/requests?token=${tokens['engineer']}`, tokens['approver']);
  const metrics = await (await fetch(`${world.gateway.httpUrl}/metrics`)).text();
  labels = [...metrics.matchAll(/^sallyport_\w+\{(.*)\} /gm)].flatMap((match) => (match[1] ?? '').split(','));
}

/** Of the running process, some seconds after the logins. */
async function heapSnapshot(): Promise<void> {
  world.gateway.child.kill('SIGUSR2');
  const file = await eventually('the heap snapshot is written', () => {
    const name = readdirSync(heapDirectory).find((one) => one.endsWith('.heapsnapshot'));
    const path = name === undefined ? null : join(heapDirectory, name);
    return path !== null && readFileSync(path).subarray(-200).includes('}') ? path : null;
  }, 60_000);
  texts = { ...texts, heap: readFileSync(file, 'latin1') };
}

describe('in no log, record, recording, request file, answer or metric', () => {
  // Memory is left out: the credential is needed there, and texts of statements are remembered with what they were found to be.
  test.each(Object.entries(canaries))('stands the %s', (_what, canary) => {
    expect(Object.entries(texts).filter(([name, text]) => name !== 'heap' && holds(text, canary)).map(([name]) => name)).toEqual([]);
  });

  test.each(['engineer', 'approver', 'expired', 'forged', 'stranger'])('and not in the memory of the process either, stands the token of %s, whole or its parts', (who) => {
    const [, payload = '', signature = ''] = (tokens[who] ?? '').split('.');
    for (const part of [payload, signature]) {
      expect(part.length).toBeGreaterThan(40);
      expect(Object.entries(texts).filter(([, text]) => text.includes(part)).map(([name]) => name)).toEqual([]);
    }
  });
});

test('what may be seen is there, so the search would have found the rest', () => {
  const expected = { heap: 'no-truncate', 'stdout before the crash': 'public.people', 'stderr before the crash': 'session opened', stdout: 'log.recovered', stderr: 'config in force', 'data directory': 'create role helper', answers: '***-**-7841' };
  expect(Object.entries(texts).map(([name, text]) => [name, holds(text, expected[name as keyof typeof expected])])).toEqual(Object.keys(expected).map((name) => [name, true]));
});

test('no metric label takes a user, a session, a target or a text: every one is of a closed set', () => {
  expect([...new Set(labels.map((label) => label.replace(/=.*/, '')))].sort()).toEqual(['code', 'decision', 'outcome', 'protocol', 'reason']);
  expect(labels.filter((label) => !/^[a-z]+="[A-Za-z_]{2,40}"$/.test(label))).toEqual([]);
});

/** Plain, and as base64, hex or a JavaScript buffer would hold it. */
function holds(text: string, value: string): boolean {
  const bytes = Buffer.from(value);
  const base64 = [0, 1, 2].map((shift) => Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64').slice(shift === 0 ? 0 : shift + 1, -4));
  return [value, bytes.toString('hex'), bytes.toJSON().data.join(','), value.split('').reverse().join(''), ...base64].some((form) => text.includes(form));
}
