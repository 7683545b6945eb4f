import { taintOf } from './expressions.ts';
import { constantType, integerOf, isLabel, isPlainConstant, isPositive, isUntyped, stringOf } from './total-constants.ts';
import { findEntries, type Frame, resolveColumn, type Scope } from './scope.ts';
import type { Trace } from './taint.ts';
import { bodyOf, itemsOf, listOf, type Node, namesOf, objectOf, textOf, unwrap } from './tree.ts';
import { aggregates, common, dateFields, growing, isFixedType, isPlainCast, known, type Known, oid, pgTypes, scalars, sums, texts, timeFields, numbers } from './total-types.ts';

/**
 * An expression that cannot fail: its type, and what its length says.
 * `fixed`: nothing about a masked value. `stored`: no more than how long one is. `chosen`: an answer about its content.
 */
interface Total {
  readonly type: Known;
  readonly size: 'fixed' | 'stored' | 'chosen';
}

/** Where an expression stands. */
interface Place {
  readonly scope: Scope;
  readonly trace: Trace;
  /** Not inside another aggregate. */
  readonly mayAggregate: boolean;
  /**
   * Evaluated for every row, whatever its masked values are. Elsewhere even what hardly ever fails would answer a question (collations that conflict, numbers that
   * overflow, texts of 1 GB, all of which a user can make): only columns, constants and comparisons stand there.
   */
  readonly isSteady: boolean;
  /** Operations that are left: the product of enough factors overflows for large values only. */
  readonly budget: { left: number };
}

/** Arithmetic and joining operations of one output column. */
const mostOperations = 32;
/** Digits of a literal that takes part in arithmetic, and of a clear column. */
const mostDigits = 30;

/**
 * True when an expression has a result for every value of its columns: it can neither fail, nor change how many rows come out, nor become large by a choice that
 * depends on a masked value. Its redacted result then says nothing about the value, if NULL is hidden too.
 *
 * Parts without a masked column count as well: `case when ssn like '1%' then 1/0 end` fails for some values only. And since a text of 1 GB is an error,
 * what is joined to others may depend on a masked value by its stored length at most: `big || ltrim(ssn, '5')` would answer a question.
 */
export function isTotal(value: unknown, scope: Scope, trace: Trace): boolean {
  return totalOf(value, { scope, trace, mayAggregate: true, isSteady: true, budget: { left: mostOperations } }) !== null;
}

function totalOf(value: unknown, place: Place): Total | null {
  const node = unwrap(value);
  if (!node) return null;
  const { body } = node;
  switch (node.type) {
    case 'A_Const':
      return { type: constantType(body) ?? 'other', size: 'fixed' };
    case 'ColumnRef':
      return columnTotal(body, place);
    case 'BoolExpr':
      return listOf(body['args']).every((item) => totalOf(item, unsteady(place))?.type === oid.bool) ? chosen(oid.bool) : null;
    case 'NullTest':
      return totalOf(body['arg'], place) === null ? null : chosen(oid.bool);
    case 'BooleanTest':
      return totalOf(body['arg'], place)?.type === oid.bool ? chosen(oid.bool) : null;
    case 'CoalesceExpr':
      return coalesceTotal(listOf(body['args']), place);
    case 'MinMaxExpr':
      return pickedTotal(listOf(body['args']), place);
    case 'CaseExpr':
      return caseTotal(body, place);
    case 'TypeCast':
      return castTotal(body, place);
    case 'A_Expr':
      return operatorTotal(body, place);
    case 'FuncCall':
      return callTotal(body, place);
    default:
      return null;
  }
}

function unsteady(place: Place): Place {
  return { ...place, isSteady: false };
}

function chosen(type: Known): Total {
  return { type, size: 'chosen' };
}

function columnTotal(reference: Node, { scope, trace }: Place): Total | null {
  if (isWholeRow(reference, scope)) return runsNoCode(trace) ? { type: 'other', size: 'stored' } : null;
  const found = resolveColumn(reference, scope, trace);
  if (found.kind !== 'column' || found.typeOid === null) return null;
  const type = known.has(found.typeOid) ? found.typeOid : runsNoCode(trace) ? 'other' : null;
  return type === null ? null : { type, size: found.taint === null ? 'fixed' : found.taint.bare ? 'stored' : 'chosen' };
}

