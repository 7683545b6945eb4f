import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../../tools/e2e-assets.ts';
import { connectDirect, decide, endClients, eventually, startClient } from '../../hosts/clients.ts';
import { allowEverything, startWorld, type World } from '../../hosts/gateway.ts';

const jar = findAsset('pgjdbc')?.path ?? '';
const source = fileURLToPath(new URL('./PgjdbcChecks.java', import.meta.url));
let world: World;
const outcomes = new Map<string, string>();

const policies = `${allowEverything}---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: holds}
spec:
  subjects: [{kind: Group, name: sre}]
  targets: {names: [db]}
  rules:
  - {name: held, action: RequireApproval, postgres: {statements: [Update], tables: [public.held]}, approval: {groups: [dba], required: 1, decideWithin: 10m}}
  - {name: kept, action: Deny, postgres: {statements: [Delete], tables: [public.kept]}}
---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: masked}
spec:
  subjects: [{kind: Group, name: analysts}]
  targets: {names: [db]}
  rules: [{name: all, action: Allow, postgres: {statements: [Select]}}]
  masking:
  - {columns: [public.people.ssn], style: Partial, keepLast: 4}
  - {columns: [public.people.salary, public.people.born], style: Redact}
`;

const clients = [
  { id: 'engineer', secret: 'e', claims: { email: 'engineer@bank.example', groups: ['sre'] } }, { id: 'analyst', secret: 'a', claims: { email: 'analyst@bank.example', groups: ['analysts'] } },
  { id: 'approver', secret: 'd', claims: { email: 'approver@bank.example', groups: ['dba'] } },
];

interface Request {
  readonly name: string;
  readonly phase: string;
}

const whenHere = jar ? describe : describe.skip;

whenHere('pgjdbc through the gateway', () => {
  beforeAll(async () => {
    world = await startWorld({
      policies, clients,
      prepare: async (postgres) => {
        const direct = await connectDirect(postgres);
        await direct.query("create table held (id int, note text); insert into held values (1, null); create table kept (i int); create table people (id int, name text, ssn text, salary int, born date); insert into people values (1, 'Alice', '536-22-7841', 90000, '1980-05-06'), (2, 'Bob', null, 80000, null)");
        await direct.end();
      },
    });
    const [engineer, analyst, approver] = await Promise.all(['engineer', 'analyst', 'approver'].map((id) => world.token(id)));
    const env = { ...process.env, URL: `jdbc:postgresql://localhost:${world.port}/postgres?sslmode=verify-full&sslrootcert=${world.caFile}`, TOKEN: engineer, ANALYST: analyst };
    const java = startClient('java', ['-cp', jar, source], env);
    await decideWhenAsked(approver ?? '', java.ended).catch((error: unknown) => { throw new Error(`it said: ${java.text()}`, { cause: error }); });
    const ran = await java.ended;
    if (ran.code !== 0) throw new Error(ran.err);
    for (const line of ran.out.split('\n')) outcomes.set(line.split('\t')[0] ?? '', line.split('\t')[1] ?? '');
  }, 120_000);

  afterAll(async () => {
    endClients();
    await world[Symbol.asyncDispose]();
  });

  /** The first request is approved, the second denied: pgjdbc shows a notice only when the statement has ended. */
  async function decideWhenAsked(approver: string, ended: Promise<unknown>): Promise<void> {
    let over = false;
    void ended.then(() => { over = true; });
    for (const decision of ['approve', 'deny'] as const) {
      const request = await eventually('a request, or the end', async () => {
        const { requests } = (await (await fetch(`${world.gateway.httpUrl}/v1/requests`, { headers: { authorization: `Bearer ${approver}` } })).json()) as { requests: readonly Request[] };
        return over ? { name: '' } : requests.find((one) => one.phase === 'Pending');
      }, 60_000);
      if (request.name !== '') await decide(world, approver, request.name, decision, 'said the test');
    }
  }

  test.each([
    ['parameters', '[]'],
    ['serverPrepare', '380 true 1'],
    ['simpleMode', "a'b\\x"],
    ['fetchSize', '1050 551775'],
    ['batches', '[2000, 2000, 2000, 2000, 23505 0, 2000]'],
    ['generatedKeys', '1'],
    ['copyBothWays', '20000 20000 true 22P02 20000'],
    ['errorInTransaction', '22012 25P02 42501 25P02 3'],
    ['autosave', '22012 2'],
    ['cancel', '57014 true 1'],
    ['queryTimeout', '57014 1'],
    ['metadata', '[id:int4, name:text, ssn:text, salary:int4, born:date] me true'],
    ['notices', 'seen'],
    ['held', '[1, 42501]'],
    ['masked', '[Alice/***-**-7841/0/1970-01-01, Bob/null/0/null, Alice/***-**-7841/0/1970-01-01, Bob/null/0/null]'],
    ['withoutTls', '28000'],
    ['channelBinding', '08004'],
  ])('%s', (name, expected) => {
    expect(outcomes.get(name)).toBe(expected);
  });

  test('an approved statement has run and a denied one has not', async () => {
    const direct = await connectDirect(world.postgres);
    const { rows } = await direct.query('select note from held');
    await direct.end();
    expect(rows).toEqual([{ note: 'approved' }]);
  });
});
