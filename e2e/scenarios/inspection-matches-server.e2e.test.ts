import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { parse as parseYaml } from 'yaml';
import { createSqlParser } from '../../sidecar/adapters/sql-parser.ts';
import type { SqlParser } from '../../sidecar/core/ports.ts';
import { inspectQuery } from '../../sidecar/core/sql/inspect-query.ts';
import { vectorScope } from '../../sidecar/core/sql/testdata/vector-scope.ts';
import type { InspectedQuery, StatementFacts } from '../../sidecar/core/sql/statement-facts.ts';
import { type PostgresHost, startPostgres } from '../hosts/postgres.ts';

/**
 * The inspection vectors, run on a real server: whatever the server did to a table must be covered by a pair that a policy could have matched,
 * and both must agree on what is SQL at all.
 */

const directory = new URL('../../sidecar/core/sql/testdata/', import.meta.url);
const corpus: readonly string[] = readdirSync(directory).filter((name) => name.endsWith('.yaml')).sort()
  .flatMap((name) => (parseYaml(readFileSync(new URL(name, directory), 'utf8')) as readonly { readonly sql: string }[]).map(({ sql }) => sql));

let server: PostgresHost;
let client: pg.Client;
let parser: SqlParser & AsyncDisposable;

beforeAll(async () => {
  server = await startPostgres();
  parser = await createSqlParser();
  client = new pg.Client({ host: server.host, port: server.port, user: server.owner, password: server.password, database: 'postgres' });
  await client.connect();
  await client.query(vectorSchema);
}, 60_000);

afterAll(async () => {
  await client.end();
  await parser[Symbol.asyncDispose]();
  await server.stop();
});

test('whatever the server read, wrote, emptied or dropped is covered by a pair', async () => {
  const uncovered: string[] = [];
  let executed = 0;
  let touched = 0;
  for (const sql of corpus) {
    const inspected = await inspect(sql);
    if (inspected.outcome !== 'read' || inspected.statements.some(isOutOfReach)) continue;
    const done = await runAndRollBack(sql);
    if (done === null) continue;
    executed += 1;
    for (const { use, relation } of done) {
      touched += 1;
      if (!inspected.statements.some((facts) => covers(facts, use, relation))) uncovered.push(`${use} ${relation}: ${sql}`);
    }
  }
  expect(uncovered).toEqual([]);
  // Most of the corpus must really have run, or the comparison says nothing.
  expect(executed).toBeGreaterThan(200);
  expect(touched).toBeGreaterThan(150);
}, 120_000);

test('the command tags of the server are those of the statements that were read', async () => {
  const wrong: string[] = [];
  let compared = 0;
  for (const sql of corpus) {
    const inspected = await inspect(sql);
    if (inspected.outcome !== 'read' || inspected.statements.some(isOutOfReach) || inspected.statements.some(({ effect }) => effect?.kind === 'transaction')) continue;
    const tags = await tagsOf(sql);
    if (tags === null) continue;
    compared += 1;
    const expected = inspected.statements.map(({ kind }) => tagPatterns[kind] ?? /./);
    const agree = tags.length === expected.length && tags.every((tag, index) => expected[index]?.test(tag) === true);
    if (!agree) wrong.push(`${tags.join('; ')}: ${sql}`);
  }
  expect(wrong).toEqual([]);
  expect(compared).toBeGreaterThan(200);
}, 120_000);

test('what does not parse here is a syntax error there, and the other way round', async () => {
  const differing: string[] = [];
  for (const sql of corpus) {
    const inspected = await inspect(sql);
    if (inspected.outcome === 'read' && inspected.statements.some(isOutOfReach)) continue;
    const code = await errorOf(sql);
    const isSyntaxError = code === '42601' && inspected.outcome === 'read' ? !semanticSyntaxErrors.some((pattern) => pattern.test(sql)) : code === '42601';
    if ((inspected.outcome === 'unreadable') !== isSyntaxError) differing.push(`${code ?? 'no error'}: ${sql}`);
  }
  expect(differing).toEqual([]);
}, 120_000);

/** What would leave the database, end the session or wait. */
function isOutOfReach(facts: StatementFacts): boolean {
  if (facts.effect?.kind === 'transaction' || facts.effect?.kind === 'discard') return true;
  return facts.pairs.some(({ class: pairClass }) => ['ServerFile', 'System', 'Extension', 'TwoPhase', 'SetRole'].includes(pairClass)) || facts.calls.some((call) => /pg_(sleep|terminate|reload)/.test(call));
}

