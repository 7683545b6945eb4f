import { queryColumns } from './queries.ts';
import { type Scope, resolveColumn } from './scope.ts';
import { forbid, giveUp, join, type Taint, type Trace } from './taint.ts';
import { bodyOf, isConstant, isNode, listOf, type Node, namesOf, objectOf, textOf, unwrap } from './tree.ts';
import { surveyTree } from './survey.ts';

/** Expression nodes whose value is made of their children's values and of nothing else. Any other node type is refused. */
const transparent: ReadonlySet<string> = new Set([
  'A_ArrayExpr', 'A_Const', 'A_Expr', 'A_Indices', 'A_Indirection', 'A_Star', 'Boolean', 'BoolExpr', 'BooleanTest', 'CaseExpr', 'CaseWhen', 'CoalesceExpr',
  'CollateClause', 'CurrentOfExpr', 'Float', 'FuncCall', 'GroupingFunc', 'GroupingSet', 'Integer', 'BitString', 'JsonAggConstructor', 'JsonArgument', 'JsonArrayAgg', 'JsonArrayConstructor',
  'JsonArrayQueryConstructor', 'JsonBehavior', 'JsonFormat', 'JsonFuncExpr', 'JsonIsPredicate', 'JsonKeyValue', 'JsonObjectAgg', 'JsonObjectConstructor', 'JsonOutput',
  'JsonParseExpr', 'JsonReturning', 'JsonScalarExpr', 'JsonSerializeExpr', 'JsonValueExpr', 'List', 'MinMaxExpr', 'MultiAssignRef', 'NamedArgExpr', 'NullTest', 'ParamRef', 'MergeSupportFunc',
  'RowExpr', 'SQLValueFunction', 'SetToDefault', 'SortBy', 'String', 'TypeCast', 'TypeName', 'WindowDef', 'XmlExpr', 'XmlSerialize',
]);

/** The masked columns that can reach the value of an expression: those of all its parts, subqueries included. */
export function taintOf(value: unknown, scope: Scope, trace: Trace): Taint {
  if (Array.isArray(value)) return join(trace, (value as unknown[]).map((item) => taintOf(item, scope, trace)));
  if (!isNode(value)) return null;
  const node = unwrap(value);
  if (!node) return join(trace, Object.values(value).map((item) => taintOf(item, scope, trace)));
  if (node.type === 'ColumnRef') return resolveColumn(node.body, scope, trace).taint;
  if (node.type === 'SubLink') return subqueryTaint(node.body, scope, trace);
  if (node.type === 'SelectStmt') return queryTaint(node.body, scope, trace);
  if (!transparent.has(node.type)) {
    giveUp(trace, `"${node.type}" cannot be followed`);
    return null;
  }
  return join(trace, Object.values(node.body).map((item) => taintOf(item, scope, trace)));
}

/** WHERE of a query or write: refused with a masked column in it, but for `col = constant` where the rules allow that. */
export function checkWhere(value: unknown, scope: Scope, trace: Trace, isOutermost: boolean): void {
  for (const condition of conjuncts(value)) {
    if (isOutermost && trace.allowEquality && trace.mode === 'judge' && isAllowedEquality(condition, scope, trace)) continue;
    forbid(trace, taintOf(condition, scope, trace), 'a condition');
  }
}

/** Numbers of the parameters in an expression. */
function parametersIn(value: unknown): readonly number[] {
  return [...(surveyTree(value)?.parameters ?? [])];
}

/** Output columns of a subquery that yields one value; null for any other expression. */
export function scalarSubquery(value: unknown): Node | null {
  const link = bodyOf(value, 'SubLink');
  return link && link['subLinkType'] === 'EXPR_SUBLINK' ? bodyOf(link['subselect'], 'SelectStmt') : null;
}

function subqueryTaint(link: Node, scope: Scope, trace: Trace): Taint {
  const test = taintOf(link['testexpr'], scope, trace);
  const query = bodyOf(link['subselect'], 'SelectStmt');
  if (!query) {
    giveUp(trace, 'a subquery cannot be read');
    return test;
  }
  const inner = queryTaint(query, scope, trace, link['subLinkType'] === 'EXISTS_SUBLINK');
  return join(trace, [test, inner]);
}

function queryTaint(query: Node, scope: Scope, trace: Trace, rowsOnly = false): Taint {
  const before = trace.indirect;
  trace.indirect = null;
  const columns = queryColumns(query, scope, trace, false);
  const taint = join(trace, [trace.indirect, ...(rowsOnly ? [] : columns.map((column) => column.mask))]);
  trace.indirect = before;
  return taint;
}

