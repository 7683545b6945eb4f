import type { StatementClass } from '../../../contract/proxy-config.ts';
import { deny } from '../errors.ts';
import type { CommandPair } from '../policy/decision.ts';
import { addPair, type Findings, refuse } from './findings.ts';
import { collectRelations, rangeNames } from './from-list.ts';
import { isCallableName, judgeCall, judgeOperator, judgeType } from './functions.ts';
import { resolveCreation, resolveRelation, type ResolvedRelation } from './names.ts';
import { bareKind, isPlainKind } from './node-kinds.ts';
import { bodyOf, constantOf, isKind, isTreeNode, listOf, namesOf, stringOf, textOf, type TreeNode } from './parse-tree.ts';
import { isTrackedSetting, judgeSetting } from './settings.ts';
import { readWhere } from './where.ts';

/** Deepest nesting of nodes that is read. */
export const maxDepth = 1_000;

/** Thrown by the walk, caught by `inspectQuery`: nothing else may catch it. */
export class TooDeep extends Error {}

/** Where in the statement the walk stands. */
export interface Place {
  readonly findings: Findings;
  /** Names of common table expressions in sight, innermost first. */
  readonly commonTables: CommonTables | null;
  /** What a relation met here is used for. */
  readonly use: StatementClass;
  /** Whether the query that the relation stands in has a WHERE. */
  readonly where: CommandPair['where'];
  /** Relations met here are created, not looked up. */
  readonly creates: boolean;
  /** A type named here converts values (a query) or only describes them (a column of CREATE TABLE). */
  readonly typesConvert: boolean;
  /** Nodes still to be visited: an explicit stack, because a statement may nest deeper than the caller's stack has room. */
  readonly open: Task[];
}

interface Task {
  /** Null: `value` is wrapped, a list or a set of fields. */
  readonly kind: string | null;
  readonly value: object;
  readonly place: Place;
  readonly depth: number;
}

interface CommonTables {
  readonly name: string;
  readonly outer: CommonTables | null;
}

/** A place outside any query. */
export function topPlace(findings: Findings, use: StatementClass): Place {
  return { findings, commonTables: null, use, where: null, creates: false, typesConvert: false, open: [] };
}

/**
 * Walks any part of a parse tree and adds what it does to the findings: relations, nested statements, calls, operators, casts, settings.
 * A node kind that is not known adds the pair (`Other`, `*`).
 *
 * @throws TooDeep beyond `maxDepth` nested nodes.
 */
export function walk(value: unknown, place: Place, depth: number): void {
  later(value, place, depth);
  for (let task = place.open.pop(); task !== undefined; task = place.open.pop()) {
    if (task.depth > maxDepth) throw new TooDeep();
    if (task.kind !== null) visit(task.kind, task.value as TreeNode, task.place, task.depth);
    else if (Array.isArray(task.value)) laterList(task.value as readonly unknown[], task.place, task.depth);
    else walkNode(task.value as TreeNode, task.place, task.depth);
  }
}

function later(value: unknown, place: Place, depth: number): void {
  if (typeof value === 'object' && value !== null) place.open.push({ kind: null, value, place, depth });
}

/** Constants are noted at once: a long VALUES list would otherwise stand on the stack as a whole. */
function laterList(items: readonly unknown[], place: Place, depth: number): void {
  for (let index = items.length - 1; index >= 0; index -= 1) {
    const item = items[index];
    const constant = isTreeNode(item) ? item['A_Const'] : undefined;
    if (isTreeNode(constant)) noteConstant(constant, place.findings);
    else later(item, place, depth);
  }
}

function walkNode(node: TreeNode, place: Place, depth: number): void {
  for (const key in node) {
    const value = node[key];
    if (!isKind(key)) walkField(key, value, place, depth + 1);
    else if (typeof value === 'object' && value !== null) place.open.push({ kind: key, value, place, depth: depth + 1 });
  }
}