/** A FROM entry by its name, when no column of that name hides it and its columns are known. */
function isWholeRow(reference: Node, scope: Scope): boolean {
  const fields = namesOf(reference['fields']);
  const name = fields?.length === 1 ? fields[0] : undefined;
  const entries = name === undefined ? [] : findEntries([name], scope.frame);
  const [entry] = entries;
  return entries.length === 1 && entry?.columns?.every((column) => column.name !== null && column.mask?.bare !== false) === true && !hasColumn(name ?? '', scope.frame);
}

function hasColumn(name: string, frame: Frame | null): boolean {
  for (let level = frame; level; level = level.outer) {
    if (level.entries.some((entry) => entry.columns === null || entry.columns.some((column) => column.name === name || column.name === null))) return true;
  }
  return false;
}

/** No type of the database runs code of its own when a value is written as text or JSON. */
function runsNoCode({ env }: Trace): boolean {
  return env.catalog.typesWithCode?.size === 0;
}

/** Which of the later arguments comes out tells that the first is NULL, and so much a bare column tells, too. */
function coalesceTotal(args: readonly unknown[], place: Place): Total | null {
  const totals = args.map((arg, index) => totalOf(arg, index === 0 ? place : unsteady(place)));
  // Nothing is compared, so json will do.
  const isJson = totals[0]?.type === oid.json && args.every((arg, index) => isUntyped(arg) || totals[index]?.type === oid.json);
  const type = isJson ? oid.json : commonType(args, totals);
  return type === null ? null : { type, size: totals.some((total) => total?.size === 'chosen') ? 'chosen' : 'stored' };
}

/** greatest, least, nullif, and CASE with a masked condition: which value comes out is an answer, so none may be large. */
function pickedTotal(args: readonly unknown[], place: Place): Total | null {
  const type = commonType(args, args.map((arg) => totalOf(arg, place)));
  return type !== null && isFixedType(type) ? chosen(type) : null;
}

function commonType(values: readonly unknown[], totals: readonly (Total | null)[]): Known | null {
  if (totals.includes(null)) return null;
  return common(totals.flatMap((total, index) => (total === null || isUntyped(values[index]) ? [] : [total.type])));
}

function caseTotal(body: Node, place: Place): Total | null {
  const branches = listOf(body['args']).map((item) => bodyOf(item, 'CaseWhen'));
  const isSimple = body['arg'] !== undefined;
  const conditions = [...(isSimple ? [body['arg']] : []), ...branches.map((branch) => branch?.['expr'])];
  const results = [...branches.map((branch) => branch?.['result']), ...(body['defresult'] === undefined ? [] : [body['defresult']])];
  // Conditions on clear columns may do what they like: which of them are evaluated depends on no masked value.
  const isOpen = place.isSteady && taintOf(conditions, place.scope, place.trace) === null;
  if (!isOpen && !areConditions(conditions, isSimple, place)) return null;
  if (!isOpen) return results.every(isLabel) ? chosen(oid.text) : pickedTotal(results, unsteady(place));
  const totals = results.map((result) => totalOf(result, place));
  const type = commonType(results, totals) ?? (results.every(isUntyped) ? oid.text : null);
  return type === null ? null : { type, size: totals.some((total) => total?.size === 'chosen') ? 'chosen' : 'stored' };
}

function areConditions(conditions: readonly unknown[], isSimple: boolean, place: Place): boolean {
  const judged = conditions.map((condition, index) => totalOf(condition, index === 0 ? place : unsteady(place)));
  return isSimple ? commonType(conditions, judged) !== null && isSameCollation(conditions, unsteady(place)) : judged.every((total) => total?.type === oid.bool);
}

function castTotal(body: Node, place: Place): Total | null {
  const type = objectOf(body['typeName']);
  const path = namesOf(type?.['names']) ?? [];
  const name = path.at(-1) ?? '';
  const isSystem = path.length === 2 ? path[0] === 'pg_catalog' : path.length === 1 && !place.trace.env.catalog.userTypes.has(name);
  const to = Object.hasOwn(pgTypes, name) ? pgTypes[name] : undefined;
  if (!isSystem || to === undefined || listOf(type?.['arrayBounds']).length > 0) return null;
  // Whether a constant can be cast depends on no row, but it may be planned for some branches only.
  if (isUntyped(body['arg'])) return isPlainConstant(to, stringOf(body['arg'])) ? { type: to, size: 'fixed' } : null;
  const from = totalOf(body['arg'], place);
  if (from === null || !place.isSteady) return null;
  return isPlainCast(from.type, to, listOf(type?.['typmods']).length > 0) ? { type: to, size: from.size } : null;
}

