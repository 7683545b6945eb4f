import { beforeAll, describe, expect, test } from '@jest/globals';
import { loadModule, parseSync } from 'libpg-query';
import type { MaskingRule } from '../../../../contract/proxy-config.ts';
import type { CatalogRelation, CatalogSnapshot } from '../catalog-snapshot.ts';
import { judgeMasking } from '../lineage.ts';
import { closeMaskRules } from '../mask-closure.ts';

beforeAll(() => loadModule());

/** Of table p: those above the line are masked. */
const types: Readonly<Record<string, readonly [oid: number, modifier?: number]>> = {
  ssn: [25], mail: [1043, 68], salary: [1700, 655_366], pay: [23], points: [20], born: [1082], seen: [1114], ok: [16], doc: [3802], old_doc: [114], key: [2950], score: [701], odd: [16_999],
  // clear
  id: [23], name: [25], city: [25], qty: [23], price: [1700, 655_366], big: [1700], since: [1082], flag: [16], tags: [1009], status: [16_998], clear_json: [114],
};
const maskedNames = ['ssn', 'mail', 'salary', 'pay', 'points', 'born', 'seen', 'ok', 'doc', 'old_doc', 'key', 'score', 'odd'];

/** Followed: the value is hidden, and NULL with it. */
const hidden: readonly string[] = [
  'ssn is null', 'pay is not null', 'ok is true', 'ok and flag', 'not ok', "ssn = 'x'", 'pay > 50000', 'pay between 1 and 2', "ssn in ('a', 'b')", "ssn like '1%'", "ssn ilike '1%'", 'ssn is distinct from mail', 'pay <> points',
  'ssn = name', 'born < since', 'coalesce(pay, 0)', 'coalesce(old_doc, clear_json)', 'coalesce(born, since)', 'nullif(pay, 0)', 'greatest(pay, points)', 'least(salary, 5)',
  "case when flag then pay else 0 end", "case status when 'x' then pay end", "case when ssn like '1%' then 'low' else 'high' end", 'case when pay > 3 then 1 else 0 end', 'case when pay > 3 and ok then born end', "case when flag then 'a' else ssn end",
  "case pay when 1 then 'one' end", "case when ssn = 'x' and mail in ('a', 'b') then true else false end", "case when flag then 'a' when ok then 'b' end", 'case when ok then pay end',
  'pay::text', 'salary::text', 'born::varchar(4)', 'pay::numeric', 'pay::bigint', 'pay::float8', 'ok::int', 'seen::date', 'points::text', 'pay::int', "coalesce(born, '2020-01-01'::date)", "coalesce(pay, '5'::int)", "coalesce(ssn, 'x'::text, null::text) || pay",
  'salary * 1.1', 'salary + pay', 'salary - 3', 'salary * qty', 'salary * price', 'salary / 12', 'pay / 12', 'pay % 10', '-salary', 'salary / 12.0 * 2.5', "doc ->> 'a'", 'doc -> 0', "doc -> 'a' ->> 'b'",
  "pay || ' EUR'", "'born ' || born", "format('%s <%s> 100%%', name, mail)", "concat_ws(', ', name, mail, pay)", 'concat(name, pay)', "json_build_object('a', ssn, 'b', status)", "jsonb_build_object('a', pay)", 'json_build_array(ssn, 1)',
  'to_json(ssn)', 'to_jsonb(pay)', 'row_to_json(p)', 'to_json(p)', 'p', 'md5(ssn)', 'length(ssn)', 'octet_length(mail)', "position('-' in ssn)", "strpos(ssn, '-')", "starts_with(ssn, '1')", 'substring(ssn from 1 for 3)', 'substr(ssn, 2)',
  "split_part(ssn, '-', 1)", "translate(ssn, '-', '')", 'round(salary, 2)', 'round(salary)', 'trunc(salary)', 'abs(salary)', 'floor(salary)', 'ceil(salary)', 'extract(year from born)', "date_part('hour', seen)", 'left(md5(ssn), 4)',
  'count(ssn)', 'count(distinct ssn)', 'count(*) filter (where pay > 3)', 'sum(pay)', 'sum(salary * 1.1)', 'avg(points)', 'min(born)', 'max(pay)', 'max(salary) filter (where flag)', 'bool_and(ok)', 'every(ok)', 'array_agg(ssn)', 'array_agg(ssn order by born)', "string_agg(ssn, ', ')",
  'json_agg(ssn)', 'json_agg(p)', "jsonb_agg(jsonb_build_object('a', ssn))", "coalesce(json_agg(ssn) filter (where flag), '[]')", 'count(lower(ssn))', 'sum(pay) filter (where ok)', 'coalesce(sum(pay), 0)', 'round(avg(pay), 2)', 'max(extract(year from born))',
];

