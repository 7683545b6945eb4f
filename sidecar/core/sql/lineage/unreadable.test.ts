import { describe, expect, test } from '@jest/globals';
import type { MaskingRule } from '../../../../contract/proxy-config.ts';
import type { CatalogFunction, CatalogRelation, CatalogSnapshot, NameScope } from '../catalog-snapshot.ts';
import { judgeMasking } from '../lineage.ts';
import { closeMaskRules } from '../mask-closure.ts';
import { constantOf } from '../parse-tree.ts';

// Trees that today's grammar does not make: a newer one might, and then nothing of them may pass.
const staff: CatalogRelation = {
  oid: 1, schema: 'hr', name: 'staff', kind: 'r', parents: [], definition: null, ownedBy: null, hasTriggers: false,
  columns: ['id', 'name', 'iban'].map((name, index) => ({ attnum: index + 1, name, typeOid: 25, typeModifier: -1 })),
};
const audited: CatalogRelation = { ...staff, oid: 2, name: 'audited', hasTriggers: true, triggerFunctions: [900] };
const inPython: CatalogFunction = { oid: 900, schema: 'hr', name: 'stamp', language: 'plpython3u', body: 'x', returnsSet: false, isTrigger: true };
const catalog: CatalogSnapshot = {
  epoch: 'e', relations: new Map([[1, staff], [2, audited]]), relationsByName: new Map([['staff', [1]], ['audited', [2]]]), functionsByName: new Map([['stamp', [inPython]]]), systemFunctions: new Set(['json_to_record', 'generate_series']), userOperators: new Set(),
  userTypes: new Map(), typeBase: new Map(), schemas: new Set(['hr', 'public', 'pg_catalog']),
};
const scope: NameScope = { catalog, searchPath: ['public'], temporaryRelations: new Set(), database: 'bank' };
const rules: readonly MaskingRule[] = [{ columns: [{ schema: 'hr', table: 'staff', column: 'iban' }], detectors: null, style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' }];
const parse = { parseSql: () => null, parsePlPgSql: () => null };
const outcome = (statement: unknown): string => judgeMasking(statement, scope, closeMaskRules(catalog, rules, parse), rules, parse).judgement.outcome;

const column = (name: string): unknown => ({ ColumnRef: { fields: [{ String: { sval: name } }] } });
const target = (val: unknown): unknown => ({ ResTarget: { val } });
const from = { RangeVar: { schemaname: 'hr', relname: 'staff', inh: true, relpersistence: 'p' } };
const select = (changes: Readonly<Record<string, unknown>>): unknown => ({ SelectStmt: { targetList: [target(column('iban'))], fromClause: [from], op: 'SETOP_NONE', limitOption: 'LIMIT_OPTION_DEFAULT', ...changes } });

describe('beside a masked column, what cannot be read is refused', () => {
  test('the same statement without it is followed', () => {
    expect(outcome(select({}))).toBe('columns');
  });

  test.each<[string, unknown]>([
    ['an output column', select({ targetList: [{ Odd: {} }, target(column('iban'))] })],
    ['an item of FROM', select({ fromClause: [from, { Odd: {} }] })],
    ['a subquery', select({ targetList: [target({ SubLink: { subLinkType: 'EXPR_SUBLINK', subselect: { Odd: {} } } }), target(column('iban'))] })],
    ['an item of ORDER BY', select({ sortClause: [{ Odd: {} }] })],
    ['a NATURAL join with columns that nobody knows', select({ fromClause: [{ JoinExpr: { jointype: 'JOIN_INNER', isNatural: true, larg: from, rarg: { RangeFunction: { functions: [{ List: { items: [{ FuncCall: { funcname: [{ String: { sval: 'json_to_record' } }] } }] } }] } } } }] })],
    ['a statement in WITH', select({ withClause: { ctes: [{ CommonTableExpr: { ctename: 'q', ctequery: { OddStmt: { relation: { schemaname: 'hr', relname: 'staff' } } } } }] } })],
    ['a branch of MERGE', { MergeStmt: { relation: { schemaname: 'hr', relname: 'staff', inh: true }, sourceRelation: { RangeVar: { schemaname: 'hr', relname: 'staff', inh: true } }, mergeWhenClauses: [{ Odd: {} }] } }],
    ['a trigger in a language without a grammar here', { InsertStmt: { relation: { schemaname: 'hr', relname: 'audited', inh: true }, selectStmt: { SelectStmt: { valuesLists: [{ List: { items: [{ A_Const: { ival: { ival: 1 } } }] } }], op: 'SETOP_NONE' } } } }],
    ['a CREATE SCHEMA with elements of its own', { CreateSchemaStmt: { schemaname: 's', schemaElts: [{ CreateStmt: { relation: { relname: 't' } } }] } }],
  ])('%s', (_what, statement) => {
    expect(outcome(statement)).toBe('refused');
  });

  test('a recursive query that names one further on', () => {
    const cte = (name: string, relname: string): unknown => ({ CommonTableExpr: { ctename: name, ctequery: { SelectStmt: { targetList: [target({ ColumnRef: { fields: [{ A_Star: {} }] } })], fromClause: [{ RangeVar: { relname, inh: true } }], op: 'SETOP_NONE' } } } });
    expect(outcome(select({ withClause: { recursive: true, ctes: [cte('a', 'b'), cte('b', 'a')] } }))).toBe('refused');
  });
});

test('a constant of a kind that is no text has no text', () => {
  expect([constantOf({ A_Const: { bsval: { bsval: 'b101' } } }), constantOf({ A_Const: { boolval: { boolval: true } } }), constantOf({ A_Const: { boolval: {} } })]).toEqual([null, 'true', 'false']);
});