/** Adds the pairs of a relation for one use, resolved. */
export function useRelation(rangeVar: TreeNode, use: StatementClass, where: CommandPair['where'], place: Place, creates = false): readonly number[] | null {
  const { findings } = place;
  return addRelation(creates ? resolveCreation(rangeVar, findings.scope) : resolveRelation(rangeVar, findings.scope), use, where, findings);
}

/** Adds the pairs of a resolved relation; returns the OIDs it can mean, null when one is unknown. */
export function addRelation(resolved: ResolvedRelation, use: StatementClass, where: CommandPair['where'], findings: Findings): readonly number[] | null {
  if (resolved.outcome === 'unknown') {
    addPair(findings, use, '*', where);
    refuse(findings, deny('SEARCH_PATH_UNKNOWN'));
    return null;
  }
  for (const { schema, name, ancestors } of resolved.candidates) {
    addPair(findings, use, { schema, name }, where, ancestors);
    findings.objects.add(`${schema}.${name}`);
  }
  const oids = resolved.candidates.map(({ relation }) => relation?.oid ?? null);
  return oids.includes(null) ? null : (oids as readonly number[]);
}

/** Adds a call with the classes it amounts to. */
export function addCall(names: readonly string[], findings: Findings): void {
  const { calls, classes } = judgeCall(names, findings.scope);
  for (const call of calls) {
    addPair(findings, 'Call', call);
    findings.calls.add(`${call.schema}.${call.name}`);
  }
  for (const extra of classes) addPair(findings, extra, null);
}

/** Settles what could only be told with every range entry known: `x.f` is a call of f unless every x is a relation with such a column. */
export function settleAttributes(findings: Findings): void {
  for (const { alias, name } of findings.attributes) {
    const entries = alias === null ? [] : findings.ranges.filter((range) => range.alias === alias);
    const isColumn = entries.length > 0 && entries.every(({ oids }) => oids !== null
      && oids.every((oid) => findings.scope.catalog.relations.get(oid)?.columns.some((column) => column.name === name) === true));
    if (!isColumn) addCall([name], findings);
  }
}

function walkField(key: string, value: unknown, place: Place, depth: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) return laterList(value as readonly unknown[], place, depth);
  for (const first in value) {
    if (isKind(first)) later(value, place, depth);
    else place.open.push({ kind: bareKind(key, value as TreeNode), value, place, depth });
    return;
  }
}

function walkFields(body: TreeNode, place: Place, depth: number): void {
  for (const key in body) walkField(key, body[key], place, depth);
}

function visit(kind: string, body: TreeNode, place: Place, depth: number): void {
  const { findings } = place;
  switch (kind) {
    case 'A_Const': return noteConstant(body, findings);
    case 'ColumnRef': return visitColumn(body, findings);
    case 'FuncCall': return visitCall(body, place, depth);
    case 'A_Expr':
      for (const name of operatorsOf(body)) addOperator(name, findings);
      break;
    case 'SubLink': {
      const names = namesOf(body['operName']);
      if (names.length > 0) addOperator(names, findings);
      else if (body['subLinkType'] === 'ANY_SUBLINK') addOperator(['='], findings);
      break;
    }
    case 'CaseExpr':
      if (body['arg'] !== undefined) addOperator(['='], findings);
      break;
    case 'SortBy':
      if (listOf(body['useOp']).length > 0) addOperator(namesOf(body['useOp']), findings);
      break;
    case 'TypeCast':
      if (isTreeNode(body['typeName'])) addType(body['typeName'], findings);
      break;
    case 'TypeName':
      if (place.typesConvert) addType(body, findings);
      break;
    case 'A_Indirection': {
      const column = bodyOf(body['arg'], 'ColumnRef');
      const fields = column === null ? [] : namesOf(column['fields']);
      for (const item of listOf(body['indirection'])) noteAttribute(fields.length === 1 ? (fields[0] ?? null) : null, stringOf(item), findings);
      break;
    }
    case 'RangeVar': return visitRelation(body, place);
    case 'JoinExpr':
      if (body['isNatural'] === true || listOf(body['usingClause']).length > 0) addOperator(['='], findings);
      noteRange(body['alias'], null, findings);
      break;
    case 'RangeSubselect': case 'RangeFunction': case 'RangeTableFunc': case 'JsonTable':
      noteRange(body['alias'], null, findings);
      break;
    case 'RangeTableSample':
      addCall(namesOf(body['method']), findings);
      break;
    case 'IntoClause': return visitInto(body, place, depth);
    case 'SelectStmt': return visitSelect(body, place, depth);
    case 'InsertStmt': return visitInsert(body, place, depth);
    case 'UpdateStmt': return visitUpdate(body, place, depth);
    case 'DeleteStmt': return visitDelete(body, place, depth);
    case 'MergeStmt': return visitMerge(body, place, depth);
    default:
      if (!isPlainKind(kind)) addPair(findings, 'Other', '*');
  }
  walkFields(body, place, depth);
}

