import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { deny } from '../core/errors.ts';
import type { SqlParser } from '../core/ports.ts';
import { inspectQuery, type InspectOptions, type MaskingReview } from '../core/sql/inspect-query.ts';
import type { MaskJudgement, StatementFacts } from '../core/sql/statement-facts.ts';
import { summarize, vectorScope } from '../core/sql/testdata/vector-scope.ts';
import { createSqlParser, inlineLimitBytes } from './sql-parser.ts';

let parser: SqlParser & AsyncDisposable;
beforeAll(async () => { parser = await createSqlParser(); });
afterAll(async () => { await parser[Symbol.asyncDispose](); });

const ssn = (text: string): boolean => /\d{3}-\d{2}-\d{4}/.test(text);

async function inspect(sql: string, changes: Partial<InspectOptions> = {}, scope = vectorScope()): Promise<ReturnType<typeof inspectQuery>> {
  return inspectQuery(sql, await parser.parse(sql), scope, { parser, masking: null, detect: null, ...changes });
}

async function facts(sql: string, changes: Partial<InspectOptions> = {}, scope = vectorScope()): Promise<StatementFacts> {
  const inspected = await inspect(sql, changes, scope);
  if (inspected.outcome !== 'read' || inspected.statements[0] === undefined) throw new Error(`not one statement: ${sql}`);
  return inspected.statements[0];
}

/** `customers` is masked; `judge` answers with what it is given and remembers what it was asked. */
function aMasking(judgement: MaskJudgement = { outcome: 'clear' }): MaskingReview & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    judge: (statement) => { asked.push(Object.keys(statement as object)[0] ?? ''); return { judgement, maskedParameters: [1] }; },
    touchesMasked: (schema, name) => schema === 'app' && name === 'customers',
  };
}

describe('nesting', () => {
  test.each([
    ['terms', `select ${'1+'.repeat(990)}1`, `select ${'1+'.repeat(1_100)}1`],
    ['NOT', `select ${'not '.repeat(990)}true`, `select ${'not '.repeat(1_100)}true`],
    ['subqueries', `select ${'(select '.repeat(150)}1${')'.repeat(150)}`, `select ${'(select '.repeat(600)}1${')'.repeat(600)}`],
    ['arrays', `select array${'['.repeat(900)}1${']'.repeat(900)}`, `select array${'['.repeat(1_100)}1${']'.repeat(1_100)}`],
  ])('%s are read to 1,000 levels and refused beyond', async (_, readable, tooDeep) => {
    expect(await inspect(readable)).toMatchObject({ outcome: 'read' });
    expect(await inspect(tooDeep)).toMatchObject({ outcome: 'unreadable', denial: { code: 'STATEMENT_TOO_DEEP' } });
  });

  test('a text with 2,000 statements is read', async () => {
    const inspected = await inspect('select 1;'.repeat(2_000));
    expect(inspected.outcome === 'read' && inspected.statements.length).toBe(2_000);
  });

  test('a list of many items is not deep', async () => {
    expect(await inspect(`select * from orders where id in (${'1,'.repeat(20_000)}1)`)).toMatchObject({ outcome: 'read' });
  });
});

describe('an unknown search path', () => {
  const unknown = vectorScope({ searchPath: null });

  test.each(['select * from orders', 'delete from orders', 'drop table orders', 'create table t (id int)', 'copy orders to stdout', 'explain select * from orders'])('refuses unqualified names: %s', async (sql) => {
    expect((await facts(sql, {}, unknown)).refusal?.code).toBe('SEARCH_PATH_UNKNOWN');
  });

  test.each(['select 1', 'select * from app.orders', 'select now()', 'begin', 'create temp table t (id int)'])('leaves the rest alone: %s', async (sql) => {
    expect((await facts(sql, {}, unknown)).refusal).toBeNull();
  });

  test('a user function may be any schema\'s', async () => {
    expect((await facts('select wipe()', {}, unknown)).calls).toEqual(['app.wipe']);
  });
});

