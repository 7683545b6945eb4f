import type { CatalogRelation } from '../catalog-snapshot.ts';
import type { Environment } from './environment.ts';
import { taintOf } from './expressions.ts';
import type { Frame } from './scope.ts';
import { newTrace } from './taint.ts';
import { bodyOf, isConstant, listOf, type Node, namesOf, objectOf, textOf } from './tree.ts';

/**
 * True when every command of an ALTER TABLE leaves the masked columns of its relation alone: what it adds, drops, checks or indexes are other columns.
 * A command that is not listed is not known to.
 */
export function altersOtherColumns(body: Node, relations: readonly CatalogRelation[], env: Environment): boolean {
  return listOf(body['cmds']).every((item) => {
    const command = bodyOf(item, 'AlterTableCmd');
    return command !== null && relations.every((relation) => isHarmless(command, relation, env));
  });
}

function isHarmless(command: Node, relation: CatalogRelation, env: Environment): boolean {
  const isClear = isClearColumn(relation, textOf(command['name']) ?? '', env);
  switch (command['subtype']) {
    case 'AT_AddColumn':
      return listOf(bodyOf(command['def'], 'ColumnDef')?.['constraints']).every((item) => isPlainConstraint(bodyOf(item, 'Constraint')));
    case 'AT_ColumnDefault':
      return isClear && (command['def'] === undefined || isConstant(command['def']));
    case 'AT_DropColumn':
    case 'AT_SetNotNull':
    case 'AT_DropNotNull':
    case 'AT_SetStatistics':
      return isClear;
    case 'AT_AddConstraint':
      return isOverClearColumns(bodyOf(command['def'], 'Constraint'), relation, env);
    case 'AT_DropConstraint':
      return true;
    default:
      return false;
  }
}

/** A new column is filled with one constant, or with nothing. */
function isPlainConstraint(constraint: Node | null): boolean {
  if (constraint?.['contype'] === 'CONSTR_DEFAULT') return isConstant(constraint['raw_expr']);
  return constraint?.['contype'] === 'CONSTR_NOTNULL' || constraint?.['contype'] === 'CONSTR_NULL';
}

/** Whether a constraint holds would otherwise be an answer about the values. */
function isOverClearColumns(constraint: Node | null, relation: CatalogRelation, env: Environment): boolean {
  if (constraint?.['contype'] === 'CONSTR_CHECK') return isClearExpression(constraint['raw_expr'], relation, env);
  const keys = namesOf(constraint?.['keys']) ?? [];
  const isKey = constraint?.['contype'] === 'CONSTR_UNIQUE' || constraint?.['contype'] === 'CONSTR_PRIMARY';
  return isKey && keys.length > 0 && objectOf(constraint?.['indexname']) === null && keys.every((name) => isClearColumn(relation, name, env));
}

/** True for a column that the relation has and that is not masked. */
export function isClearColumn(relation: CatalogRelation, name: string, env: Environment): boolean {
  const column = relation.columns.find((candidate) => candidate.name === name);
  return column !== undefined && env.closure.maskOf(relation.oid, column.attnum) === null;
}

/** True for an expression over one relation that no masked column of it reaches, and that can be followed. */
export function isClearExpression(value: unknown, relation: CatalogRelation, env: Environment): boolean {
  const columns = relation.columns.map((column) => ({ name: column.name, mask: env.closure.maskOf(relation.oid, column.attnum), typeOid: column.typeOid }));
  const frame: Frame = { entries: [{ alias: relation.name, schema: relation.schema, columns, unqualified: true }], outer: null };
  const trace = newTrace(env, 'judge', false);
  return taintOf(value, { frame, commonTables: null }, trace) === null && trace.denial === null;
}