function operatorTotal(body: Node, place: Place): Total | null {
  const path = namesOf(body['name']) ?? [];
  const operator = path.at(-1) ?? '';
  if (path.length !== 1 || place.trace.env.catalog.userOperators.has(operator)) return null;
  const { kind, lexpr: left, rexpr: right } = body;
  switch (kind) {
    case 'AEXPR_OP':
      if (left === undefined) return operator === '-' && place.isSteady && totalOf(right, place)?.type === oid.numeric ? chosen(oid.numeric) : null;
      return operator === '||' ? joinedTotal(left, right, place) : binaryTotal(operator, left, right, place);
    case 'AEXPR_NULLIF':
      return pickedTotal([left, right], place);
    case 'AEXPR_DISTINCT':
    case 'AEXPR_NOT_DISTINCT':
    case 'AEXPR_IN':
    case 'AEXPR_BETWEEN':
    case 'AEXPR_NOT_BETWEEN':
      return areComparable([left, ...(bodyOf(right, 'List') ? itemsOf(right) : [right])], place) ? chosen(oid.bool) : null;
    case 'AEXPR_LIKE':
    case 'AEXPR_ILIKE': {
      const pattern = stringOf(right);
      const isSafe = pattern !== null && !pattern.includes('\\') && texts.has(totalOf(left, place)?.type) && (place.isSteady || kind === 'AEXPR_LIKE') && isSameCollation([left], place);
      return isSafe ? chosen(oid.bool) : null;
    }
    default:
      return null;
  }
}

const comparisons: ReadonlySet<string> = new Set(['=', '<>', '<', '<=', '>', '>=']);

function areComparable(values: readonly unknown[], place: Place): boolean {
  const type = commonType(values, values.map((value) => totalOf(value, place)));
  return type !== null && (isFixedType(type) || isSameCollation(values, place));
}

/** Where it is not evaluated for every row: a comparison of one masked column with constants. Columns of two collations have none together, which is an error when rows are read. */
function isSameCollation(values: readonly unknown[], { isSteady, scope, trace }: Place): boolean {
  if (isSteady) return true;
  const columns = values.filter((value) => bodyOf(value, 'A_Const') === null);
  const [first] = columns;
  const reference = bodyOf(first, 'ColumnRef');
  if (columns.length !== 1 || !reference) return columns.length === 0;
  const found = resolveColumn(reference, scope, trace);
  return found.kind === 'column' && (found.taint !== null || !texts.has(found.typeOid));
}

function binaryTotal(operator: string, left: unknown, right: unknown, place: Place): Total | null {
  if (comparisons.has(operator)) return areComparable([left, right], place) ? chosen(oid.bool) : null;
  const [from, to] = [totalOf(left, place), totalOf(right, place)];
  if (from === null || to === null) return null;
  if (operator === '->' || operator === '->>') {
    // json, unlike jsonb, may hold \u0000, which no text can.
    const isPath = from.type === oid.jsonb && bodyOf(right, 'A_Const') !== null && (isUntyped(right) || to.type === oid.int4);
    return isPath && place.isSteady ? { type: operator === '->>' ? oid.text : from.type, size: from.size } : null;
  }
  const isBounded = [left, right].every((part) => isBoundedNumber(part, place));
  if (!place.isSteady || !isBounded || !numbers.has(from.type) || !numbers.has(to.type) || place.budget.left-- <= 0) return null;
  const isNumeric = from.type === oid.numeric || to.type === oid.numeric;
  // Two integers may overflow; numeric does not, within what a column holds and a statement can write.
  if (operator === '+' || operator === '-' || operator === '*') return isNumeric ? chosen(oid.numeric) : null;
  return (operator === '/' || operator === '%') && isPositive(right) ? chosen(isNumeric ? oid.numeric : from.type) : null;
}

