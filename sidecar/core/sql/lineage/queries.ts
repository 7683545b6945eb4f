import { fromItems, type From } from './from.ts';
import { isTotal } from './total.ts';
import { checkWhere, isTotalText, outputName, scalarSubquery, taintOf } from './expressions.ts';
import { type CommonTables, findEntries, forbidColumns, type Frame, resolveColumn, type Scope } from './scope.ts';
import { forbid, giveUp, join, type Trace, type TracedColumn } from './taint.ts';
import { bodyOf, itemsOf, listOf, type Node, namesOf, objectOf, textOf, unwrap } from './tree.ts';
import { writeColumns } from './writes.ts';

/** `pg_type.oid` of text. */
const textOid = 25;

/**
 * The output columns of a SelectStmt body, each with the masked columns that reach it.
 *
 * @param scope what the query sees around itself: outer levels and WITH queries.
 * @param isOutermost the statement itself, not a subquery: its WHERE may hold an allowed equality.
 */
export function queryColumns(query: Node, scope: Scope, trace: Trace, isOutermost: boolean): readonly TracedColumn[] {
  const commonTables = withCommonTables(objectOf(query['withClause']), scope, trace);
  const inner: Scope = { frame: scope.frame, commonTables };
  if (query['op'] !== undefined && query['op'] !== 'SETOP_NONE') return setOperation(query, inner, trace);
  if (Array.isArray(query['valuesLists'])) return valuesColumns(query, inner, trace);
  return plainSelect(query, inner, trace, isOutermost);
}

/** Adds the queries of a WITH clause to those in reach. */
export function withCommonTables(clause: Node | null, scope: Scope, trace: Trace): CommonTables | null {
  let reach = scope.commonTables;
  const isRecursive = clause?.['recursive'] === true;
  const items = listOf(clause?.['ctes']).map((item) => bodyOf(item, 'CommonTableExpr'));
  // RECURSIVE lets a query name later ones too; only its own name is followed here.
  const names = items.map((item) => textOf(item?.['ctename']));
  for (const [index, item] of items.entries()) {
    if (!item) continue;
    const name = names[index] ?? '';
    if (isRecursive && mentionsLater(item, names.slice(index + 1))) giveUp(trace, 'a WITH query names a later one');
    const columns = renamed(isRecursive ? recursiveColumns(item, name, { ...scope, commonTables: reach }, trace) : commonColumns(item, { ...scope, commonTables: reach }, trace), item['aliascolnames']);
    if (item['search_clause'] !== undefined || item['cycle_clause'] !== undefined) giveUp(trace, 'SEARCH and CYCLE cannot be followed');
    reach = { name, columns, next: reach };
  }
  return reach;
}

/** Gives the first columns the names of a column alias list. */
export function renamed(columns: readonly TracedColumn[], aliases: unknown): readonly TracedColumn[] {
  const names = namesOf(aliases) ?? [];
  return columns.map((column, index) => (names[index] === undefined ? column : { ...column, name: names[index] }));
}

/** Output columns of a target or RETURNING list. */
export function targetColumns(targets: readonly unknown[], scope: Scope, star: readonly TracedColumn[] | null, trace: Trace): readonly TracedColumn[] {
  return targets.flatMap((item) => {
    const target = bodyOf(item, 'ResTarget');
    if (!target) {
      giveUp(trace, 'an output column cannot be read');
      return [];
    }
    return starColumns(target['val'], scope, star, trace) ?? [outputColumn(target['val'], outputName(target), scope, trace)];
  });
}

function commonColumns(item: Node, scope: Scope, trace: Trace): readonly TracedColumn[] {
  const query = unwrap(item['ctequery']);
  // A WITH query does not see the tables of the query that it belongs to, but it sees the levels around that query.
  if (query?.type === 'SelectStmt') return queryColumns(query.body, scope, trace, false);
  return query ? writeColumns(query, scope, trace, false) : [];
}

