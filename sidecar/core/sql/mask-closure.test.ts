import { beforeAll, describe, expect, test } from '@jest/globals';
import { loadModule, parsePlPgSQLSync, parseSync } from 'libpg-query';
import type { MaskingRule } from '../../../contract/proxy-config.ts';
import type { CatalogRelation, CatalogSnapshot } from './catalog-snapshot.ts';
import { closeMaskRules, type MaskClosure } from './mask-closure.ts';

beforeAll(() => loadModule());

describe('the closure of masking rules', () => {
  test('a named column is masked by the strictest of its rules, and its neighbours are not', () => {
    const closure = close([table(1, 'a', ['id', 'x'])], [rule('Partial', 'public.a.x'), rule('Null', 'public.a.x'), rule('Hash', 'public.a.x')]);
    expect([closure.ruleOf(1, 1), closure.ruleOf(1, 2), closure.isTouched(1), closure.isTouched(2)]).toEqual([null, 1, true, false]);
  });

  test('Equality holds only when every rule of the column allows it', () => {
    const equal = { ...rule('Redact', 'public.a.x'), predicates: 'Equality' as const };
    expect(close([table(1, 'a', ['x'])], [equal]).maskOf(1, 1)?.equality).toBe(true);
    expect(close([table(1, 'a', ['x'])], [equal, rule('Partial', 'public.a.x')]).maskOf(1, 1)?.equality).toBe(false);
  });

  test('children, grandchildren and partitions share the mask by column name, wherever the column stands', () => {
    const closure = close([table(1, 'a', ['id', 'x']), table(2, 'b', ['x', 'extra', 'id'], { parents: [1] }), table(3, 'c', ['extra', 'x'], { parents: [2], kind: 'p' })], [rule('Redact', 'public.a.x')]);
    expect([closure.ruleOf(2, 1), closure.ruleOf(2, 2), closure.ruleOf(3, 2), closure.ruleOf(3, 1)]).toEqual([0, null, 0, null]);
  });

  test('a parent shows the rows of a masked partition, other partitions stay free', () => {
    const closure = close([table(1, 'a', ['x'], { kind: 'p' }), table(2, 'p1', ['x'], { parents: [1] }), table(3, 'p2', ['x'], { parents: [1] })], [rule('Redact', 'public.p1.x')]);
    expect([closure.ruleOf(1, 1), closure.ruleOf(2, 1), closure.ruleOf(3, 1)]).toEqual([0, 0, null]);
  });

  test.each([
    ['SELECT a.id, a.x FROM public.a', '.M'], ['SELECT a.id, lower(a.x) AS x FROM public.a', '.m'], ['SELECT a.x FROM public.a WHERE (a.x IS NOT NULL) ORDER BY a.x', 'M'], ['SELECT max(a.x) AS x, count(*) AS n FROM public.a GROUP BY a.id', 'm.'],
    ['SELECT a.x FROM public.a UNION SELECT b.y FROM public.b', 'M'], ['WITH q AS (SELECT a.x FROM public.a) SELECT q.x FROM q', 'M'], ['SELECT a.* FROM public.a', '.M'], ['SELECT row_to_json(a.*) AS j FROM public.a', 'm'], ['SELECT b.y FROM public.b', '.'],
    ["SELECT CASE WHEN (a.x ~~ 'D%'::text) THEN 1 ELSE 0 END AS c, a.id FROM public.a", 'm.'], ['SELECT EXISTS (SELECT 1 FROM public.a WHERE (a.x = b.y)) AS e, b.y FROM public.b', 'm.'], ['SELECT ( SELECT a.x FROM public.a LIMIT 1) AS s', 'M'],
  ])('a view defined as %s masks %s', (definition, expected) => {
    const names = [...expected].map((_letter, index) => `c${index}`);
    const closure = close([table(1, 'a', ['id', 'x']), table(2, 'b', ['y']), view(3, 'v', names, definition)], [rule('Partial', 'public.a.x')]);
    expect(names.map((_name, index) => masks(closure, 3, index + 1)).join('')).toBe(expected);
  });

  test('masks pass through views on views and materialized views, in any order of OIDs', () => {
    const closure = close([view(1, 'top', ['z'], 'SELECT m.y AS z FROM public.m'), { ...view(2, 'm', ['y'], 'SELECT a.x AS y FROM public.a'), kind: 'm' }, table(3, 'a', ['x'])], [rule('Redact', 'public.a.x')]);
    expect([closure.ruleOf(1, 1), closure.ruleOf(2, 1)]).toEqual([0, 0]);
  });

  test('a view that cannot be followed masks all its outputs', () => {
    const closure = close([table(1, 'a', ['id', 'x']), view(2, 'v', ['id', 'one'], 'SELECT a.id FROM public.a')], [rule('Partial', 'public.a.x')]);
    expect([masks(closure, 2, 1), masks(closure, 2, 2)]).toEqual(['m', 'm']);
  });

  test('a view that does not parse, or reads what a masked session may not read, cannot be read', () => {
    const closure = close([table(1, 'a', ['x']), { ...table(9, 'pg_stats', []), schema: 'pg_catalog' }, view(2, 'bad', ['y'], 'SELECT ((('), view(3, 'stats', ['y'], 'SELECT pg_stats.y FROM pg_stats')], [rule('Redact', 'public.a.x')]);
    expect([closure.problemOf(2), closure.problemOf(3)]).toEqual([expect.stringContaining('cannot be read'), expect.stringContaining('pg_stats')]);
    expect([closure.isTouched(2), closure.isTouched(3), closure.problemOf(1)]).toEqual([true, true, null]);
  });

  test('a generated column is masked when its expression uses a masked one, in views and children too', () => {
    const generated = table(1, 'a', ['x', 'up', 'n']);
    const withExpression = { ...generated, columns: generated.columns.map((column) => (column.name === 'up' ? { ...column, generated: 'upper(x)' } : column.name === 'n' ? { ...column, generated: '(1 + 1)' } : column)) };
    const closure = close([withExpression, table(2, 'kid', ['x', 'up', 'n'], { parents: [1] }), view(3, 'v', ['u'], 'SELECT a.up AS u FROM public.a')], [rule('Partial', 'public.a.x')]);
    expect([masks(closure, 1, 2), masks(closure, 1, 3), masks(closure, 2, 2), masks(closure, 3, 1)]).toEqual(['m', '.', 'm', 'm']);
  });

  test('a foreign table can be read only when a rule names one of its columns', () => {
    const closure = close([table(1, 'a', ['x'], { kind: 'f' }), table(2, 'b', ['y'], { kind: 'f' })], [rule('Redact', 'public.a.x')]);
    expect([closure.problemOf(1), closure.problemOf(2)]).toEqual([null, expect.stringContaining('foreign table')]);
  });

  test('a rule for a column that does not exist is reported and closes its table', () => {
    const closure = close([table(1, 'a', ['x'])], [rule('Redact', 'public.a.gone'), rule('Redact', 'public.nowhere.x')]);
    expect(closure.problems).toEqual(['masking rule 0: column public.a.gone does not exist', 'masking rule 1: relation public.nowhere.x does not exist'.replace('.x ', ' ')]);
    expect(closure.problemOf(1)).toContain('does not exist');
  });

  test('without column rules nothing is closed', () => {
    const closure = close([table(1, 'a', ['x'], { kind: 'f' })], [{ ...rule('Redact', 'public.a.x'), columns: null, detectors: ['email'] }]);
    expect([closure.isEmpty, closure.isTouched(1)]).toEqual([true, false]);
  });
});