function noteConstant(constant: TreeNode, findings: Findings): void {
  if (typeof constant['location'] === 'number') findings.constants.push(constant['location']);
}

function visitColumn(column: TreeNode, findings: Findings): void {
  const fields = listOf(column['fields']);
  if (fields.length < 2) return;
  noteAttribute(stringOf(fields[fields.length - 2]), stringOf(fields[fields.length - 1]), findings);
}

function noteAttribute(alias: string | null, name: string | null, findings: Findings): void {
  if (name !== null && isCallableName(name, findings.scope)) findings.attributes.push({ alias, name });
}

function noteRange(alias: unknown, oids: readonly number[] | null, findings: Findings): void {
  if (isTreeNode(alias)) findings.ranges.push({ alias: textOf(alias['aliasname']), oids });
}

function addOperator(names: readonly string[], findings: Findings): void {
  for (const operator of judgeOperator(names, findings.scope)) {
    addPair(findings, 'Call', operator);
    findings.calls.add(operator === '*' ? `operator ${names.join('.')}` : `${operator.schema}.${operator.name}`);
  }
}

function addType(typeName: TreeNode, findings: Findings): void {
  for (const type of judgeType(namesOf(typeName['names']), findings.scope)) {
    addPair(findings, 'Call', type);
    findings.calls.add(`${type.schema}.${type.name}`);
  }
}

/** BETWEEN is two comparisons; IN, NULLIF and DISTINCT carry their `=` in the tree. */
function operatorsOf(expression: TreeNode): readonly (readonly string[])[] {
  if (textOf(expression['kind']).includes('BETWEEN')) return [['>='], ['<=']];
  const names = namesOf(expression['name']);
  return names.length > 0 ? [names] : [];
}

function visitCall(call: TreeNode, place: Place, depth: number): void {
  const names = namesOf(call['funcname']);
  if (names.at(-1) === 'set_config' && (names.length === 1 || names[0] === 'pg_catalog') && !place.findings.scope.catalog.functionsByName.has('set_config')) readSetConfig(call, place.findings);
  else addCall(names, place.findings);
  walkFields(call, place, depth);
}

/** `set_config` with constants is SET in other words; elsewhere than in a plain SELECT list it may run never or often. */
function readSetConfig(call: TreeNode, findings: Findings): void {
  const [nameArg, valueArg, localArg] = listOf(call['args']);
  const name = bodyOf(nameArg, 'NamedArgExpr') === null ? constantOf(nameArg) : null;
  const isPlain = findings.plainSetConfigs.has(call);
  if (name === null) return refuse(findings, deny('SETTING_REFUSED', { message: 'set_config needs the name of the setting as a constant' }));
  if (isTrackedSetting(name) && !isPlain) return refuse(findings, deny('SETTING_REFUSED', { message: `set_config of ${name} must stand in the list of a SELECT without FROM or WHERE` }));
  applySetting(name, constantOf(valueArg), constantOf(localArg) === 'true', findings);
}

