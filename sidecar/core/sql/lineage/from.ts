import { resolveRelation } from './environment.ts';
import { taintOf } from './expressions.ts';
import { queryColumns, renamed } from './queries.ts';
import { type CommonTables, type Frame, type RangeEntry, rowTaint, type Scope } from './scope.ts';
import { forbid, giveUp, join, type Trace, type TracedColumn } from './taint.ts';
import { bodyOf, itemsOf, listOf, type Node, namesOf, objectOf, textOf, unwrap } from './tree.ts';

/** What FROM gives to the rest of its query: the names, and the columns of `*` in order (null: not known). */
export interface From {
  readonly entries: readonly RangeEntry[];
  readonly star: readonly TracedColumn[] | null;
}

const nothing: From = { entries: [], star: [] };

/** Follows the items of a FROM list from left to right; LATERAL items see those before them. */
export function fromItems(items: readonly unknown[], scope: Scope, trace: Trace): From {
  return items.reduce<From>((before, item) => beside(before, fromItem(item, before.entries, scope, trace)), nothing);
}

/** The range entry of a relation that a statement names: a table, a view, or a WITH query when the name has no schema. */
export function relationEntry(range: Node, scope: Scope, trace: Trace, allowCommonTable: boolean): RangeEntry {
  const name = textOf(range['relname']) ?? '';
  const schema = textOf(range['schemaname']);
  const alias = objectOf(range['alias']);
  const common = schema === null && allowCommonTable ? findCommonTable(name, scope.commonTables) : null;
  const columns = common ? common.columns : relationColumns(name, schema, trace);
  const label = textOf(alias?.['aliasname']);
  return { alias: label ?? name, schema: label === null && !common ? schemaOf(name, schema, trace) : null, columns: columns && renamed(columns, alias?.['colnames']), unqualified: true };
}

function fromItem(item: unknown, before: readonly RangeEntry[], scope: Scope, trace: Trace): From {
  const node = unwrap(item);
  switch (node?.type) {
    case 'RangeVar':
      return single(relationEntry(node.body, scope, trace, true));
    case 'RangeSubselect':
      return single(subqueryEntry(node.body, before, scope, trace));
    case 'RangeFunction':
      return single(functionEntry(node.body, before, scope, trace));
    case 'RangeTableFunc':
    case 'JsonTable': {
      // Their arguments are expressions; their columns are made of those.
      const { columns: _columns, alias, lateral: _lateral, ...parts } = node.body;
      forbid(trace, tableFunctionTaint([parts, _columns], lateralScope(before, scope), trace), 'a table function');
      return single({ alias: textOf(objectOf(alias)?.['aliasname']), schema: null, columns: null, unqualified: true });
    }
    case 'RangeTableSample': {
      forbid(trace, taintOf([node.body['args'], node.body['repeatable']], lateralScope(before, scope), trace), 'TABLESAMPLE');
      return fromItem(node.body['relation'], before, scope, trace);
    }
    case 'JoinExpr':
      return joined(node.body, before, scope, trace);
    default:
      giveUp(trace, `"${node?.type ?? 'an unknown item'}" in FROM cannot be followed`);
      return nothing;
  }
}

function subqueryEntry(body: Node, before: readonly RangeEntry[], scope: Scope, trace: Trace): RangeEntry {
  const query = bodyOf(body['subquery'], 'SelectStmt');
  if (!query) giveUp(trace, 'a subquery in FROM cannot be read');
  // Only a LATERAL subquery sees its neighbours; any other resolves the same name further out.
  const columns = queryColumns(query ?? {}, body['lateral'] === true ? lateralScope(before, scope) : scope, trace, false);
  const alias = objectOf(body['alias']);
  return { alias: textOf(alias?.['aliasname']), schema: null, columns: renamed(columns, alias?.['colnames']), unqualified: true };
}

/** Functions that give one column per row, named like the entry; others may give any. */
const singleColumnFunctions: ReadonlySet<string> = new Set([
  'generate_series', 'generate_subscripts', 'regexp_split_to_table', 'string_to_table', 'unnest', 'jsonb_array_elements', 'jsonb_array_elements_text',
  'json_array_elements', 'json_array_elements_text', 'jsonb_object_keys', 'json_object_keys',
]);

function functionEntry(body: Node, before: readonly RangeEntry[], scope: Scope, trace: Trace): RangeEntry {
  const functions = listOf(body['functions']);
  forbid(trace, tableFunctionTaint(functions, lateralScope(before, scope), trace), 'a function in FROM');
  const alias = objectOf(body['alias']);
  const call = functions.length === 1 ? bodyOf(itemsOf(functions[0])[0], 'FuncCall') : null;
  const name = namesOf(call?.['funcname'])?.at(-1);
  const label = textOf(alias?.['aliasname']) ?? name ?? null;
  const isSingle = call !== null && name !== undefined && singleColumnFunctions.has(name) && !trace.env.catalog.functionsByName.has(name) && listOf(call['args']).length === (name === 'unnest' ? 1 : listOf(call['args']).length);
  if (!isSingle || listOf(body['coldeflist']).length > 0) return { alias: label, schema: null, columns: null, unqualified: true };
  const columns: TracedColumn[] = [{ name: label, mask: null, typeOid: null }];
  if (body['ordinality'] === true) columns.push({ name: 'ordinality', mask: null, typeOid: null });
  return { alias: label, schema: null, columns: renamed(columns, alias?.['colnames']), unqualified: true };
}