/** A clear number that a user can make as large as he likes would overflow with some masked values and not with others. */
function isBoundedNumber(value: unknown, { scope, trace }: Place): boolean {
  const constant = bodyOf(value, 'A_Const');
  if (constant) return (textOf(objectOf(constant['fval'])?.['fval']) ?? '').length <= mostDigits;
  const reference = bodyOf(value, 'ColumnRef');
  if (!reference) return true;
  const found = resolveColumn(reference, scope, trace);
  return found.taint !== null || found.typeOid !== oid.numeric || (found.typeModifier ?? -1) >= 0;
}

/** `||` of a text and something that has a text; of jsonb, bytea and arrays it is another operator. */
function joinedTotal(left: unknown, right: unknown, place: Place): Total | null {
  const sides = [left, right].map((value) => ({ isOpen: isUntyped(value), type: totalOf(value, place)?.type }));
  const isText = sides.some(({ isOpen, type }) => isOpen || texts.has(type)) && sides.some(({ isOpen }) => !isOpen);
  const isOther = sides.some(({ isOpen, type }) => !isOpen && (type === 'other' || type === oid.jsonb || type === oid.json || type === oid.bytea));
  return isText && !isOther ? grown([left, right], place, oid.text) : null;
}

/** What puts values together into a text or document: their lengths add up, and above 1 GB that is an error. */
function grown(args: readonly unknown[], place: Place, type: Known): Total | null {
  const totals = args.map((arg) => totalOf(arg, place));
  const areShown = totals.every((total, index) => total !== null && total.size !== 'chosen' && (isUntyped(args[index]) || total.type !== 'other' || runsNoCode(place.trace)));
  if (!place.isSteady || !areShown || (place.budget.left -= args.length) < 0) return null;
  // Parsed again for jsonb: json may hold \\u0000, and rows and arrays may hold json.
  if (type === oid.jsonb && totals.some((total, index) => total?.type === oid.json || (total?.type === 'other' && !isUntyped(args[index])))) return null;
  return { type, size: totals.some((total) => total?.size === 'stored') ? 'stored' : 'fixed' };
}

function callTotal(call: Node, place: Place): Total | null {
  const path = namesOf(call['funcname']) ?? [];
  const name = path.at(-1) ?? '';
  const isSystem = path.length === 2 ? path[0] === 'pg_catalog' : path.length === 1 && !place.trace.env.catalog.functionsByName.has(name);
  // A window sorts the rows of the answer by what it looks at.
  if (!isSystem || ['over', 'agg_within_group', 'func_variadic'].some((key) => call[key] !== undefined)) return null;
  const args = listOf(call['args']);
  if (Object.hasOwn(aggregates, name) || Object.hasOwn(sums, name)) return place.mayAggregate ? aggregateTotal(name, call, args, { ...place, mayAggregate: false }) : null;
  if (['agg_filter', 'agg_order', 'agg_star', 'agg_distinct'].some((key) => call[key] !== undefined)) return null;
  if (Object.hasOwn(growing, name)) return documentTotal(name, args, place);
  return scalarTotal(name, args, place);
}

function aggregateTotal(name: string, call: Node, args: readonly unknown[], place: Place): Total | null {
  const filter = call['agg_filter'];
  if (filter !== undefined && totalOf(filter, place)?.type !== oid.bool) return null;
  const isOpen = place.isSteady && taintOf(filter, place.scope, place.trace) === null;
  const inner = isOpen ? place : unsteady(place);
  const sorts = listOf(call['agg_order']).map((item) => totalOf(bodyOf(item, 'SortBy')?.['node'], inner)?.type);
  if (!sorts.every((sort) => sort !== undefined && known.has(sort) && sort !== oid.json)) return null;
  if (call['agg_star'] === true) return name === 'count' ? chosen(oid.int8) : null;
  const rule = aggregates[name];
  const isGrowing = rule === 'other' || rule === oid.json || rule === oid.jsonb || rule === oid.text;
  const argument = totalOf(args[0], inner);
  if (argument === null) return null;
  const isDistinct = call['agg_distinct'] === true;
  if (isGrowing) {
    // How much is put together may depend on stored lengths only.
    const isPlain = isOpen && !isDistinct && argument.size !== 'chosen';
    const fits = name === 'string_agg' ? texts.has(argument.type) && args.length === 2 && isUntyped(args[1]) : args.length === 1 && fitsAggregate(rule, argument.type);
    return isPlain && fits ? { type: rule, size: 'stored' } : null;
  }
  if (args.length !== 1 || (isDistinct && (!known.has(argument.type) || argument.type === oid.json))) return null;
  const sum = Object.hasOwn(sums, name) ? sums[name] : undefined;
  if (sum !== undefined) return typeof argument.type === 'number' && sum[argument.type] !== undefined ? chosen(sum[argument.type] as number) : null;
  if (rule === 'argument') return isFixedType(argument.type) && argument.type !== oid.bool && argument.type !== oid.uuid ? chosen(argument.type) : null;
  if (rule === oid.bool && argument.type !== oid.bool) return null;
  return rule === undefined ? null : chosen(rule);
}