/** Judges a setting that the statement changes, and remembers it. */
export function applySetting(name: string, value: string | null, local: boolean, findings: Findings): void {
  const judgement = judgeSetting(name, value);
  if (judgement.outcome === 'refused') return refuse(findings, judgement.denial);
  if (judgement.outcome === 'class') addPair(findings, judgement.class, null);
  findings.settings.push({ name: name.toLowerCase(), value, local });
}

function visitRelation(rangeVar: TreeNode, place: Place): void {
  const alias = isTreeNode(rangeVar['alias']) ? textOf(rangeVar['alias']['aliasname']) : textOf(rangeVar['relname']);
  if (isCommonTable(rangeVar, place.commonTables)) {
    place.findings.ranges.push({ alias, oids: null });
    return;
  }
  const oids = useRelation(rangeVar, place.use, place.where, place, place.creates);
  place.findings.ranges.push({ alias, oids });
}

function isCommonTable(rangeVar: TreeNode, commonTables: CommonTables | null): boolean {
  if (commonTables === null || textOf(rangeVar['schemaname']) !== '') return false;
  for (let table: CommonTables | null = commonTables; table !== null; table = table.outer) if (table.name === rangeVar['relname']) return true;
  return false;
}

/** Walks WITH and returns the place in which its names are visible. Without RECURSIVE a query sees only the ones before it. */
function enterWith(clause: unknown, place: Place, depth: number): Place {
  if (!isTreeNode(clause)) return place;
  const tables = listOf(clause['ctes']).map((item) => bodyOf(item, 'CommonTableExpr') ?? {});
  let visible = place.commonTables;
  if (clause['recursive'] === true) {
    for (const table of tables) visible = { name: textOf(table['ctename']), outer: visible };
    for (const table of tables) walkFields(table, { ...place, commonTables: visible }, depth + 1);
  } else {
    for (const table of tables) {
      walkFields(table, { ...place, commonTables: visible }, depth + 1);
      visible = { name: textOf(table['ctename']), outer: visible };
    }
  }
  return { ...place, commonTables: visible };
}

function visitSelect(select: TreeNode, outer: Place, depth: number): void {
  const where = readWhere(select['whereClause'], () => rangeNames(listOf(select['fromClause'])), outer.findings.variables);
  const inner = enterWith(select['withClause'], outer, depth);
  const place: Place = { ...inner, use: 'Select', where, creates: false, typesConvert: true };
  for (const key in select) {
    if (key !== 'withClause' && key !== 'lockingClause') walkField(key, select[key], place, depth + 1);
  }
  for (const item of listOf(select['lockingClause'])) lockRelations(bodyOf(item, 'LockingClause') ?? {}, select, place);
}

/** SELECT INTO and CREATE TABLE AS create their target. */
function visitInto(into: TreeNode, place: Place, depth: number): void {
  if (isTreeNode(into['rel'])) useRelation(into['rel'], 'Create', null, place, true);
  later(into['options'], { ...place, typesConvert: false }, depth + 1);
}

/** FOR UPDATE and its kin lock every relation of the FROM list, or those that OF names; subqueries in FROM included. */
function lockRelations(clause: TreeNode, select: TreeNode, place: Place): void {
  const wanted = listOf(clause['lockedRels']).map((item) => textOf(bodyOf(item, 'RangeVar')?.['relname']));
  const all = collectRelations(listOf(select['fromClause']));
  const named = all.filter(({ aliases }) => wanted.some((name) => aliases.includes(name)));
  const isComplete = wanted.length > 0 && wanted.every((name) => named.some(({ aliases }) => aliases.includes(name)));
  for (const { rangeVar } of isComplete ? named : all) if (!isCommonTable(rangeVar, place.commonTables)) useRelation(rangeVar, 'Lock', null, place);
}