/** Argument lists of table functions hold bare lists and column definitions besides expressions. */
function tableFunctionTaint(value: unknown, scope: Scope, trace: Trace): ReturnType<typeof taintOf> {
  if (Array.isArray(value)) return join(trace, (value as unknown[]).map((item) => tableFunctionTaint(item, scope, trace)));
  const node = unwrap(value);
  if (node && /^(List|RangeTableFuncCol|JsonTableColumn|JsonTablePathSpec|ColumnDef|ResTarget)$/.test(node.type)) return join(trace, Object.values(node.body).map((item) => tableFunctionTaint(item, scope, trace)));
  return taintOf(value, scope, trace);
}

function joined(body: Node, before: readonly RangeEntry[], scope: Scope, trace: Trace): From {
  const left = fromItem(body['larg'], before, scope, trace);
  const right = fromItem(body['rarg'], [...before, ...left.entries], scope, trace);
  const both = beside(left, right);
  const shared = body['isNatural'] === true ? naturalNames(left, right, trace) : (namesOf(body['usingClause']) ?? []);
  const merged = shared.map((name): TracedColumn => ({ name, mask: join(trace, [...columnsNamed(left, name), ...columnsNamed(right, name)].map((column) => column.mask)), typeOid: null }));
  for (const column of merged) forbid(trace, column.mask, 'a join');
  forbid(trace, taintOf(body['quals'], { frame: { entries: both.entries, outer: scope.frame }, commonTables: scope.commonTables }, trace), 'a join condition');
  const rest = (side: From): readonly TracedColumn[] => (side.star ?? []).filter((column) => column.name === null || !shared.includes(column.name));
  const star = left.star && right.star ? [...merged, ...rest(left), ...rest(right)] : null;
  const usingAlias = textOf(objectOf(body['join_using_alias'])?.['aliasname']);
  const extra: readonly RangeEntry[] = usingAlias === null ? [] : [{ alias: usingAlias, schema: null, columns: merged, unqualified: false }];
  const alias = objectOf(body['alias']);
  if (!alias) return { entries: [...both.entries, ...extra], star };
  // A join alias hides the names inside it. Unknown sides may not hide masked columns with them.
  const columns = star ? renamed(star, alias['colnames']) : null;
  if (!star) forbid(trace, join(trace, both.entries.map((entry) => rowTaint(entry, trace))), 'a join whose columns are not known');
  return { entries: [...extra, { alias: textOf(alias['aliasname']), schema: null, columns, unqualified: true }], star: columns };
}

function naturalNames(left: From, right: From, trace: Trace): readonly string[] {
  if (!left.star || !right.star || [...left.star, ...right.star].some((column) => column.name === null)) {
    giveUp(trace, 'the columns of a NATURAL join are not known');
    return [];
  }
  const others = new Set(right.star.map((column) => column.name));
  return left.star.flatMap((column) => (column.name !== null && others.has(column.name) ? [column.name] : []));
}

function columnsNamed(side: From, name: string): readonly TracedColumn[] {
  return side.entries.flatMap((entry) => (entry.unqualified ? (entry.columns ?? []) : [])).filter((column) => column.name === name || column.name === null);
}

function relationColumns(name: string, schema: string | null, trace: Trace): readonly TracedColumn[] | null {
  const { relations, own } = resolveRelation(trace.env, schema, name);
  const [relation] = relations;
  const isTouched = relations.some((candidate) => trace.env.closure.isTouched(candidate.oid));
  if (isTouched && (own || relations.length > 1)) giveUp(trace, `it is not certain which relation "${name}" is`);
  if (!relation && !own) giveUp(trace, `relation "${name}" is not known to the gateway (yet)`);
  if (!relation || own || (relations.length > 1 && !isTouched) || relation.columns.length === 0) return null;
  return relation.columns.map((column) => ({ name: column.name, mask: trace.env.closure.maskOf(relation.oid, column.attnum), typeOid: column.typeOid, typeModifier: column.typeModifier }));
}

function schemaOf(name: string, schema: string | null, trace: Trace): string | null {
  return schema ?? resolveRelation(trace.env, schema, name).relations[0]?.schema ?? null;
}

function findCommonTable(name: string, reach: CommonTables | null): CommonTables | null {
  for (let item = reach; item; item = item.next) if (item.name === name) return item;
  return null;
}

function lateralScope(before: readonly RangeEntry[], scope: Scope): Scope {
  const frame: Frame = { entries: before, outer: scope.frame };
  return { frame, commonTables: scope.commonTables };
}

function beside(left: From, right: From): From {
  return { entries: [...left.entries, ...right.entries], star: left.star && right.star ? [...left.star, ...right.star] : null };
}

function single(entry: RangeEntry): From {
  return { entries: [entry], star: entry.columns };
}
