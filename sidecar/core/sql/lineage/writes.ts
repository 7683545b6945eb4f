import { checkWhere, taintOf } from './expressions.ts';
import { fromItems, relationEntry } from './from.ts';
import { queryColumns, targetColumns, withCommonTables } from './queries.ts';
import { type RangeEntry, resolveColumn, type Scope } from './scope.ts';
import { surveyTree } from './survey.ts';
import { forbid, giveUp, type Trace, type TracedColumn } from './taint.ts';
import { bodyOf, itemsOf, listOf, type Node, namesOf, objectOf, textOf, type Wrapped } from './tree.ts';

/**
 * The RETURNING columns of INSERT, UPDATE, DELETE or MERGE; empty without RETURNING.
 *
 * Values written must be free of masked columns, whatever they are written to: RETURNING and later reads show the target, not the source.
 * Parameters written to a masked column are noted in the trace.
 */
export function writeColumns(statement: Wrapped, scope: Scope, trace: Trace, isOutermost: boolean): readonly TracedColumn[] {
  const { type, body } = statement;
  const commonTables = withCommonTables(objectOf(body['withClause']), scope, trace);
  const inner: Scope = { frame: scope.frame, commonTables };
  const target = relationEntry(objectOf(body['relation']) ?? {}, inner, trace, false);
  switch (type) {
    case 'InsertStmt':
      return insert(body, target, inner, trace);
    case 'UpdateStmt':
      return change(body, target, listOf(body['fromClause']), inner, trace, isOutermost);
    case 'DeleteStmt':
      return change(body, target, listOf(body['usingClause']), inner, trace, isOutermost);
    case 'MergeStmt':
      return merge(body, target, inner, trace);
    default:
      giveUp(trace, `"${type}" cannot be followed`);
      return [];
  }
}

function insert(body: Node, target: RangeEntry, scope: Scope, trace: Trace): readonly TracedColumn[] {
  const listed = listOf(body['cols']).map((item) => textOf(bodyOf(item, 'ResTarget')?.['name']));
  const targets = listed.length > 0 ? listed.map((name) => columnOf(target, name)) : (target.columns ?? []);
  const query = bodyOf(body['selectStmt'], 'SelectStmt');
  if (query && Array.isArray(query['valuesLists']) && ['withClause', 'sortClause', 'limitCount', 'limitOffset'].every((field) => query[field] === undefined)) {
    for (const row of listOf(query['valuesLists'])) for (const [index, item] of itemsOf(row).entries()) write(targets[index], item, scope, trace);
  } else if (query) {
    for (const column of queryColumns(query, scope, trace, false)) forbid(trace, column.mask, 'a query that is written to a table');
    if (targets.length === 0 || targets.some((column) => !column || column.mask)) trace.writesFromElsewhere = true;
  }
  conflict(body, target, targets, scope, trace);
  return returning(body, target, [], scope, trace);
}

function conflict(body: Node, target: RangeEntry, targets: readonly (TracedColumn | null)[], scope: Scope, trace: Trace): void {
  const clause = objectOf(body['onConflictClause']);
  if (!clause) return;
  const inference = objectOf(clause['infer']);
  const own: Scope = { ...scope, frame: { entries: [target], outer: scope.frame } };
  const elements = listOf(inference?.['indexElems']).map((item) => bodyOf(item, 'IndexElem'));
  for (const element of elements) {
    forbid(trace, columnOf(target, textOf(element?.['name']))?.mask ?? null, 'ON CONFLICT');
    forbid(trace, taintOf(element?.['expr'], own, trace), 'ON CONFLICT');
  }
  forbid(trace, taintOf(inference?.['whereClause'], own, trace), 'ON CONFLICT');
  // Without named columns any unique constraint decides, one over a masked column too: the row count would answer a guess.
  if (elements.length === 0) for (const column of targets) forbid(trace, column?.mask ?? null, 'an INSERT whose ON CONFLICT names no columns');
  const excluded: RangeEntry = { alias: 'excluded', schema: null, columns: target.columns, unqualified: false };
  const both: Scope = { ...scope, frame: { entries: [target, excluded], outer: scope.frame } };
  assign(listOf(clause['targetList']), target, both, trace);
  forbid(trace, taintOf(clause['whereClause'], both, trace), 'ON CONFLICT');
}