/** Refused, because it can fail, grow or choose. */
const refused: readonly string[] = [
  // fails for some values
  'pay + 1', 'pay * 2', '-pay', 'pay::smallint', 'salary::int', 'salary::numeric(5,2)', 'ssn::int', 'ssn::date', 'born::timestamp', 'score::numeric', 'seen + interval $$1 day$$', 'born + 1', 'born - since', '1 / pay', 'salary / pay', 'salary / 0', 'pay / -1', 'pay ^ 2', 'sqrt(salary)',
  "old_doc ->> 'a'", "old_doc -> 'a'", "doc #> '{a}'", 'to_jsonb(old_doc)', "jsonb_build_object('a', old_doc)", 'to_jsonb(p)', 'jsonb_agg(p)', 'jsonb_agg(old_doc)', 'json_build_object(ssn, 1)', 'json_build_object(name, ssn)', 'json_build_object(ssn)', 'sum(score)', 'array_agg(tags) || ssn', 'json_object_agg(ssn, 1)',
  "split_part(ssn, '-', 0)", 'split_part(ssn, name, 1)', 'substring(ssn from 1 for -1)', 'substring(ssn from 1 for qty)', "substring(ssn from '[0-9]')", "regexp_replace(ssn, '1', '2')", "format('%I', ssn)", "format('%2$s', ssn)", "format('%s %s', ssn)", 'format(name, ssn)', "extract(hour from born)", "date_part(name, born)",
  "extract(millennium from born)", "ssn like '1\\'", 'ssn like name', "ssn similar to '1%'", "ssn ~ '1'", 'age(born)', "to_char(born, 'YYYY')", 'round(salary, 1000)', 'odd = odd', 'chr(pay)', 'lpad(ssn, 3)', "overlay(ssn placing 'x' from 1)", 'array[ssn]', 'row(ssn)', 'ssn collate "C"', "born at time zone 'utc'",
  "pay = any (array[1])", 'greatest(ssn, name)', 'max(ssn)', 'min(name || ssn)', "nullif(ssn, 'x')", 'coalesce(doc, old_doc::jsonb)', 'extra(ssn)', 'ssn <%> name', 'ssn::mood', 'ssn::text[]', "replace(ssn, '1', name)", "ssn || tags", 'doc || doc', '$1 || ssn', 'abs(pay)', 'bool_and(pay > 3 and name = city)', 'count(distinct old_doc)',
  'sum(ssn)', 'max(ok)', 'max(key)', 'every(pay)', 'left(ssn, qty)', 'p.missing', 'missing(p)', 'mode() within group (order by pay)', 'concat(ssn, variadic tags)', 'row_to_json(ssn)', 'upper(distinct ssn)', "coalesce(born, '2020-13-01'::date)", "coalesce(pay, 'x'::int)", '(select ssn) || name',
  // becomes an error above 1 GB: how long it is may not be an answer
  "name || ltrim(ssn, '5')", "name || split_part(ssn, '-', 1)", "name || translate(ssn, '5', '')", "name || (ssn like '5%')::text", "name || (salary - 100)::text", "name || case when pay > 3 then 'a' else '' end", "concat(name, extract(year from born))", "format('%s', pay > 3)",
  "string_agg(ltrim(ssn, '5'), ',')", "json_agg(case when pay > 3 then 'a' else '' end)", "string_agg(name, ',') filter (where ssn like '5%')", 'array_agg(distinct left(ssn, 1))', "json_agg(ssn) filter (where ok)", "string_agg(ssn, name)",
  // large by choice
  "case when ssn like '5%' then name else '' end", 'case when ok then doc end', "case when ssn like '5%' then repeat('x', 65) else 'y' end", `case when ok then '${'x'.repeat(65)}' end`, 'case when ok then name || city end', 'case when ok then upper(name) end',
  // overflows with large factors
  'salary * big', 'salary + big', `salary * ${'9'.repeat(31)}.0`, `salary${' * salary'.repeat(40)}`, `concat(${'ssn, '.repeat(40)} 1)`,
  // fails only where a masked value lets it be evaluated
  "case when ssn like '5%' then 1/0 else 1 end", 'case when ok then qty + 1 else 1 end', 'case when ok then price * price else 1 end', 'case when ok then length(upper(ssn)) end', 'case when ok then name = city else true end', "ok and name like 'x'", "ok and ssn ilike 'x%'", 'ok or name < city',
  "case ssn when name then 1 end", "case when flag then 1 when ok then 2 when name = city then 3 end", 'sum(qty * price) filter (where ok)', 'case when ok then (select 1) end', 'coalesce(ssn, name || city)', 'case when ok then pay::text::int end', 'case when ok then qty::bigint end', "case when ok then -price end",
  // a window orders the rows
  'rank() over (order by pay)', 'sum(pay) over ()',
];