describe('a search path that changes within one query text', () => {
  const last = async (sql: string, scope = vectorScope()): Promise<StatementFacts | undefined> => {
    const inspected = await inspect(sql, {}, scope);
    return inspected.outcome === 'read' ? inspected.statements.at(-1) : undefined;
  };

  test.each([
    ['set search_path to public; select * from orders', ['public.orders']],
    ["select set_config('search_path', 'public', false); select * from orders", ['public.orders']],
    ["set search_path to ''; select * from public.orders", ['public.orders']],
  ])('is known when it is one constant schema: %s', async (sql, objects) => {
    expect(await last(sql)).toMatchObject({ refusal: null, objects });
  });

  test.each([
    'set search_path to audit, public; select * from orders', 'set search_path to "$user"; select * from orders', 'set local search_path to public; select * from orders',
    "set role other; select * from orders", 'reset search_path; select * from orders', 'reset all; select * from orders', 'discard all; select * from orders', 'do $$begin perform 1; end$$; select * from orders',
    "select set_config('work_mem', '4MB', false), set_config('role', 'other', false); select * from orders", 'call archive(); select * from orders', 'select wipe(); select * from orders', 'execute p; select * from orders',
    "select query_to_xml('select 1', true, true, ''); select * from orders",
  ])('is not known otherwise, and names without a schema are refused: %s', async (sql) => {
    expect((await last(sql))?.refusal?.code).toBe('SEARCH_PATH_UNKNOWN');
  });

  test.each(['set work_mem to 1; select * from orders', 'select pg_sleep(0); select * from orders', "select citext_eq('a', 'b'); select * from orders", 'begin; select * from orders', 'commit; select * from orders'])('is what it was after: %s', async (sql) => {
    expect(await last(sql)).toMatchObject({ refusal: null, objects: ['app.orders'] });
  });

  test('is not known after the end of the transaction that changed it', async () => {
    expect((await last('commit; select * from orders', vectorScope({ pathEndsWithTransaction: true })))?.refusal?.code).toBe('SEARCH_PATH_UNKNOWN');
  });
});

test('a table beside those of WITH is the database’s own', async () => {
  expect(await facts('with recent as (select 1) select * from recent, orders')).toMatchObject({ objects: ['app.orders'] });
});

test('a bug while a statement is read is not taken for a statement that is too deep', async () => {
  const broken = { ...parser, parse: () => { throw new Error('unused'); }, parsePlPgSql: () => null, fingerprint: () => { throw new Error('broken'); } };
  const parsed = await parser.parse('select 1');
  expect(() => inspectQuery('select 1', parsed, vectorScope(), { parser: broken, masking: null, detect: null })).toThrow('broken');
});

describe('texts and ranges', () => {
  test('ranges are bytes, texts are characters', async () => {
    const inspected = await inspect("select 'ü😀'; delete from orders where note = 'é'");
    if (inspected.outcome !== 'read') throw new Error('unreadable');
    expect(inspected.statements.map(({ range, redactedText }) => [range, redactedText])).toEqual([
      [{ start: 0, end: 15 }, "select 'ü😀'"], [{ start: 16, end: 53 }, "delete from orders where note = 'é'"],
    ]);
  });

  test('each statement has its own fingerprint, equal for equal forms', async () => {
    const inspected = await inspect('select 1 from orders; select 2 from orders; delete from orders');
    if (inspected.outcome !== 'read') throw new Error('unreadable');
    const [first, second, third] = inspected.statements.map(({ fingerprint }) => fingerprint);
    expect(first).toMatch(/^[0-9a-f]{16}$/);
    expect(second).toBe(first);
    expect(third).not.toBe(first);
  });

  test('a long text is read like a short one, PL/pgSQL bodies and fingerprints included', async () => {
    const block = 'do $$ begin delete from orders; end $$';
    const long = await facts(`${block} /* ${'x'.repeat(inlineLimitBytes)} */`);
    const short = await facts(block);
    expect([long.pairs, long.fingerprint]).toEqual([short.pairs, short.fingerprint]);
  });

  test('a body too long to be read now is opaque', async () => {
    const sql = `create function f() returns void language sql as $$ delete from orders; select '${'x'.repeat(inlineLimitBytes)}' $$`;
    expect(summarize(await inspect(sql))).toMatchObject({ pairs: ['Function *', 'Function app.f'] });
  });

  test('a syntax error keeps the server\'s words and position, and hides literals', async () => {
    expect(await inspect("select 'hunter2' frm orders")).toMatchObject({
      outcome: 'unreadable', position: 22, redactedText: "select '********' frm orders", denial: { code: 'SYNTAX_ERROR', message: 'syntax error at or near "orders"' },
    });
  });

  test('a syntax error near a regulated value does not repeat it', async () => {
    const inspected = await inspect("select a '123-45-6789'", { detect: ssn });
    expect(JSON.stringify(inspected)).not.toContain('6789');
  });

  test('failures of the parser are unreadable', async () => {
    for (const code of ['PARSE_TIMEOUT', 'STATEMENT_TOO_DEEP'] as const) {
      expect(inspectQuery('select 1', { outcome: 'failed', code }, vectorScope(), { parser, masking: null, detect: null })).toMatchObject({ outcome: 'unreadable', denial: { code } });
    }
  });
});

