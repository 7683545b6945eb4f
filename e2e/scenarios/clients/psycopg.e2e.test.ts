import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findAsset } from '../../../tools/e2e-assets.ts';
import { connectDirect, conninfo, endClients, libpqEnv, runClient } from '../../hosts/clients.ts';
import { allowEverything, startWorld, type World } from '../../hosts/gateway.ts';

const python = findAsset('psycopg')?.path ?? '';
const script = fileURLToPath(new URL('./psycopg_checks.py', import.meta.url));
let world: World;
let outcomes: Readonly<Record<string, unknown>> = {};

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
  rules: [{name: all, action: Allow, postgres: {statements: [Select, CopyOut]}}]
  masking: [{columns: [public.people.ssn], style: Partial, keepLast: 4}]
`;

const clients = [
  { id: 'engineer', secret: 'e', claims: { email: 'engineer@bank.example', groups: ['sre'] } }, { id: 'analyst', secret: 'a', claims: { email: 'analyst@bank.example', groups: ['analysts'] } },
  { id: 'approver', secret: 'd', claims: { email: 'approver@bank.example', groups: ['dba'] } },
];

const whenHere = python ? describe : describe.skip;

whenHere('psycopg 3 through the gateway', () => {
  beforeAll(async () => {
    world = await startWorld({
      policies, clients,
      prepare: async (postgres) => {
        const direct = await connectDirect(postgres);
        await direct.query("create table held (id int, note text); insert into held values (1, null); create table kept (i int); create table people (id int, name text, ssn text); insert into people values (1, 'Alice', '536-22-7841'), (2, 'Bob', null)");
        await direct.end();
      },
    });
    const [engineer, analyst, approver] = await Promise.all(['engineer', 'analyst', 'approver'].map((id) => world.token(id)));
    const ran = await runClient(python, [script], libpqEnv(engineer ?? '', { CONNINFO: conninfo(world), GATEWAY: world.gateway.httpUrl, APPROVER: approver ?? '', ANALYST: analyst ?? '' }));
    if (ran.code !== 0) throw new Error(ran.err);
    outcomes = JSON.parse(ran.out) as Readonly<Record<string, unknown>>;
    console.log(`psycopg with libpq ${JSON.stringify(outcomes['versions'])}`);
  }, 120_000);

  afterAll(async () => {
    endClients();
    await world[Symbol.asyncDispose]();
  });

  /** SQLSTATE of the statement, what the cancel itself says, in time, the next statement. */
  const slept = ['57014', null, true, 1];

  test.each<[string, unknown]>([
    ['versions', { libpq: expect.any(Number), tls: true, server: true }],
    ['protocol_3_2_and_direct_tls', { one: [1], protocol: 30_002 }],
    ['require_auth_password', [1]],
    ['channel_binding_and_scram_are_refused_by_the_client', ['OperationalError', 'OperationalError']],
    ['parameters', []],
    ['prepared_statements', { rows: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], forced: ['0', '1', '2'], prepared: expect.any(Number), again: '26000' }],
    ['executemany_returns_rows', [100, 0, 99, 100]],
    ['pipeline_answers_in_order', true],
    ['error_in_a_pipeline', ['22012', -1, 1, 4]],
    ['denied_in_a_pipeline', ['42501', -1, 4]],
    ['server_side_cursors', [[[1, 'row 1'], [4, 'row 4']], 1001, 50, 500_500]],
    ['streams_rows_in_chunks', [125_250, 12_502_500]],
    ['copy_both_ways', [true, 1_086_670, true]],
    ['copy_given_up_and_copy_wrong', ['given up', '22P02', 0]],
    ['copy_out_cancelled', ['57014', 1]],
    ['errors_in_transactions', ['22012', '25P02', [1, 3]]],
    ['cancel_safe_over_tls', slept],
    ['cancel_with_a_key_of_32_bytes_over_direct_tls', slept],
    ['cancel_in_plain_text', slept],
    ['cancel_in_a_pipeline', ['57014', 1]],
    ['async_tasks_and_their_cancellation', ['cancelled', 1]],
    ['notifications', ['news:heard']],
    ['held_statement_approved', [1, 'update held set note = $1 where id = $2', ['psycopg', '1'], 'psycopg']],
    ['held_statement_denied_and_cancelled', ['42501', '57014', 'psycopg']],
    ['held_in_a_pipeline_runs_in_its_place', ['psycopg', 1, 'in its place']],
    ['held_behind_an_error_in_a_pipeline_never_runs', ['22012', 'in its place']],
    ['masked_columns_in_text_and_binary', [[1, 'Alice', '***-**-7841'], [1, 'Alice', '***-**-7841'], [['***-**-7841'], [null]], [['1', '***-**-7841'], ['2', null]]]],
  ])('%s', (name, expected) => {
    expect(outcomes[name]).toEqual(expected);
  });

  test('no check stands in the script that is not compared here', () => {
    expect(Object.keys(outcomes).length).toBe(27);
  });
});
