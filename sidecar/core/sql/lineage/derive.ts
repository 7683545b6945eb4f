import type { CatalogRelation } from '../catalog-snapshot.ts';
import { findBarrier, relationsOf } from './barriers.ts';
import type { Environment } from './environment.ts';
import { taintOf } from './expressions.ts';
import { statementsOf } from './functions.ts';
import { queryColumns } from './queries.ts';
import { surveyTree } from './survey.ts';
import { type ColumnRule, join, newTrace, type TracedColumn } from './taint.ts';
import { bodyOf, listOf } from './tree.ts';

/** What a view shows. `problem`: it cannot be read in a masked session. `bases`: relations that its definition names. */
export interface DerivedColumns {
  readonly columns: readonly (readonly [attnum: number, mask: ColumnRule])[];
  readonly bases: readonly number[];
  readonly problem: string | null;
}

/**
 * Follows masked columns through the definition of a view or materialized view.
 *
 * What stands in its WHERE is its owner's choice and masks nothing. Any doubt (a node that cannot be followed, another number of columns) masks all outputs.
 */
export function deriveColumns(relation: CatalogRelation, definition: string, env: Environment): DerivedColumns {
  const statements = statementsOf(env.parse.parseSql(definition));
  const query = statements?.length === 1 ? bodyOf(statements[0], 'SelectStmt') : null;
  const survey = query && surveyTree(statements?.[0]);
  if (!query || !survey) return { columns: [], bases: [], problem: `the definition of "${relation.name}" cannot be read` };
  const bases = relationsOf(survey, env);
  const oids = bases.map((base) => base.oid);
  const barrier = findBarrier(survey, env);
  if (barrier) return { columns: [], bases: oids, problem: `"${relation.name}": ${barrier.detail ?? barrier.message}` };
  const touched = bases.filter((base) => env.closure.isTouched(base.oid));
  if (touched.length === 0) return { columns: [], bases: oids, problem: null };
  const trace = newTrace(env, 'derive', false);
  const outputs = queryColumns(query, { frame: null, commonTables: null }, trace, false);
  if (trace.denial === null && outputs.length === relation.columns.length) return { columns: pair(relation, outputs), bases: oids, problem: null };
  const any = join(trace, touched.flatMap((base) => base.columns.map((column) => env.closure.maskOf(base.oid, column.attnum))));
  if (!any) return { columns: [], bases: oids, problem: `"${relation.name}" cannot be followed` };
  return { columns: relation.columns.map((column) => [column.attnum, { ...any, bare: false }] as const), bases: oids, problem: null };
}

/** The masks that reach a generated column of a relation. */
export function deriveExpression(relation: CatalogRelation, expression: string, env: Environment): ColumnRule | null {
  const statements = statementsOf(env.parse.parseSql(`SELECT ${expression}`));
  const target = bodyOf(listOf(bodyOf(statements?.[0], 'SelectStmt')?.['targetList'])[0], 'ResTarget');
  const masks = new Map(relation.columns.map((column) => [column.attnum, column.generated === undefined ? env.closure.maskOf(relation.oid, column.attnum) : null]));
  const columns: TracedColumn[] = relation.columns.map((column) => ({ name: column.name, mask: masks.get(column.attnum) ?? null, typeOid: null }));
  const trace = newTrace(env, 'derive', false);
  const frame = { entries: [{ alias: relation.name, schema: null, columns, unqualified: true }], outer: null };
  const taint = target ? taintOf(target['val'], { frame, commonTables: null }, trace) : null;
  const any = join(trace, [...masks.values()]);
  return target && trace.denial === null ? taint : any;
}

function pair(relation: CatalogRelation, outputs: readonly TracedColumn[]): readonly (readonly [number, ColumnRule])[] {
  return outputs.flatMap((output, index) => {
    const column = relation.columns[index];
    return column && output.mask ? [[column.attnum, output.mask] as const] : [];
  });
}