describe('redacted text', () => {
  test.each([
    ["select * from orders where note = 'x'", "select * from orders where note = 'x'"],
    ["select * from customers where ssn = '123'", "select * from customers where ssn = '********'"],
    ["select * from orders where note in (select name from app.customers where id = 5)", 'select * from orders where note in (select name from app.customers where id = ********)'],
    ["insert into customers values (1, 'x', '123')", "insert into customers values (********, '********', '********')"],
    ["execute p('123')", "execute p('********')"],
    ["prepare p as select * from customers where ssn = '123'", "prepare p as select * from customers where ssn = '********'"],
    ["comment on column customers.ssn is 'like 123'", "comment on column customers.ssn is '********'"],
    ["create table t (x text default '123-45-6789')", "create table t (x text default '********')"],
    ["comment on table orders is '123-45-6789'", "comment on table orders is '********'"],
    ["select app.wipe('123')", "select app.wipe('********')"],
    ["set application_name = '123-45-6789'", "set application_name = '********'"],
    ["select - 5, -5, interval '1' year, extract(year from now()), true from customers", "select - ********, -********, interval '********' year, extract(year from now()), true from customers"],
  ])('in a masked session: %s', async (sql, expected) => {
    expect((await facts(sql, { masking: aMasking(), detect: ssn })).redactedText).toBe(expected);
  });

  test.each(["create role bob password 'hunter2'", "alter role bob encrypted password 'hunter2'", "alter system set primary_conninfo = 'hunter2'", "create subscription s connection 'hunter2' publication p",
    "create user mapping for bob server s options (user 'b', token 'hunter2')", "do $$ begin alter role bob password 'hunter2'; end $$", "select dblink('password=hunter2', 'x')"])('in any session: %s', async (sql) => {
    expect((await facts(sql)).redactedText).not.toContain('hunter2');
  });

  test('without masking and detectors everything else stays as it was written', async () => {
    expect((await facts("/* note */ select 'x' , 5 -- end")).redactedText).toBe("/* note */ select 'x' , 5 -- end");
  });
});

describe('a session with masked columns', () => {
  test.each([
    ['do $$ begin null; end $$', 'FEATURE_REFUSED'], ["create function f() returns int language sql as 'select 1'", 'FEATURE_REFUSED'], ['create trigger t after insert on orders execute function wipe()', 'FEATURE_REFUSED'],
    ['create extension x', 'FEATURE_REFUSED'], ["copy orders to '/x'", 'FEATURE_REFUSED'], ['notify c', 'FEATURE_REFUSED'], ['listen c', 'FEATURE_REFUSED'], ["select pg_notify('a', 'b')", 'FEATURE_REFUSED'],
    ['explain analyze select 1', 'FEATURE_REFUSED'], ['explain verbose select 1', 'FEATURE_REFUSED'], ['explain (verbose on) select 1', 'FEATURE_REFUSED'], ['explain select wipe()', 'FEATURE_REFUSED'],
    ['set client_min_messages = debug1', 'SETTING_REFUSED'], ['set debug_print_plan = on', 'SETTING_REFUSED'], ["select set_config('log_statement', 'all', false)", 'SETTING_REFUSED'],
    ['set auto_explain.log_min_duration = 0', 'SETTING_REFUSED'], ["select set_config('app.x', $1, false)", 'SETTING_REFUSED'], ['show app.x', 'FEATURE_REFUSED'], ['execute p(wipe())', 'FEATURE_REFUSED'],
  ])('refuses %s', async (sql, code) => {
    expect((await facts(sql, { masking: aMasking() })).refusal?.code).toBe(code);
    expect((await facts(sql)).refusal).toBeNull();
  });

  test.each(['select 1', 'explain select * from orders', 'explain (verbose off, analyze off) select 1', 'set client_min_messages = warning', 'show search_path', 'begin', 'execute p(1)', 'fetch c'])('allows %s', async (sql) => {
    expect((await facts(sql, { masking: aMasking() })).refusal).toBeNull();
  });

  test('asks lineage for statements with rows, for the inner one of PREPARE and DECLARE, and for no other', async () => {
    const asked = async (sql: string): Promise<readonly string[]> => {
      const masking = aMasking();
      await facts(sql, { masking });
      return masking.asked;
    };
    expect(await asked('select 1')).toEqual(['SelectStmt']);
    expect(await asked('copy orders to stdout')).toEqual(['CopyStmt']);
    expect(await asked('create table t as select 1')).toEqual(['CreateTableAsStmt']);
    expect(await asked('prepare p as delete from orders')).toEqual(['DeleteStmt']);
    expect(await asked('declare c cursor for select 1')).toEqual(['SelectStmt']);
    expect(await asked('explain update orders set total = 1')).toEqual(['ExplainStmt']);
    expect(await asked('commit')).toEqual([]);
    expect(await asked('execute p')).toEqual([]);
  });

  test('carries the judgement to the statement that sends the rows', async () => {
    const columns: MaskJudgement = { outcome: 'columns', columns: [{ rule: 0, bare: true }] };
    const select = await facts('select ssn from customers', { masking: aMasking(columns) });
    expect([select.masking, select.maskedParameters]).toEqual([columns, [1]]);
    const prepare = await facts('prepare p as select ssn from customers', { masking: aMasking(columns) });
    expect(prepare.masking).toEqual({ outcome: 'clear' });
    expect(prepare.effect?.kind === 'prepare' && prepare.effect.query.masking).toEqual(columns);
    expect((await facts('explain select ssn from customers', { masking: aMasking(columns) })).masking).toMatchObject({ outcome: 'refused', denial: { code: 'MASKED_COLUMN_REFUSED' } });
  });

  test('a refused inner statement refuses its PREPARE', async () => {
    const refused: MaskJudgement = { outcome: 'refused', denial: deny('MASKING_UNPROVEN') };
    expect((await facts('prepare p as select ssn || 1 from customers', { masking: aMasking(refused) })).masking).toEqual(refused);
  });
});