describe('an expression over masked columns', () => {
  test.each(hidden.map((sql) => [sql]))('%s has a result for every value: it shows redacted, NULL included', (sql) => {
    expect(columnOf(sql)).toEqual({ rule: 0, bare: false, hidesNull: true });
  });

  test.each(refused.map((sql) => [sql]))('%s is refused', (sql) => {
    expect(columnOf(sql)).toBe('refused');
  });

  test('of text alone keeps NULL, as it always did', () => {
    expect(['upper(ssn)', 'upper(left(ssn, 3))', 'concat(ssn)', "ssn || ', ' || name", "ssn || ' '", 'coalesce(ssn, mail)', 'mail::text'].map((sql) => columnOf(sql))).toEqual(Array.from({ length: 7 }, () => ({ rule: 0, bare: false })));
  });

  test('is as unknown outside of a subquery as inside', () => {
    expect([judge("select x || name from (select ltrim(ssn, '5') as x, name from p) q"), judge('select upper(x) from (select length(ssn) as x from p) q'), judge('select coalesce(x, 1) from (select length(ssn) as x from p) q'), judge('select p from (select length(ssn) as x from p) p')]).toEqual(['refused', 'refused', 'refused', 'refused']);
    expect(judge('select x from (select length(ssn) as x from p union all select 1) q')).toEqual([{ rule: 0, bare: false, hidesNull: true }]);
    expect(judge('with recursive r(x) as (select ssn from p union all select upper(x) from r) select x from r')).toEqual([{ rule: 0, bare: false }]);
  });

  test('decides nothing: not what is grouped, ordered, compared, copied or written', () => {
    expect([
      'select length(ssn), count(*) from p group by 1', 'select id from p order by length(ssn)', 'select distinct length(ssn) from p', 'select id from p where length(ssn) > 3', 'select length(ssn) from p union select 1', 'copy (select length(ssn) from p) to stdout',
      'create table t as select length(ssn) from p', 'insert into t (a) select length(ssn) from p', 'update p set qty = length(ssn)', 'select id from p having count(ssn) > 1',
    ].map((sql) => judge(sql))).toEqual(Array.from({ length: 10 }, () => 'refused'));
  });

  test('has the name that the server gives it, so that a key of another name is not taken for it', () => {
    expect(['select name, avg(pay) from p group by name order by name', 'select name, coalesce(ssn, mail), pay > 3, nullif(pay, 0), ssn is null, 1 from p order by name'].map((sql) => judge(sql))).not.toContain('refused');
    expect(['select avg(pay) from p group by avg', 'select name, avg(pay) from p group by name order by avg', "select coalesce(ssn, 'x') from p order by coalesce", "select case when ok then 1 end from p order by city"].map((sql) => judge(sql))).toEqual(['refused', 'refused', 'refused', 'refused']);
  });

  test('of whole rows is refused where a type of the database runs code of its own', () => {
    expect(['row_to_json(p)', 'p', 'array_agg(odd)', "json_build_object('a', status, 'b', ssn)", 'odd::text', "format('%s %s', status, ssn)"].map((sql) => columnOf(sql, new Set(['coded'])))).toEqual(Array.from({ length: 6 }, () => 'refused'));
  });
});

