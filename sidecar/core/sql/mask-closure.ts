import type { MaskingRule } from '../../../contract/proxy-config.ts';
import type { CatalogFunction, CatalogRelation, CatalogSnapshot } from './catalog-snapshot.ts';
import type { Environment, MaskParse } from './lineage/environment.ts';
import { deriveColumns, deriveExpression } from './lineage/derive.ts';
import { type ColumnRule, strictest } from './lineage/taint.ts';

/** Which columns of one database carry masked values, through every relation that shows them. Belongs to one catalog epoch and one list of rules. */
export interface MaskClosure {
  /** No rule names a column: only what is refused in every masked session applies. */
  readonly isEmpty: boolean;
  /** Index of the strictest rule that covers the column, or null. */
  ruleOf(relationOid: number, attnum: number): number | null;
  /** The same with `bare`: false where a view or a generated column changes the value. */
  maskOf(relationOid: number, attnum: number): ColumnRule | null;
  /** The relation has a masked column, or may not be read at all. */
  isTouched(relationOid: number): boolean;
  /** Why the relation may not be read in a masked session, or null. */
  problemOf(relationOid: number): string | null;
  /** Rules that name a column that does not exist, in words, for the policy's condition. */
  readonly problems: readonly string[];
  /** Names of all masked columns, in any relation. */
  readonly maskedNames: ReadonlySet<string>;
  /** The relation, its partitions and children, and what stands behind a view: whatever a write to it can reach. */
  writtenWith(relation: CatalogRelation): readonly CatalogRelation[];
  functionsOf(oids: readonly number[]): readonly CatalogFunction[];
  /** Memory of `functionProblem`, at most one entry per function of the catalog. */
  readonly functionProblems: Map<number, string | null>;
  /** The same for texts of column defaults. */
  readonly defaultProblems: Map<string, string | null>;
}

type Columns = Map<number, ColumnRule>;

/**
 * Follows each masked column to every place that shows its values: inheritance children and partitions, their parents (whose scans return the
 * children's rows), generated columns, views and materialized views by lineage of their definition. A definition that cannot be followed masks all
 * its outputs; one that uses what a masked session may not use cannot be read. A foreign table is readable only when a rule names one of its columns.
 *
 * @param rules the session's rules; results are indices into this list.
 */
export function closeMaskRules(snapshot: CatalogSnapshot, rules: readonly MaskingRule[], parse: MaskParse): MaskClosure {
  const masks = new Map<number, Columns>();
  const problems = new Map<number, string>();
  const named = nameColumns(snapshot, rules, masks, problems);
  spreadOverInheritance(snapshot, masks, rules, [...masks.keys()]);
  const maskedNames = new Set<string>();
  const functions = new Map([...snapshot.functionsByName.values()].flat().map((item) => [item.oid, item]));
  const children = childrenOf(snapshot);
  const derived = new Map<number, 'running' | { readonly bases: readonly number[] }>();

  const derive = (oid: number): void => {
    const relation = snapshot.relations.get(oid);
    if (!relation || derived.has(oid) || named.isEmpty) return;
    derived.set(oid, 'running');
    const bases: number[] = [];
    if (relation.kind === 'f' && !masks.get(oid)?.size) problems.set(oid, `foreign table "${relation.name}" shows data from elsewhere and no rule names its columns`);
    if (relation.definition !== null && !isSystem(relation.schema)) {
      const found = deriveColumns(relation, relation.definition, env);
      bases.push(...found.bases);
      if (found.problem !== null) problems.set(oid, found.problem);
      for (const [attnum, mask] of found.columns) merge(columnsOf(masks, oid), attnum, mask, rules);
    }
    for (const column of relation.columns) {
      if (column.generated === undefined) continue;
      const mask = deriveExpression(relation, column.generated, env);
      if (mask) merge(columnsOf(masks, oid), column.attnum, { ...mask, bare: false }, rules);
    }
    derived.set(oid, { bases });
  };

  const closure: MaskClosure = {
    isEmpty: named.isEmpty,
    problems: named.problems,
    maskedNames,
    functionProblems: new Map(),
    defaultProblems: new Map(),
    ruleOf: (oid, attnum) => closure.maskOf(oid, attnum)?.rule ?? null,
    maskOf: (oid, attnum) => {
      derive(oid);
      return masks.get(oid)?.get(attnum) ?? null;
    },
    isTouched: (oid) => {
      derive(oid);
      return derived.get(oid) === 'running' || problems.has(oid) || (masks.get(oid)?.size ?? 0) > 0;
    },
    problemOf: (oid) => {
      derive(oid);
      return problems.get(oid) ?? null;
    },
    writtenWith: (relation) => reach(relation, (oid) => {
      derive(oid);
      const state = derived.get(oid);
      return [...(children.get(oid) ?? []), ...(state && state !== 'running' ? state.bases : [])].flatMap((next) => snapshot.relations.get(next) ?? []);
    }),
    functionsOf: (oids) => oids.flatMap((oid) => functions.get(oid) ?? []),
  };
  const env: Environment = { catalog: snapshot, searchPath: 'any', temporary: new Set(), created: new Set(), closure, rules, parse };
  // Generated columns of every table first: a child or a view may show them.
  const generating = [...snapshot.relations.values()].filter((relation) => relation.columns.some((column) => column.generated !== undefined)).map((relation) => relation.oid);
  for (const oid of generating) derive(oid);
  spreadOverInheritance(snapshot, masks, rules, generating);
  for (const oid of snapshot.relations.keys()) derive(oid);
  for (const [oid, columns] of masks) for (const column of snapshot.relations.get(oid)?.columns ?? []) if (columns.has(column.attnum)) maskedNames.add(column.name);
  // Answers given while names were still being collected may lack some.
  closure.functionProblems.clear();
  closure.defaultProblems.clear();
  return closure;
}

