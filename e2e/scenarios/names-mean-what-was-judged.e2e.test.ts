import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { startWorld, type World } from '../hosts/gateway.ts';
import { type Frame, openRaw, type RawClient, readFields } from '../leaks/raw-client.ts';

// `t` exists in both schemas; only open.t may be read. Each case tries to have a statement judged as open.t and run on secret.t.
const policies = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: open-only}
spec:
  subjects: [{kind: Group, name: sre}]
  targets: {names: [db]}
  rules:
  - name: open
    action: Allow
    postgres: {statements: [Select, Explain], tables: [open.t, open.v]}
  - name: settings
    action: Allow
    postgres: {statements: [Set, Transaction]}
  masking:
  - {columns: [secret.people.ssn], style: Redact}
`;

let world: World;
let client: RawClient;

async function run(postgres: World['postgres'], sql: string): Promise<void> {
  const owner = new pg.Client({ host: postgres.socketDirectory, port: postgres.port, user: postgres.owner, database: 'postgres' });
  await owner.connect();
  await owner.query(sql);
  await owner.end();
}

const asOwner = (sql: string): Promise<void> => run(world.postgres, sql);

beforeAll(async () => {
  world = await startWorld({
    policies,
    prepare: (postgres) => run(postgres, "create schema open; create schema secret; create table open.t as select 1 as a; create table secret.t as select 42 as a; create table secret.people (ssn text); insert into secret.people values ('536-22-7841'); create view open.v as select 'plain'::text as a"),
  });
}, 60_000);
afterAll(async () => { await world[Symbol.asyncDispose](); });
beforeEach(async () => {
  await client?.close();
  const opened = await openRaw({ port: world.port, ca: world.ca, user: 'me', database: 'postgres', password: await world.token('engineer') });
  client = opened.client as RawClient;
});

const toOpen = write.query("set search_path to 'open'");
const toSecret = write.query("set search_path to 'secret'");
const select = [write.bind('', 's'), write.execute(''), write.sync()];
const preparedSecret = [write.parse('path', "set search_path to 'secret'"), write.sync()];

interface Step {
  readonly send: readonly Buffer[];
  readonly ready: number;
}

/** Sends one chunk per step and gives the values and codes that came back; each step says how many ReadyForQuery end it. */
async function play(...steps: readonly Step[]): Promise<readonly string[]> {
  const seen: string[] = [];
  for (const { send, ready } of steps) {
    let bytes = Buffer.concat(send);
    for (let left = ready; left > 0; left--) {
      const frames: readonly Frame[] = await client.exchangeUntil(bytes, 'Z');
      bytes = Buffer.alloc(0);
      for (const { type, body } of frames) {
        if (type === 'D') seen.push(body.subarray(6).toString());
        if (type === 'E') seen.push(readFields(body).get('C') ?? '');
      }
    }
  }
  return seen;
}

test('the names of the two tables are told apart when the path is plain', async () => {
  expect(await play({ send: [toOpen], ready: 1 }, { send: [write.query('select a from t')], ready: 1 }, { send: [toSecret], ready: 1 }, { send: [write.query('select a from t')], ready: 1 })).toEqual(['1', '42501']);
});

describe('a table that no rule opens is not read', () => {
  test.each<[string, readonly Step[]]>([
    ['by a path set earlier in the same Query', [{ send: [toOpen], ready: 1 }, { send: [write.query("set search_path to 'secret'; select a from t")], ready: 1 }]],
    ['by a path set earlier in the same Query with set_config', [{ send: [toOpen], ready: 1 }, { send: [write.query("select set_config('search_path', 'secret', false); select a from t")], ready: 1 }]],
    ['by a Query behind SET in the same packet', [{ send: [toOpen], ready: 1 }, { send: [toSecret, write.query('select a from t')], ready: 2 }]],
    ['by a pipeline behind SET in the same packet', [{ send: [toOpen], ready: 1 }, { send: [...preparedSecret], ready: 1 }, { send: [write.bind('', 'path'), write.execute(''), write.parse('', 'select a from t'), write.bind('', ''), write.execute(''), write.sync()], ready: 1 }]],
    ['by a statement prepared before the path was set', [{ send: [toOpen], ready: 1 }, { send: [write.parse('s', 'select a from t'), write.sync()], ready: 1 }, { send: [toSecret], ready: 1 }, { send: select, ready: 1 }]],
    ['by a statement prepared before, in one packet with SET', [{ send: [toOpen], ready: 1 }, { send: [write.parse('s', 'select a from t'), write.sync()], ready: 1 }, { send: [toSecret, ...select], ready: 2 }]],
    ['by EXECUTE of a statement prepared before', [{ send: [toOpen], ready: 1 }, { send: [write.query('prepare p as select a from t')], ready: 1 }, { send: [toSecret], ready: 1 }, { send: [write.query('execute p')], ready: 1 }]],
    ['by a portal of EXECUTE that was bound before', [
      { send: [toOpen], ready: 1 }, { send: [write.query('prepare p as select a from t')], ready: 1 }, { send: [write.query('begin')], ready: 1 }, { send: [write.parse('e', 'execute p'), write.bind('portal', 'e'), write.sync()], ready: 1 },
      { send: [toSecret], ready: 1 }, { send: [write.execute('portal'), write.sync()], ready: 1 },
    ]],
    ['after the commit of SET LOCAL', [
      { send: [toSecret], ready: 1 }, { send: [write.query('begin')], ready: 1 }, { send: [write.query("set local search_path to 'open'")], ready: 1 }, { send: [write.query('select a from t')], ready: 1 }, { send: [write.query('commit')], ready: 1 },
      { send: [write.query('select a from t')], ready: 1 },
    ]],
    ['after the rollback of SET', [
      { send: [toSecret], ready: 1 }, { send: [write.query('begin')], ready: 1 }, { send: [toOpen], ready: 1 }, { send: [write.query('rollback; select a from t')], ready: 1 },
    ]],
  ])('%s', async (_how, steps) => {
    const seen = await play(...steps);
    expect([seen.includes('42'), seen.at(-1)]).toEqual([false, expect.stringMatching(/^(42501|0A000|26000)$/)]);
  });
});

test('a prepared statement over a view that another session replaced is masked within seconds', async () => {
  await play({ send: [write.parse('s', 'select a from open.v'), write.sync()], ready: 1 });
  expect(await play({ send: select, ready: 1 })).toEqual(['plain']);
  await asOwner('create or replace view open.v as select ssn as a from secret.people');
  let seen: readonly string[] = [];
  for (const deadline = Date.now() + 6_000; Date.now() < deadline && !seen.includes('********');) seen = await play({ send: select, ready: 1 });
  expect(seen).toEqual(['********']);
});