function masks(closure: MaskClosure, oid: number, attnum: number): string {
  const mask = closure.maskOf(oid, attnum);
  return mask === null ? '.' : mask.bare ? 'M' : 'm';
}

function close(relations: readonly CatalogRelation[], rules: readonly MaskingRule[]): MaskClosure {
  const names = new Map<string, number[]>();
  for (const { name, oid } of relations) names.set(name, [...(names.get(name) ?? []), oid]);
  const snapshot: CatalogSnapshot = {
    epoch: '1', relations: new Map(relations.map((item) => [item.oid, item])), relationsByName: names, functionsByName: new Map(), systemFunctions: new Set(['lower', 'upper', 'max', 'count', 'row_to_json']),
    userOperators: new Set(), userTypes: new Map(), typeBase: new Map(), schemas: new Set(['public']),
  };
  return closeMaskRules(snapshot, rules, { parseSql: (text) => attempt(() => parseSync(text)), parsePlPgSql: (text) => attempt(() => parsePlPgSQLSync(text)) });
}

function attempt(run: () => unknown): unknown {
  try {
    return run();
  } catch {
    return null;
  }
}

function table(oid: number, name: string, columns: readonly string[], parts: Partial<CatalogRelation> = {}): CatalogRelation {
  return { oid, schema: 'public', name, kind: 'r', columns: columns.map((column, index) => ({ attnum: index + 1, name: column, typeOid: 25, typeModifier: -1 })), parents: [], definition: null, ownedBy: null, hasTriggers: false, ...parts };
}

function view(oid: number, name: string, columns: readonly string[], definition: string): CatalogRelation {
  return { ...table(oid, name, columns), kind: 'v', definition };
}

function rule(style: MaskingRule['style'], path: string): MaskingRule {
  const [schema = '', name = '', column = ''] = path.split('.');
  return { columns: [{ schema, table: name, column }], detectors: null, style, keepFirst: 0, keepLast: style === 'Partial' ? 4 : 0, predicates: 'Deny' };
}