function change(body: Node, target: RangeEntry, items: readonly unknown[], scope: Scope, trace: Trace, isOutermost: boolean): readonly TracedColumn[] {
  // FROM and USING items see each other through LATERAL only; they never see the target.
  const from = fromItems(items, scope, trace);
  const inner: Scope = { ...scope, frame: { entries: [target, ...from.entries], outer: scope.frame } };
  assign(listOf(body['targetList']), target, inner, trace);
  checkWhere(body['whereClause'], inner, trace, isOutermost);
  return returning(body, target, from.entries, scope, trace, from.star);
}

function merge(body: Node, target: RangeEntry, scope: Scope, trace: Trace): readonly TracedColumn[] {
  const source = fromItems([body['sourceRelation']], scope, trace);
  const inner: Scope = { ...scope, frame: { entries: [target, ...source.entries], outer: scope.frame } };
  forbid(trace, taintOf(body['joinCondition'], inner, trace), 'MERGE ON');
  for (const item of listOf(body['mergeWhenClauses'])) {
    const clause = bodyOf(item, 'MergeWhenClause');
    if (!clause) {
      giveUp(trace, 'a branch of MERGE cannot be read');
      continue;
    }
    forbid(trace, taintOf(clause['condition'], inner, trace), 'a MERGE condition');
    const values = listOf(clause['values']);
    const targets = listOf(clause['targetList']);
    if (values.length === 0) {
      assign(targets, target, inner, trace);
      continue;
    }
    const columns = targets.length > 0 ? targets.map((entry) => columnOf(target, textOf(bodyOf(entry, 'ResTarget')?.['name']))) : (target.columns ?? []);
    for (const [index, value] of values.entries()) write(columns[index], value, inner, trace);
  }
  // RETURNING * of MERGE gives the source's columns first.
  return returning(body, target, source.entries, scope, trace, source.star, true);
}

function assign(targets: readonly unknown[], target: RangeEntry, scope: Scope, trace: Trace): void {
  for (const item of targets) {
    const assignment = bodyOf(item, 'ResTarget');
    const column = columnOf(target, textOf(assignment?.['name']));
    if (!assignment) giveUp(trace, 'an assignment cannot be read');
    else {
      forbid(trace, taintOf(assignment['indirection'], scope, trace), 'an assignment');
      if (!isUpsertOfItself(assignment, scope, trace)) write(column, assignment['val'], scope, trace);
    }
  }
}

/** `set ssn = excluded.ssn`: the value that this very statement brings, into its own column. */
function isUpsertOfItself(assignment: Node, scope: Scope, trace: Trace): boolean {
  const reference = bodyOf(assignment['val'], 'ColumnRef');
  const names = namesOf(reference?.['fields']);
  const isOwn = names?.length === 2 && names[0] === 'excluded' && names[1] === assignment['name'] && scope.frame?.entries[1]?.alias === 'excluded' && !scope.frame.entries[1].unqualified;
  return isOwn && reference !== null && resolveColumn(reference, scope, trace).kind === 'column';
}

function write(column: TracedColumn | null | undefined, value: unknown, scope: Scope, trace: Trace): void {
  forbid(trace, taintOf(value, scope, trace), 'a value that is written to a table');
  // An unknown target may be a masked one as far as the record is concerned.
  if (column === undefined || column === null || column.mask) noteParameters(value, trace);
}

function noteParameters(value: unknown, trace: Trace): void {
  const survey = surveyTree(value);
  for (const parameter of survey?.parameters ?? []) trace.maskedParameters.add(parameter);
  if (!survey || survey.columns.length > 0 || survey.selects.length > 0) trace.writesFromElsewhere = true;
}

function columnOf(target: RangeEntry, name: string | null): TracedColumn | null {
  return target.columns?.find((column) => column.name === name) ?? null;
}

function returning(
  body: Node, target: RangeEntry, others: readonly RangeEntry[], scope: Scope, trace: Trace, otherStar: readonly TracedColumn[] | null = [], othersFirst = false,
): readonly TracedColumn[] {
  const clause = objectOf(body['returningClause']);
  const targets = clause ? listOf(clause['exprs']) : listOf(body['returningList']);
  if (targets.length === 0) return [];
  const aliases = new Set(['old', 'new', ...listOf(clause?.['options']).map((option) => textOf(bodyOf(option, 'ReturningOption')?.['value']) ?? '')]);
  const versions = [...aliases].map((alias): RangeEntry => ({ alias, schema: null, columns: target.columns, unqualified: false }));
  const inner: Scope = { ...scope, frame: { entries: [target, ...others, ...versions], outer: scope.frame } };
  const star = target.columns && otherStar ? (othersFirst ? [...otherStar, ...target.columns] : [...target.columns, ...otherStar]) : null;
  return targetColumns(targets, inner, star, trace);
}