describe('COPY options', () => {
  const copy = async (sql: string): Promise<StatementFacts['copy']> => (await facts(sql)).copy;

  test('have the defaults of the server', async () => {
    expect(await copy('copy orders to stdout')).toEqual({
      direction: 'out', format: 'text', delimiter: '\t', quote: '"', escape: '"', nullString: '\\N', header: false, forceQuote: null, relation: { schema: 'app', name: 'orders' }, columns: null, understood: true,
    });
    expect(await copy('copy audit.trail (line) from stdin csv')).toEqual({
      direction: 'in', format: 'csv', delimiter: ',', quote: '"', escape: '"', nullString: '', header: false, forceQuote: null, relation: { schema: 'audit', name: 'trail' }, columns: ['line'], understood: true,
    });
    expect(await copy('copy (select 1) to stdout (format binary)')).toMatchObject({ format: 'binary', relation: null });
  });

  test('are read in both grammars', async () => {
    const expected = { format: 'csv', delimiter: '1', quote: '\'', escape: '\\', nullString: 'nil', header: true, forceQuote: ['id'], understood: true };
    expect(await copy("copy orders to stdout with (format csv, delimiter '1', quote '''', escape E'\\\\', null 'nil', header true, force_quote (id), encoding 'UTF8')")).toMatchObject(expected);
    expect(await copy("copy orders to stdout csv header delimiter '1' null 'nil' quote '''' escape E'\\\\' force quote id")).toMatchObject(expected);
    expect(await copy('copy orders to stdout (format csv, force_quote *)')).toMatchObject({ forceQuote: '*' });
  });

  test.each(["copy orders to stdout (encoding 'SJIS')", 'copy orders to stdout (future 1)', "copy orders to stdout (format 'xml')", 'copy orders to stdout (format csv, format text)', 'copy orders to stdout (header maybe)',
    'copy orders to stdout (force_null (id))', 'copy orders to stdout (delimiter)'])('without a rule are not understood: %s', async (sql) => {
    expect(await copy(sql)).toMatchObject({ understood: false });
  });
});

test('an unknown node kind counts as opaque, never as nothing', () => {
  const parse = (stmt: object) => inspectQuery('x', { outcome: 'parsed', tree: { stmts: [{ stmt }] } }, vectorScope(), { parser, masking: null, detect: null });
  expect(summarize(parse({ QuantumStmt: { relation: { relname: 'orders' } } }))).toMatchObject({ kind: 'Other', pairs: ['Other *'] });
  expect(summarize(parse({ SelectStmt: { targetList: [{ ResTarget: { val: { QuantumExpr: { args: [] } } } }] } }))).toMatchObject({ pairs: ['Other *', 'Select -'] });
  expect(summarize(parse({ SelectStmt: { quantumClause: { list: 1 } } }))).toMatchObject({ pairs: ['Other *', 'Select -'] });
  expect(summarize(parse({}))).toMatchObject({ kind: 'Other', pairs: ['Other *'] });
});