interface Done {
  readonly use: 'read' | 'inserted' | 'updated' | 'deleted' | 'emptied' | 'dropped';
  readonly relation: string;
}

/** Runs in a transaction that is rolled back; null when the server refused. Rows are counted by the server's own transaction statistics. */
async function runAndRollBack(sql: string): Promise<readonly Done[] | null> {
  await client.query('begin');
  try {
    await client.query(`${setting}; declare c cursor for select * from orders for update; fetch c`);
    const before = await snapshot();
    await client.query(sql);
    const after = await snapshot();
    return [...before].flatMap(([relation, old]): readonly Done[] => {
      const now = after.get(relation);
      if (now === undefined) return [{ use: 'dropped', relation }];
      const grown = (['read', 'inserted', 'updated', 'deleted'] as const).filter((use) => now[use] > old[use]).map((use) => ({ use, relation }));
      return now.file === old.file ? grown : [...grown, { use: 'emptied' as const, relation }];
    });
  } catch {
    return null;
  } finally {
    // Prepared statements outlive the transaction, and EXECUTE is judged as the statement it names.
    await client.query('rollback; deallocate all');
  }
}

const setting = 'set local search_path = app, public; set local statement_timeout = 3000';

async function snapshot(): Promise<ReadonlyMap<string, { readonly file: string; readonly read: number; readonly inserted: number; readonly updated: number; readonly deleted: number }>> {
  const { rows } = await client.query<{ name: string; file: string; read: string; inserted: string; updated: string; deleted: string }>(`
    select n.nspname || '.' || c.relname as name, pg_catalog.pg_relation_filenode(c.oid)::text as file,
      coalesce(s.seq_scan, 0) + coalesce(s.idx_scan, 0) as read, coalesce(s.n_tup_ins, 0) as inserted, coalesce(s.n_tup_upd, 0) as updated, coalesce(s.n_tup_del, 0) as deleted
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace left join pg_catalog.pg_stat_xact_user_tables s on s.relid = c.oid
    where n.nspname in ('app', 'public', 'audit') and c.relkind in ('r', 'p', 'v', 'm')`);
  return new Map(rows.map((row) => [row.name, { file: row.file, read: Number(row.read), inserted: Number(row.inserted), updated: Number(row.updated), deleted: Number(row.deleted) }]));
}

const coveringClasses: Readonly<Record<Done['use'], readonly string[]>> = {
  read: ['Select', 'Update', 'Delete', 'Merge', 'Insert', 'CopyOut', 'Lock', 'Create', 'Alter', 'Maintenance', 'Truncate', 'Drop'],
  inserted: ['Insert', 'CopyIn', 'Create', 'Merge', 'Maintenance'], updated: ['Update'], deleted: ['Delete'], emptied: ['Truncate', 'Maintenance', 'Alter'], dropped: ['Drop', 'Alter'],
};

/** Names under which a relation's rows are reached: its parents and children, and the view over orders. */
const reachedBy: Readonly<Record<string, readonly string[]>> = {
  'app.orders': ['app.order_view', 'app.order_totals'], 'app.events_2026': ['app.events'], 'app.events_2026_01': ['app.events', 'app.events_2026'], 'app.child': ['app.base'],
};

function covers(facts: StatementFacts, use: Done['use'], relation: string): boolean {
  // A relation named in a string argument: the call itself is the pair.
  if (facts.calls.some((call) => /_to_xml$/.test(call))) return true;
  const names = [relation, ...(reachedBy[relation] ?? [])];
  return facts.pairs.some(({ class: pairClass, object }) => coveringClasses[use].includes(pairClass) && (object === '*' || (object !== null && names.includes(`${object.schema}.${object.name}`))));
}