/** Follows a recursive WITH query until no more masks arrive: at most once per column. */
function recursiveColumns(item: Node, name: string, scope: Scope, trace: Trace): readonly TracedColumn[] {
  const query = bodyOf(item['ctequery'], 'SelectStmt');
  if (query?.['op'] !== 'SETOP_UNION') return commonColumns(item, scope, trace);
  const withInner: Scope = { ...scope, commonTables: withCommonTables(objectOf(query['withClause']), scope, trace) };
  let columns = renamed(queryColumns(objectOf(query['larg']) ?? {}, withInner, trace, false), item['aliascolnames']);
  for (let round = 0; round <= columns.length; round++) {
    const own: CommonTables = { name, columns, next: withInner.commonTables };
    const next = combine(columns, queryColumns(objectOf(query['rarg']) ?? {}, { ...withInner, commonTables: own }, trace, false), trace);
    const isStable = next.every((column, index) => (column.mask === null) === (columns[index]?.mask === null) && column.mask?.bare === columns[index]?.mask?.bare && column.mask?.hidesNull === columns[index]?.mask?.hidesNull);
    columns = next;
    if (isStable) break;
  }
  if (query['all'] !== true) forbidColumns(trace, columns, 'a UNION that compares rows');
  return columns;
}

function mentionsLater(item: Node, later: readonly (string | null)[]): boolean {
  if (later.length === 0) return false;
  const text = JSON.stringify(item['ctequery']);
  return later.some((name) => name !== null && text.includes(`"relname":${JSON.stringify(name)}`));
}

function setOperation(query: Node, scope: Scope, trace: Trace): readonly TracedColumn[] {
  const left = queryColumns(objectOf(query['larg']) ?? {}, scope, trace, false);
  const right = queryColumns(objectOf(query['rarg']) ?? {}, scope, trace, false);
  const columns = combine(left, right, trace);
  // UNION without ALL, INTERSECT and EXCEPT compare values: the number of rows would answer a guess.
  if (query['all'] !== true || query['op'] !== 'SETOP_UNION') forbidColumns(trace, columns, 'a set operation that compares rows');
  checkOrder(query, columns, scope, trace);
  return columns;
}

function combine(left: readonly TracedColumn[], right: readonly TracedColumn[], trace: Trace): readonly TracedColumn[] {
  if (left.length !== right.length) giveUp(trace, 'the sides of a set operation differ in their columns');
  return left.map((column, index) => ({ name: column.name, mask: join(trace, [column.mask, right[index]?.mask ?? null]), typeOid: column.typeOid === right[index]?.typeOid ? column.typeOid : null }));
}

function valuesColumns(query: Node, scope: Scope, trace: Trace): readonly TracedColumn[] {
  const rows = listOf(query['valuesLists']).map((row) => itemsOf(row).map((item, index) => outputColumn(item, `column${index + 1}`, scope, trace)));
  const columns = rows.slice(1).reduce<readonly TracedColumn[]>((all, row) => combine(all, row, trace), rows[0] ?? []);
  checkOrder(query, columns, scope, trace);
  return columns;
}

function plainSelect(query: Node, scope: Scope, trace: Trace, isOutermost: boolean): readonly TracedColumn[] {
  const from: From = fromItems(listOf(query['fromClause']), scope, trace);
  const frame: Frame = { entries: from.entries, outer: scope.frame };
  const inner: Scope = { frame, commonTables: scope.commonTables };
  const columns = targetColumns(listOf(query['targetList']), inner, from.star, trace);
  checkWhere(query['whereClause'], inner, trace, isOutermost);
  for (const [field, place] of [['havingClause', 'HAVING'], ['windowClause', 'WINDOW']] as const) forbid(trace, taintOf(query[field], inner, trace), place);
  for (const item of listOf(query['groupClause'])) checkKey(item, columns, inner, trace, 'GROUP BY');
  checkDistinct(query, columns, inner, trace);
  checkOrder(query, columns, inner, trace);
  return columns;
}

function checkDistinct(query: Node, columns: readonly TracedColumn[], scope: Scope, trace: Trace): void {
  const keys = listOf(query['distinctClause']);
  if (keys.length === 0) return;
  const isPlain = keys.every((key) => unwrap(key) === null);
  if (isPlain) forbidColumns(trace, columns, 'DISTINCT');
  else for (const key of keys) checkKey(key, columns, scope, trace, 'DISTINCT ON');
}

function checkOrder(query: Node, columns: readonly TracedColumn[], scope: Scope, trace: Trace): void {
  for (const item of listOf(query['sortClause'])) {
    const sort = bodyOf(item, 'SortBy');
    if (sort) checkKey(sort['node'], columns, scope, trace, 'ORDER BY');
    else giveUp(trace, 'ORDER BY cannot be read');
  }
  for (const field of ['limitCount', 'limitOffset']) forbid(trace, taintOf(query[field], scope, trace), 'LIMIT');
}