function conjuncts(value: unknown): readonly unknown[] {
  if (value === undefined || value === null) return [];
  const conjunction = bodyOf(value, 'BoolExpr');
  return conjunction?.['boolop'] === 'AND_EXPR' ? listOf(conjunction['args']).flatMap(conjuncts) : [value];
}

function isAllowedEquality(condition: unknown, scope: Scope, trace: Trace): boolean {
  const comparison = bodyOf(condition, 'A_Expr');
  if (comparison?.['kind'] !== 'AEXPR_OP' || namesOf(comparison['name'])?.at(-1) !== '=') return false;
  const [left, right] = [comparison['lexpr'], comparison['rexpr']];
  const [column, constant] = isConstant(right) ? [left, right] : [right, left];
  const reference = bodyOf(column, 'ColumnRef');
  if (!reference || !isConstant(constant)) return false;
  const found = resolveColumn(reference, scope, trace);
  if (found.kind !== 'column' || !found.taint?.equality) return false;
  for (const parameter of parametersIn(constant)) trace.maskedParameters.add(parameter);
  trace.usesEquality = true;
  return true;
}

/** text, varchar, bpchar, name: for these the functions below neither fail nor depend on a cast. */
const textTypes: ReadonlySet<number> = new Set([25, 1043, 1042]);
const textTypeNames: ReadonlySet<string> = new Set(['text', 'varchar', 'bpchar']);
/** Total functions of text: every value has a result, and it is NULL only when an argument is. */
const totalTextFunctions: ReadonlySet<string> = new Set(['upper', 'lower', 'initcap', 'btrim', 'ltrim', 'rtrim', 'left', 'right', 'concat', 'reverse']);

/**
 * True for an expression over text columns that cannot fail, cannot choose and cannot count: only then may its (redacted) result leave.
 * An error, a NULL or a row more or less would be an answer about the value.
 */
export function isTotalText(value: unknown, scope: Scope, trace: Trace): boolean {
  const node = unwrap(value);
  if (!node) return false;
  switch (node.type) {
    case 'A_Const':
      return true;
    case 'ColumnRef': {
      const found = resolveColumn(node.body, scope, trace);
      return found.kind === 'column' && found.typeOid !== null && textTypes.has(found.typeOid);
    }
    case 'TypeCast': {
      const type = objectOf(node.body['typeName']);
      const names = namesOf(type?.['names']) ?? [];
      const isText = textTypeNames.has(names.at(-1) ?? '') && (names.length === 1 || names[0] === 'pg_catalog') && !trace.env.catalog.userTypes.has(names.at(-1) ?? '');
      return isText && listOf(type?.['arrayBounds']).length === 0 && isTotalText(node.body['arg'], scope, trace);
    }
    case 'CoalesceExpr':
      return listOf(node.body['args']).every((item) => isTotalText(item, scope, trace));
    case 'A_Expr':
      return node.body['kind'] === 'AEXPR_OP' && namesOf(node.body['name'])?.join('.') === '||' && !trace.env.catalog.userOperators.has('||')
        && isTotalText(node.body['lexpr'], scope, trace) && isTotalText(node.body['rexpr'], scope, trace);
    case 'FuncCall': {
      const names = namesOf(node.body['funcname']) ?? [];
      const name = names.at(-1) ?? '';
      const isPlain = ['agg_filter', 'over', 'agg_order', 'agg_star', 'agg_distinct', 'agg_within_group', 'func_variadic'].every((key) => node.body[key] === undefined);
      const isSystem = (names.length === 1 && !trace.env.catalog.functionsByName.has(name)) || (names.length === 2 && names[0] === 'pg_catalog');
      return isPlain && isSystem && totalTextFunctions.has(name) && listOf(node.body['args']).every((item) => isTotalText(item, scope, trace));
    }
    default:
      return false;
  }
}

/** The name that an output column takes from its expression, where that is certain. @see FigureColname in parse_target.c */
export function outputName(target: Node): string | null {
  return textOf(target['name']) ?? expressionName(target['val']);
}

function expressionName(value: unknown): string | null {
  const node = unwrap(value);
  switch (node?.type) {
    case 'ColumnRef':
      return textOf(bodyOf(listOf(node.body['fields']).at(-1), 'String')?.['sval']);
    case 'FuncCall':
      return namesOf(node.body['funcname'])?.at(-1) ?? null;
    case 'CoalesceExpr':
      return 'coalesce';
    case 'A_Expr':
      return node.body['kind'] === 'AEXPR_NULLIF' ? 'nullif' : '?column?';
    case 'A_Const':
    case 'BoolExpr':
    case 'NullTest':
    case 'BooleanTest':
      return '?column?';
    default:
      return null;
  }
}
