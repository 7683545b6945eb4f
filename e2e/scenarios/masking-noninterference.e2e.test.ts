import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { loadModule, parsePlPgSQLSync, parseSync } from 'libpg-query';
import pg from 'pg';
import type { MaskingRule } from '../../contract/proxy-config.ts';
import { judgeMasking, type MaskParse } from '../../sidecar/core/sql/lineage.ts';
import { closeMaskRules } from '../../sidecar/core/sql/mask-closure.ts';
import type { MaskJudgement } from '../../sidecar/core/sql/statement-facts.ts';
import { readCatalog } from '../../sidecar/postgres/catalog.ts';
import { type PostgresHost, startPostgres } from '../hosts/postgres.ts';

const runs = Number(process.env['NONINTERFERENCE_RUNS'] ?? 600);
const masked = ['secret', 'pay', 'born'] as const;
const rules: readonly MaskingRule[] = [{ columns: masked.map((column) => ({ schema: 'public', table: 'person', column })), detectors: null, style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' }];

let host: PostgresHost;
let client: pg.Client;
let judge: (sql: string) => MaskJudgement;

beforeAll(async () => {
  await loadModule();
  host = await startPostgres();
  client = new pg.Client({ host: host.socketDirectory, port: host.port, user: 'postgres', database: 'postgres' });
  await client.connect();
  await client.query(`
    create table person (id int primary key, name text, secret text unique, pay int, born date);
    insert into person values (1, 'Ann', 'S-111', 10, '1980-01-01'), (2, 'Ben', 'S-222', 20, '1990-02-02'), (3, 'Cyd', 'S-333', 30, '2000-03-03');
    create table kid () inherits (person); insert into kid values (4, 'Dee', 'S-444', 15, '1985-05-05');
    create table job (id int, person_id int, title text, pay int); insert into job values (1, 1, 'cook', 10), (2, 2, 'pilot', 20), (3, 3, 'S-333', 99);
    create view person_view as select id, secret as name, pay + 1 as more, name as title from person;
    create view wide as select p.*, j.title from person p join job j on j.person_id = p.id;`);
  const side = async (sql: string) => (await client.query({ text: sql, rowMode: 'array', types: { getTypeParser: () => (value: string) => value } } as pg.QueryArrayConfig)).rows as (string | null)[][];
  const catalog = await readCatalog(side);
  await client.query("set search_path = public; set statement_timeout = '2s'");
  const closure = closeMaskRules(catalog, rules, parse);
  const scope = { catalog, searchPath: ['public'], temporaryRelations: new Set<string>(), database: 'postgres' };
  judge = (sql) => {
    const [statement] = (parse.parseSql(sql) as { stmts: { stmt: unknown }[] } | null)?.stmts ?? [];
    return statement ? judgeMasking(statement.stmt, scope, closure, rules, parse).judgement : { outcome: 'clear' };
  };
}, 60_000);

afterAll(async () => {
  await client?.end();
  await host?.stop();
});

/**
 * What masking promises, without any list of tricks: nothing that leaves depends on the masked values. Each statement that is not refused runs over two sets of
 * masked values; rows, their number and errors must be equal once the masked columns are taken out.
 */
test('whatever is not refused gives the same answer for any masked values', async () => {
  const seen = { refused: 0, answered: 0, masked: 0, failed: 0 };
  await fc.assert(fc.asyncProperty(fc.array(fc.nat(9_999), { minLength: 40, maxLength: 160 }), async (choices) => {
    const sql = makeStatement(choices);
    const judgement = judge(sql);
    if (judgement.outcome === 'refused') return void seen.refused++;
    const [first, second] = [await answer(sql, judgement, 'select 1'), await answer(sql, judgement, otherValues)];
    if (first.error !== null) seen.failed++;
    else seen.answered++;
    if (judgement.outcome === 'columns' && judgement.columns.some((mask) => mask !== null)) seen.masked++;
    expect({ sql, ...second }).toEqual({ sql, ...first });
    if (first.error === null && judgement.outcome === 'columns') expect({ sql, columns: first.columns }).toEqual({ sql, columns: judgement.columns.length });
  }), { numRuns: runs, ...(process.env['NONINTERFERENCE_SEED'] ? { seed: Number(process.env['NONINTERFERENCE_SEED']) } : {}) });
  // The generator must reach all four outcomes, or this test says nothing.
  expect(seen.answered).toBeGreaterThan(runs / 20);
  expect(seen.masked).toBeGreaterThan(runs / 50);
  expect(seen.refused).toBeGreaterThan(runs / 20);
}, 300_000);

// Other values in another order and with duplicates. NULL stays NULL under a mask, so NULLs stay where they are.
const otherValues = "update person set secret = 'S-' || (900 - id * 7), pay = 40 + id % 2, born = '2030-01-01'::date - id * 400";

async function answer(sql: string, judgement: MaskJudgement, before: string): Promise<{ readonly rows: unknown; readonly error: string | null; readonly columns: number }> {
  await client.query('begin');
  try {
    await client.query(before);
    const result = await client.query({ text: sql, rowMode: 'array', types: { getTypeParser: () => String } } as pg.QueryArrayConfig);
    const masks = judgement.outcome === 'columns' ? judgement.columns : [];
    // The UPDATE moves rows in the heap, so the order without ORDER BY says nothing; ORDER BY has cases of its own.
    const rows = (result.rows as string[][]).map((row) => JSON.stringify(row.map((cell, index) => (masks[index] ? (cell === null ? null : '*') : cell))));
    return { rows: [result.rowCount, rows.toSorted()], error: null, columns: result.fields.length };
  } catch (error) {
    return { rows: null, error: (error as { code?: string }).code ?? 'unknown', columns: -1 };
  } finally {
    await client.query('rollback');
  }
}

interface Source {
  readonly alias: string;
  readonly columns: readonly string[];
}

const tables: Readonly<Record<string, readonly string[]>> = {
  person: ['id', 'name', 'secret', 'pay', 'born'], kid: ['id', 'name', 'secret', 'pay', 'born'], job: ['id', 'person_id', 'title', 'pay'], person_view: ['id', 'name', 'more', 'title'], wide: ['id', 'name', 'secret', 'pay', 'born', 'title'],
};

/** Turns a list of numbers into one statement: each number decides one choice, so that a failing case shrinks. */
function makeStatement(choices: readonly number[]): string {
  let position = 0;
  let names = 0;
  const next = (limit: number): number => (choices[position++ % choices.length] ?? 0) % limit;
  const pick = <T>(items: readonly T[]): T => items[next(items.length)] as T;
  const fresh = (prefix: string): string => `${prefix}${names++}`;
  const chance = (outOf: number): boolean => next(outOf) === 0;

  const column = (sources: readonly Source[]): string => {
    const source = pick(sources);
    const name = pick(source.columns);
    return chance(3) ? name : `${source.alias}.${name}`;
  };
  const expression = (sources: readonly Source[], depth: number): string => {
    switch (next(14)) {
      case 0: return `upper(${column(sources)}::text)`;
      case 1: return `coalesce(${column(sources)}::text, 'none')`;
      case 2: return `case when ${column(sources)} is null then 1 else 2 end`;
      case 3: return `(${query(depth + 1, sources, 1)} limit 1)`;
      case 4: return `exists (${query(depth + 1, sources, 1)})`;
      case 5: return `array(${query(depth + 1, sources, 1)})`;
      case 6: return `${pick(sources).alias}::text`;
      case 7: return `(${pick(sources).alias}).${pick(['id', 'name', 'secret', 'pay'])}`;
      case 8: return `count(*) over (partition by ${column(sources)})`;
      case 9: return `left(${column(sources)}::text, 2) || 'x'`;
      case 10: return `row_to_json(${pick(sources).alias})`;
      case 11: return `1`;
      default: return column(sources);
    }
  };
  const source = (depth: number, before: readonly Source[], outer: readonly Source[], shared: ReadonlyMap<string, readonly string[]>): { readonly sql: string; readonly source: Source } => {
    const alias = fresh('r');
    const kind = depth > 2 ? 0 : next(6);
    if (kind === 1) {
      const isLateral = before.length > 0 && chance(2);
      const width = 1 + next(2);
      const columns = Array.from({ length: width }, () => pick(['id', 'name', 'secret', 'pay', 'z']));
      const unique = [...new Set(columns)];
      return { sql: `${isLateral ? 'lateral ' : ''}(${query(depth + 1, isLateral ? [...before, ...outer] : outer, unique.length)}) ${alias}(${unique.join(', ')})`, source: { alias, columns: unique } };
    }
    if (kind === 2 && shared.size > 0) {
      const name = pick([...shared.keys()]);
      return { sql: `${name} ${alias}`, source: { alias, columns: shared.get(name) ?? [] } };
    }
    const name = pick(Object.keys(tables));
    const columns = tables[name] ?? [];
    if (kind === 3) {
      const renamed = columns.map((old, index) => (index < 2 ? ['secret', 'z'][index] ?? old : `${old}_x`));
      return { sql: `${name} as ${alias}(${renamed.join(', ')})`, source: { alias, columns: renamed } };
    }
    return { sql: `${name} ${alias}`, source: { alias, columns } };
  };
  function query(depth: number, outer: readonly Source[], width: number, withStar = false): string {
    const shared = new Map<string, readonly string[]>();
    let head = '';
    if (depth < 2 && chance(4)) {
      const name = fresh('c');
      const columns = ['id', pick(['secret', 'name', 'v'])];
      head = `with ${name}(${columns.join(', ')}) as (${query(depth + 1, outer, 2)}) `;
      shared.set(name, columns);
    }
    const first = source(depth, [], outer, shared);
    const sources: Source[] = [first.source];
    let from = first.sql;
    if (chance(2)) {
      const second = source(depth, sources, outer, shared);
      const joins = [`, ${second.sql}`, ` cross join ${second.sql}`, ` join ${second.sql} on ${first.source.alias}.${pick(first.source.columns)}::text = ${second.source.alias}.${pick(second.source.columns)}::text`, ` join ${second.sql} using (id)`, ` natural join ${second.sql}`, ` left join ${second.sql} on true`];
      from += pick(joins);
      sources.push(second.source);
    }
    const inScope = chance(3) ? [...sources, ...outer] : sources;
    const targets = withStar && chance(4) ? [chance(2) ? '*' : `${first.source.alias}.*`] : Array.from({ length: width }, () => (chance(3) ? expression(inScope, depth) : column(inScope)));
    let sql = `${head}select ${chance(12) ? 'distinct ' : ''}${targets.map((target) => (withStar && chance(4) && !target.includes('*') ? `${target} as ${pick(['name', 'secret', 'q'])}` : target)).join(', ')} from ${from}`;
    if (chance(4)) sql += ` where ${column(inScope)} ${pick(['is not null', "::text > 'B'", '::text = $$S-222$$', 'is distinct from null'])}`;
    if (chance(8) && !withStar) sql += ` union all ${plain(width)}`;
    else if (chance(16)) sql += ` order by ${pick(['1', column(sources)])}`;
    return sql;
  }
  function plain(width: number): string {
    const name = pick(Object.keys(tables));
    return `select ${Array.from({ length: width }, () => pick(tables[name] ?? [])).join(', ')} from ${name}`;
  }
  const returning = (alias: string): string => (chance(2) ? ` returning ${pick(['*', `${alias}.name`, 'secret', `${alias}.id, ${alias}.pay`, `upper(secret)`, 'old.secret', 'new.name', `${alias}::text`])}` : '');
  switch (next(12)) {
    case 0: return `update person p set name = ${pick(["'x'", 'secret', 'upper(name)', `(${query(1, [], 1)} limit 1)`])}${chance(2) ? ` from job j where j.person_id = p.${pick(['id', 'pay'])}` : ''}${returning('p')}`;
    case 1: return `delete from ${chance(2) ? 'person p' : 'kid p'}${chance(2) ? ` where p.${pick(['id > 1', 'pay > 1', 'name is not null'])}` : ''}${returning('p')}`;
    case 2: return `insert into job as p (id, title) ${query(1, [], 2)} returning ${pick(['*', 'p.title', 'p.id'])}`;
    case 3: return `with w as (update person p set name = name${returning('p')}) select * from w`;
    case 4: return `${query(1, [], 2)} union all ${query(1, [], 2)}`;
    // A unique constraint over a masked column tells by its error whether a value exists; writing to such a column is allowed all the same (docs), so the values here are new.
    case 5: return `insert into person as p (id, secret, pay) values (${pick(['70', '1'])}, ${pick(["'other'", "'new'"])}, 4) on conflict ${pick(['do nothing', '(id) do nothing', '(secret) do nothing', '(id) do update set name = excluded.secret', '(id) do update set secret = excluded.secret', '(id) do update set name = p.secret'])}${returning('p')}`;
    default: return query(0, [], 1 + next(3), true);
  }
}

const parse: MaskParse = {
  parseSql: (text) => {
    try {
      return parseSync(text);
    } catch {
      return null;
    }
  },
  parsePlPgSql: (text) => {
    try {
      return parsePlPgSQLSync(text);
    } catch {
      return null;
    }
  },
};