/** Arrays of several lengths cannot be put into one; json is parsed again for jsonb. */
function fitsAggregate(rule: Known, argument: Known): boolean {
  return argument !== 'other' ? rule !== oid.jsonb || argument !== oid.json : rule === oid.json;
}

/** concat, format, JSON builders: they take values of every type. */
function documentTotal(name: string, args: readonly unknown[], place: Place): Total | null {
  const type = growing[name] ?? oid.text;
  const template = stringOf(args[0]);
  switch (name) {
    case 'format':
      // %I fails for NULL, and positions and widths can name an argument that is not there.
      return template !== null && /^(?:[^%]|%%|%s|%L)*$/.test(template) && (template.replaceAll('%%', '').match(/%/g)?.length ?? 0) === args.length - 1 ? grown(args, place, type) : null;
    case 'json_build_object':
    case 'jsonb_build_object':
      return args.length % 2 === 0 && args.every((arg, index) => index % 2 === 1 || stringOf(arg) !== null) ? grown(args, place, type) : null;
    case 'concat_ws':
      return template !== null ? grown(args, place, type) : null;
    case 'row_to_json':
      return args.length === 1 && totalOf(args[0], place)?.type === 'other' ? grown(args, place, type) : null;
    default:
      return args.length > 0 ? grown(args, place, type) : null;
  }
}

function scalarTotal(name: string, args: readonly unknown[], place: Place): Total | null {
  const totals = args.map((arg) => totalOf(arg, place));
  const [first] = totals;
  if (first === undefined || totals.includes(null) || !place.isSteady) return null;
  const isText = (index: number): boolean => texts.has(totals[index]?.type) || isUntyped(args[index]);
  const size = first?.size ?? 'chosen';
  switch (name) {
    case 'left':
    case 'right':
      return args.length === 2 && isText(0) && integerOf(args[1]) !== null ? { type: oid.text, size } : null;
    case 'substr':
    case 'substring':
      return isText(0) && args.length > 1 && args.length < 4 && args.slice(1).every((arg) => (integerOf(arg) ?? -1) >= 0) ? { type: oid.text, size } : null;
    case 'split_part':
      return args.length === 3 && isText(0) && isUntyped(args[1]) && (integerOf(args[2]) ?? 0) > 0 ? chosen(oid.text) : null;
    case 'round':
    case 'trunc':
      return first?.type === oid.numeric && (args.length === 1 || (args.length === 2 && Math.abs(integerOf(args[1]) ?? 1000) < 100)) ? chosen(oid.numeric) : null;
    case 'abs':
    case 'floor':
    case 'ceil':
    case 'ceiling':
      return args.length === 1 && first?.type === oid.numeric ? chosen(oid.numeric) : null;
    case 'extract':
    case 'date_part': {
      const of = totals[1]?.type;
      const fields = of === oid.date ? dateFields : of === oid.timestamp || of === oid.timestamptz ? timeFields : null;
      return args.length === 2 && fields?.has(stringOf(args[0])?.toLowerCase() ?? '') === true ? chosen(name === 'extract' ? oid.numeric : oid.float8) : null;
    }
    default: {
      const rule = Object.hasOwn(scalars, name) ? scalars[name] : undefined;
      if (rule === undefined || !args.every((_, index) => isText(index)) || args.length > rule.most) return null;
      return { type: rule.type, size: rule.keepsLength ? size : 'chosen' };
    }
  }
}