/** A sort or group key: a position, an output name, or an expression. */
function checkKey(key: unknown, columns: readonly TracedColumn[], scope: Scope, trace: Trace, place: string): void {
  const group = bodyOf(key, 'GroupingSet')?.['content'] ?? bodyOf(key, 'RowExpr')?.['args'] ?? bodyOf(key, 'List')?.['items'];
  if (group !== undefined) {
    for (const item of listOf(group)) checkKey(item, columns, scope, trace, place);
    return;
  }
  const constant = bodyOf(key, 'A_Const');
  const position = constant ? objectOf(constant['ival'])?.['ival'] : undefined;
  if (constant) {
    if (typeof position === 'number') forbid(trace, columns[position - 1]?.mask ?? null, place);
    return;
  }
  const names = namesOf(bodyOf(key, 'ColumnRef')?.['fields']);
  const outputs = names?.length === 1 ? columns.filter((column) => column.name === names[0] || column.name === null) : [];
  for (const output of outputs) forbid(trace, output.mask, place);
  if (outputs.some((output) => output.name !== null) && !isVisible(names?.[0] ?? '', scope.frame)) return;
  forbid(trace, taintOf(key, scope, trace), place);
}

function isVisible(name: string, frame: Frame | null): boolean {
  for (let level = frame; level; level = level.outer) {
    if (level.entries.some((entry) => entry.columns === null || entry.columns.some((column) => column.name === name || column.name === null))) return true;
  }
  return false;
}

function starColumns(value: unknown, scope: Scope, star: readonly TracedColumn[] | null, trace: Trace): readonly TracedColumn[] | null {
  const indirection = listOf(bodyOf(value, 'A_Indirection')?.['indirection']);
  if (bodyOf(indirection.at(-1), 'A_Star')) {
    giveUp(trace, '"(row).*" cannot be followed');
    return [];
  }
  const fields = listOf(bodyOf(value, 'ColumnRef')?.['fields']);
  if (!bodyOf(fields.at(-1), 'A_Star')) return null;
  const qualifier = namesOf(fields.slice(0, -1)) ?? [];
  const entries = qualifier.length === 0 ? null : findEntries(qualifier, scope.frame);
  const columns = entries === null ? star : entries.length === 1 ? (entries[0]?.columns ?? null) : null;
  if (columns === null) giveUp(trace, 'the columns of "*" are not known: name them');
  return columns ?? [];
}

function outputColumn(value: unknown, name: string | null, scope: Scope, trace: Trace): TracedColumn {
  const reference = bodyOf(value, 'ColumnRef') ?? fieldOfRow(value, scope);
  if (reference) {
    const found = resolveColumn(reference, scope, trace);
    if (found.kind === 'column') return { name, mask: found.taint, typeOid: found.typeOid, typeModifier: found.typeModifier ?? -1 };
  }
  const subquery = scalarSubquery(value);
  if (subquery) {
    const columns = queryColumns(subquery, scope, trace, false);
    return { name, mask: join(trace, columns.map((column) => column.mask)), typeOid: columns.length === 1 ? (columns[0]?.typeOid ?? null) : null };
  }
  const taint = taintOf(value, scope, trace);
  if (!taint) return { name, mask: null, typeOid: null };
  // What the definition of a view chooses is its owner's matter.
  if (trace.mode === 'derive') return { name, mask: { ...taint, bare: false }, typeOid: isTotalText(value, scope, trace) ? textOid : null };
  if (!isTotal(value, scope, trace)) forbid(trace, taint, 'an expression');
  const isText = isTotalText(value, scope, trace);
  return { name, mask: { ...taint, bare: false, ...(isText ? {} : { hidesNull: true }) }, typeOid: isText ? textOid : null };
}

/** `(row).column` as a ColumnRef, when `row` is a FROM entry and no column of that name hides it. */
function fieldOfRow(value: unknown, scope: Scope): Node | null {
  const selection = bodyOf(value, 'A_Indirection');
  const row = bodyOf(selection?.['arg'], 'ColumnRef');
  const path = [...listOf(row?.['fields']), ...listOf(selection?.['indirection'])];
  const names = namesOf(path);
  if (!row || names?.length !== 2 || isVisible(names[0] ?? '', scope.frame)) return null;
  return findEntries([names[0] ?? ''], scope.frame).length > 0 ? { fields: path } : null;
}