function nameColumns(
  snapshot: CatalogSnapshot, rules: readonly MaskingRule[], masks: Map<number, Columns>, denied: Map<number, string>,
): { readonly isEmpty: boolean; readonly problems: readonly string[] } {
  const problems: string[] = [];
  let isEmpty = true;
  for (const [rule, { columns, predicates }] of rules.entries()) {
    for (const { schema, table, column } of columns ?? []) {
      isEmpty = false;
      const relations = (snapshot.relationsByName.get(table) ?? []).flatMap((oid) => snapshot.relations.get(oid) ?? []).filter((relation) => relation.schema === schema);
      if (relations.length === 0) problems.push(`masking rule ${rule}: relation ${schema}.${table} does not exist`);
      for (const relation of relations) {
        const found = relation.columns.find((candidate) => candidate.name === column);
        if (found) merge(columnsOf(masks, relation.oid), found.attnum, { rule, bare: true, equality: predicates === 'Equality' }, rules);
        else {
          problems.push(`masking rule ${rule}: column ${schema}.${table}.${column} does not exist`);
          denied.set(relation.oid, `a masking rule names a column of "${table}" that does not exist`);
        }
      }
    }
  }
  return { isEmpty, problems };
}

/** Down from each masked column to children, then up: a scan of a parent returns its children's rows. Columns pair by name, as the server pairs them. */
function spreadOverInheritance(snapshot: CatalogSnapshot, masks: Map<number, Columns>, rules: readonly MaskingRule[], starts: readonly number[]): void {
  const children = childrenOf(snapshot);
  const copy = (from: number, to: number): void => {
    const [source, target] = [snapshot.relations.get(from), snapshot.relations.get(to)];
    for (const [attnum, mask] of masks.get(from) ?? []) {
      const name = source?.columns.find((column) => column.attnum === attnum)?.name;
      const twin = target?.columns.find((column) => column.name === name);
      if (twin) merge(columnsOf(masks, to), twin.attnum, mask, rules);
    }
  };
  const reached = new Set(starts);
  walk(starts, (oid) => children.get(oid) ?? [], (from, to) => {
    reached.add(to);
    copy(from, to);
  });
  walk([...reached], (oid) => snapshot.relations.get(oid)?.parents ?? [], copy);
}

function walk(starts: readonly number[], next: (oid: number) => readonly number[], copy: (from: number, to: number) => void): void {
  for (const start of starts) {
    const seen = new Set([start]);
    const queue = [start];
    for (let oid = queue.shift(); oid !== undefined; oid = queue.shift()) {
      for (const to of next(oid)) {
        copy(oid, to);
        if (!seen.has(to)) queue.push(to);
        seen.add(to);
      }
    }
  }
}

function childrenOf(snapshot: CatalogSnapshot): ReadonlyMap<number, readonly number[]> {
  const children = new Map<number, number[]>();
  for (const relation of snapshot.relations.values()) {
    for (const parent of relation.parents) {
      const list = children.get(parent) ?? [];
      children.set(parent, list);
      list.push(relation.oid);
    }
  }
  return children;
}

function reach(start: CatalogRelation, next: (oid: number) => readonly CatalogRelation[]): readonly CatalogRelation[] {
  const found = new Map([[start.oid, start]]);
  for (const relation of found.values()) for (const further of next(relation.oid)) found.set(further.oid, further);
  return [...found.values()];
}

function columnsOf(masks: Map<number, Columns>, oid: number): Columns {
  const columns = masks.get(oid) ?? new Map<number, ColumnRule>();
  masks.set(oid, columns);
  return columns;
}

function merge(columns: Columns, attnum: number, mask: ColumnRule, rules: readonly MaskingRule[]): void {
  const existing = columns.get(attnum);
  columns.set(attnum, existing ? strictest(existing, mask, rules) : mask);
}

function isSystem(schema: string): boolean {
  return schema === 'pg_catalog' || schema === 'information_schema';
}