const tagPatterns: Readonly<Record<string, RegExp>> = {
  Select: /^(SELECT|PREPARE|DECLARE|FETCH|MOVE|EXECUTE)/, Insert: /^(INSERT|PREPARE)/, Update: /^(UPDATE|PREPARE)/, Delete: /^(DELETE|PREPARE)/, Merge: /^MERGE/, CopyOut: /^COPY/, CopyIn: /^COPY/,
  Explain: /^EXPLAIN/, Call: /^CALL/, Do: /^DO/, Truncate: /^TRUNCATE/, Create: /^(CREATE|SELECT)/, Alter: /^(ALTER|REASSIGN)/, Drop: /^DROP/, Comment: /^(COMMENT|SECURITY)/,
  Function: /^(CREATE|ALTER|DROP) (FUNCTION|PROCEDURE|AGGREGATE|OPERATOR|CAST|TRIGGER|EVENT|RULE|LANGUAGE|CONVERSION|TRANSFORM)|^(CREATE|ALTER|DROP)$/, Grant: /^(GRANT|REVOKE|ALTER)/,
  Role: /ROLE|^(CREATE|ALTER|DROP)$/, Maintenance: /^(VACUUM|ANALYZE|REINDEX|CLUSTER|REFRESH|CHECKPOINT)/, Lock: /^LOCK/, Notify: /^(NOTIFY|LISTEN|UNLISTEN)/, Set: /^(SET|RESET|DISCARD)/, Show: /^SHOW/,
  Transaction: /^(SET|DEALLOCATE|CLOSE)/,
};

/** Command words per statement, null when the server refused. */
async function tagsOf(sql: string): Promise<readonly string[] | null> {
  await client.query('begin');
  try {
    await client.query(`${setting}; prepare p as select 1; declare c cursor for select * from orders for update; fetch c`);
    const results = (await client.query(sql)) as unknown as pg.QueryResult | readonly pg.QueryResult[];
    const list = Array.isArray(results) ? (results as readonly pg.QueryResult[]) : [results as pg.QueryResult];
    // An empty query has no command.
    return list.map(({ command }) => command).filter((command) => typeof command === 'string' && command !== '');
  } catch {
    return null;
  } finally {
    await client.query('rollback; deallocate all');
  }
}

async function errorOf(sql: string): Promise<string | null> {
  await client.query(`begin; ${setting}`);
  try {
    await client.query(sql);
    return null;
  } catch (error) {
    return (error as { readonly code?: string }).code ?? 'unknown';
  } finally {
    await client.query('rollback; deallocate all');
  }
}

/** Texts that parse, and that the server refuses later with the code of a syntax error. */
const semanticSyntaxErrors: readonly RegExp[] = [/plpgsql|^do /i, /explain \(analyze wrong\)/, /union all/];

function inspect(sql: string): Promise<InspectedQuery> {
  return Promise.resolve(parser.parse(sql)).then((parsed) => inspectQuery(sql, parsed, vectorScope(), { parser, masking: null, detect: null }));
}

/** The tables and functions that vector-scope.ts describes. */
const vectorSchema = `
  create schema app; create schema audit;
  create table app.orders (id int primary key, customer int, total numeric, note text);
  create table app.customers (id int, name text, ssn text);
  create table app.events (id int, at timestamptz) partition by range (id);
  create table app.events_2026 partition of app.events for values from (0) to (100) partition by range (id);
  create table app.events_2026_01 partition of app.events_2026 for values from (0) to (100);
  create table app.base (id int); create table app.child (extra int) inherits (app.base);
  create view app.order_view as select id, total from app.orders;
  create sequence app.orders_id_seq;
  create materialized view app.order_totals as select id, total from app.orders;
  create table public.accounts (id int, balance int); create table public.orders (id int);
  create table audit.trail (id int, line text);
  create function app.wipe() returns int language plpgsql as 'begin return 1; end';
  create function public.total(int) returns int language sql as 'select 1';
  create function public.total(app.customers) returns int language sql as 'select 1';
  create function public.lower(text) returns text language sql as 'select $1';
  create function public.tick(int) returns int language plpgsql as 'begin return 1; end';
  create procedure app.archive() language plpgsql as 'begin null; end';
  create procedure app.archive(int) language plpgsql as 'begin null; end';
  create domain app.positive as int check (value > 0); create type app.status as enum ('new');
  insert into app.orders select i, i, i, 'x' from generate_series(1, 5) i; insert into app.customers select i, 'n', 's' from generate_series(1, 5) i;
  insert into app.events select i, now() from generate_series(1, 5) i; insert into app.child values (1, 1), (2, 2); insert into app.base values (3);
  insert into public.accounts values (1, 1); insert into public.orders values (1); insert into audit.trail values (1, 'x');
  create role bob; create role alice; create role admin;
  create rule keep as on insert to public.accounts where false do also nothing`;