function columnOf(expression: string, typesWithCode: ReadonlySet<string> = new Set()): unknown {
  const judged = judge(`select ${expression} from p`, typesWithCode);
  return Array.isArray(judged) ? judged[0] : judged;
}

function judge(sql: string, typesWithCode: ReadonlySet<string> = new Set()): unknown {
  const catalog = catalogOf(typesWithCode);
  const parse = { parseSql: (text: string) => parseSync(text) as unknown, parsePlPgSql: () => null };
  const statement = (parseSync(sql) as { stmts: { stmt: unknown }[] }).stmts[0]?.stmt;
  const { judgement } = judgeMasking(statement, { catalog, searchPath: ['public'], temporaryRelations: new Set(), database: 'app' }, closeMaskRules(catalog, rules, parse), rules, parse);
  return judgement.outcome === 'columns' ? judgement.columns : judgement.outcome;
}

const rules: readonly MaskingRule[] = [{ columns: maskedNames.map((column) => ({ schema: 'public', table: 'p', column })), detectors: null, style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' }];

function catalogOf(typesWithCode: ReadonlySet<string>): CatalogSnapshot {
  const columns = Object.entries(types).map(([name, [typeOid, typeModifier = -1]], index) => ({ attnum: index + 1, name, typeOid, typeModifier }));
  const table = (oid: number, name: string, shown: CatalogRelation['columns']): CatalogRelation => ({ oid, schema: 'public', name, kind: 'r', parents: [], definition: null, ownedBy: null, hasTriggers: false, columns: shown });
  const relations = [table(20_001, 'p', columns), table(20_002, 't', [{ attnum: 1, name: 'a', typeOid: 23, typeModifier: -1 }])];
  return {
    epoch: '1', relations: new Map(relations.map((relation) => [relation.oid, relation])), relationsByName: new Map(relations.map(({ name, oid }) => [name, [oid]])), functionsByName: new Map(), systemFunctions,
    userOperators: new Set(['<%>']), operatorFunctions: new Map([['<%>', []]]), userTypes: new Map([['mood', ['public']]]), typesWithCode, typeBase: new Map(), schemas: new Set(['public', 'pg_catalog']),
  };
}

const systemFunctions: ReadonlySet<string> = new Set(`abs age array_agg avg bool_and btrim ceil chr concat concat_ws count date_part every extract floor format initcap json_agg json_build_array json_build_object json_object_agg jsonb_agg
 jsonb_build_object left length lower lpad ltrim max md5 min mode octet_length overlay position rank regexp_replace repeat replace reverse right round row_to_json rtrim split_part sqrt starts_with string_agg strpos substr substring sum
 timezone to_char to_json to_jsonb translate trunc upper`.split(/\s+/));