function targetNames(statement: TreeNode, from: unknown): () => ReadonlySet<string> {
  return () => rangeNames([{ RangeVar: statement['relation'] }, ...listOf(from)]);
}

function useTarget(statement: TreeNode, use: StatementClass, where: CommandPair['where'], place: Place): void {
  const target = statement['relation'];
  if (!isTreeNode(target)) return;
  const oids = useRelation(target, use, where, place);
  place.findings.ranges.push({ alias: isTreeNode(target['alias']) ? textOf(target['alias']['aliasname']) : textOf(target['relname']), oids });
  refuseSettingsView(target, use, place.findings);
}

/** `UPDATE pg_settings` is SET in other words, with names and values that may come from anywhere. */
function refuseSettingsView(target: TreeNode, use: StatementClass, findings: Findings): void {
  if (use !== 'Select' && target['relname'] === 'pg_settings') refuse(findings, deny('SETTING_REFUSED', { message: 'settings cannot be changed through pg_settings', hint: 'use SET' }));
}

/** Walks every field but those already handled. */
function walkRest(statement: TreeNode, handled: readonly string[], place: Place, depth: number): void {
  for (const key in statement) if (!handled.includes(key)) walkField(key, statement[key], place, depth + 1);
}

function visitInsert(insert: TreeNode, outer: Place, depth: number): void {
  const place: Place = { ...enterWith(insert['withClause'], outer, depth), use: 'Select', where: null, creates: false, typesConvert: true };
  useTarget(insert, 'Insert', null, place);
  // The conflicting row itself is the restriction.
  if (isTreeNode(insert['onConflictClause']) && insert['onConflictClause']['action'] === 'ONCONFLICT_UPDATE') useTarget(insert, 'Update', 'Present', place);
  walkRest(insert, ['withClause', 'relation'], place, depth);
}

function visitUpdate(update: TreeNode, outer: Place, depth: number): void {
  const where = readWhere(update['whereClause'], targetNames(update, update['fromClause']), outer.findings.variables);
  const place: Place = { ...enterWith(update['withClause'], outer, depth), use: 'Select', where, creates: false, typesConvert: true };
  useTarget(update, 'Update', where, place);
  walkRest(update, ['withClause', 'relation'], place, depth);
}

function visitDelete(statement: TreeNode, outer: Place, depth: number): void {
  const where = readWhere(statement['whereClause'], targetNames(statement, statement['usingClause']), outer.findings.variables);
  const place: Place = { ...enterWith(statement['withClause'], outer, depth), use: 'Select', where, creates: false, typesConvert: true };
  useTarget(statement, 'Delete', where, place);
  walkRest(statement, ['withClause', 'relation'], place, depth);
}

/** Each branch is a pair of its own; what restricts it is the join condition or its own condition. */
function visitMerge(merge: TreeNode, outer: Place, depth: number): void {
  const names = targetNames(merge, [merge['sourceRelation']]);
  const { variables } = outer.findings;
  const joined = readWhere(merge['joinCondition'], names, variables);
  const place: Place = { ...enterWith(merge['withClause'], outer, depth), use: 'Select', where: joined, creates: false, typesConvert: true };
  useTarget(merge, 'Merge', null, place);
  for (const item of listOf(merge['mergeWhenClauses'])) {
    const branch = bodyOf(item, 'MergeWhenClause') ?? {};
    const where = joined === 'Present' ? joined : readWhere(branch['condition'], names, variables);
    if (branch['commandType'] === 'CMD_UPDATE') useTarget(merge, 'Update', where, place);
    else if (branch['commandType'] === 'CMD_DELETE') useTarget(merge, 'Delete', where, place);
    else if (branch['commandType'] === 'CMD_INSERT') useTarget(merge, 'Insert', null, place);
    else if (branch['commandType'] !== 'CMD_NOTHING') addPair(place.findings, 'Other', '*');
  }
  walkRest(merge, ['withClause', 'relation'], place, depth);
}
