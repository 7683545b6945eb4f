import { describe, expect, test } from '@jest/globals';
import type { MaskingRule } from '../../../contract/proxy-config.ts';
import type { CatalogRelation, CatalogSnapshot } from '../sql/catalog-snapshot.ts';
import { closeMaskRules } from '../sql/mask-closure.ts';
import { planRow } from './cross-check.ts';
import type { FieldDescription } from './masker.ts';

const bare = { rule: 0, bare: true };

describe('the cross-check of lineage with the origin of columns', () => {
  test('lineage and origin agree: the mask of lineage holds', () => {
    expect(plan([field(1, 1), field(1, 2)], { outcome: 'columns', columns: [null, bare] })).toEqual({ outcome: 'planned', columns: [null, bare] });
  });

  test('an origin that is not masked never removes a mask', () => {
    expect(plan([field(1, 1), field(0, 0), field(9, 3)], { outcome: 'columns', columns: [bare, bare, bare] })).toEqual({ outcome: 'planned', columns: [bare, bare, bare] });
  });

  test('the stricter rule of the two wins, and a changed value stays changed', () => {
    expect(plan([field(1, 2)], { outcome: 'columns', columns: [{ rule: 1, bare: true }] })).toEqual({ outcome: 'planned', columns: [{ rule: 0, bare: true }] });
    expect(plan([field(1, 3)], { outcome: 'columns', columns: [{ rule: 0, bare: false }] })).toMatchObject({ columns: [{ rule: 0, bare: false }] });
  });

  test.each([
    ['a masked column by origin that lineage calls clear', [field(1, 2)], { outcome: 'columns', columns: [null] }],
    ['a masked column by origin of a statement that touches nothing masked', [field(1, 2)], { outcome: 'clear' }],
    ['a whole row of a masked relation', [field(1, 0)], { outcome: 'clear' }],
    ['a whole row of a masked relation, even when lineage would mask it', [field(1, 0)], { outcome: 'columns', columns: [bare] }],
    ['more columns than lineage found', [field(0, 0), field(0, 0)], { outcome: 'columns', columns: [bare] }],
    ['rows where lineage expects none', [field(0, 0)], { outcome: 'columns', columns: [] }],
    ['a column of a relation that may not be read', [field(2, 1)], { outcome: 'clear' }],
  ] as const)('%s is refused', (_name, fields, judgement) => {
    expect(plan(fields, judgement)).toMatchObject({ outcome: 'refused', denial: { code: 'MASKING_UNPROVEN' } });
  });

  test('a clear statement is planned without masks', () => {
    expect(plan([field(1, 1), field(5, 0), field(0, 0)], { outcome: 'clear' })).toEqual({ outcome: 'planned', columns: [null, null, null] });
  });
});

function plan(fields: readonly FieldDescription[], judgement: Parameters<typeof planRow>[1]): ReturnType<typeof planRow> {
  const rules = [rule('Redact', 'x'), rule('Partial', 'y')];
  return planRow(fields, judgement, closeMaskRules(snapshot(), rules, { parseSql: () => null, parsePlPgSql: () => null }), rules);
}

function snapshot(): CatalogSnapshot {
  const relations = [relation(1, 'a', ['id', 'x', 'y']), relation(2, 'f', ['q'], 'f')];
  return {
    epoch: '1', relations: new Map(relations.map((item) => [item.oid, item])), relationsByName: new Map(relations.map((item) => [item.name, [item.oid]])), functionsByName: new Map(), systemFunctions: new Set(),
    userOperators: new Set(), userTypes: new Map(), typeBase: new Map(), schemas: new Set(),
  };
}

function relation(oid: number, name: string, columns: readonly string[], kind: CatalogRelation['kind'] = 'r'): CatalogRelation {
  return { oid, schema: 'public', name, kind, columns: columns.map((column, index) => ({ attnum: index + 1, name: column, typeOid: 25, typeModifier: -1 })), parents: [], definition: null, ownedBy: null, hasTriggers: false };
}

function field(tableOid: number, attnum: number): FieldDescription {
  return { name: 'any', tableOid, attnum, typeOid: 25, typeModifier: -1, format: 0 };
}

function rule(style: MaskingRule['style'], column: string): MaskingRule {
  return { columns: [{ schema: 'public', table: 'a', column }], detectors: null, style, keepFirst: 0, keepLast: 0, predicates: 'Deny' };
}
