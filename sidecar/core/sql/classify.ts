import type { StatementClass } from '../../../contract/proxy-config.ts';
import { deny } from '../errors.ts';
import type { SqlParser } from '../ports.ts';
import type { NameScope } from './catalog-snapshot.ts';
import { type BodyPiece, readPlPgSqlBody } from './bodies.ts';
import { addNamedObjects, definitionClass } from './ddl.ts';
import { isTwoPhase } from './effects.ts';
import { addPair, emptyFindings, type Findings, mergeFindings, refuse } from './findings.ts';
import { bodyOf, constantOf, defElemsOf, isTreeNode, itemsOf, listOf, namesOf, optionText, stringOf, type TreeNode, textOf, unwrap } from './parse-tree.ts';
import { readSettingsSelect } from './set-config.ts';
import { addCall, applySetting, maxDepth, settleAttributes, TooDeep, topPlace, useRelation, walk } from './walk.ts';

/** What classification needs beside the tree: the parser for bodies, and the statement's own text. */
export interface ClassifyInput {
  readonly parser: Pick<SqlParser, 'parse' | 'parsePlPgSql'>;
  /** The statement's text, for the PL/pgSQL parser; null when the statement is not the whole of a text. */
  readonly text: string | null;
  /** PL/pgSQL tree made with the parse, for texts too long to do it now; undefined: not made. */
  readonly plpgsql?: unknown;
}

/**
 * Adds everything one statement does to the findings, nested statements included.
 *
 * @returns the class of the statement itself, for records: that of the inner statement for PREPARE and DECLARE.
 * @throws TooDeep.
 */
export function classify(statement: unknown, findings: Findings, input: ClassifyInput, depth = 0): StatementClass {
  const node = unwrap(statement);
  if (node === null) {
    addPair(findings, 'Other', '*');
    return 'Other';
  }
  const found = classifyNode(node.kind, node.body, findings, input, depth);
  settleAttributes(findings);
  return found;
}

/** True when EXPLAIN also runs its statement: any `analyze` that is not certainly off. */
export function explainRuns(explain: TreeNode): boolean {
  return defElemsOf(explain['options']).some(({ name, arg }) => name === 'analyze' && !(arg !== undefined && /^(false|off|0)$/i.test(optionText(arg) ?? '')));
}

function classifyNode(kind: string, body: TreeNode, findings: Findings, input: ClassifyInput, depth: number): StatementClass {
  if (depth > maxDepth / 10) throw new TooDeep();
  switch (kind) {
    case 'SelectStmt': return classifySelect(body, findings, depth);
    case 'InsertStmt': case 'UpdateStmt': case 'DeleteStmt': case 'MergeStmt':
      walk({ [kind]: body }, topPlace(findings, 'Select'), depth);
      return dmlClasses[kind];
    case 'CopyStmt': return classifyCopy(body, findings, input, depth);
    case 'ExplainStmt': return classifyExplain(body, findings, input, depth);
    case 'CallStmt': return classifyCall(body, findings, depth);
    case 'DoStmt': return classifyDo(body, findings, input, depth);
    case 'PrepareStmt':
      walk(body['argtypes'], { ...topPlace(findings, 'Select'), typesConvert: true }, depth);
      return classify(body['query'], findings, input, depth + 1);
    case 'DeclareCursorStmt': return classify(body['query'], findings, input, depth + 1);
    case 'ExecuteStmt':
      walk(body['params'], { ...topPlace(findings, 'Select'), typesConvert: true }, depth);
      return 'Select';
    case 'FetchStmt': return 'Select';
    case 'DeallocateStmt': case 'ClosePortalStmt': case 'ConstraintsSetStmt': return 'Transaction';
    case 'DiscardStmt': return 'Set';
    case 'VariableShowStmt': return 'Show';
    case 'VariableSetStmt': return classifySet(body, findings, depth);
    case 'TransactionStmt':
      if (!isTwoPhase(body)) return 'Transaction';
      addPair(findings, 'TwoPhase', null);
      return 'TwoPhase';
    case 'CreateTableAsStmt':
      walk({ IntoClause: body['into'] }, topPlace(findings, 'Create'), depth);
      classify(body['query'], findings, input, depth + 1);
      return 'Create';
    case 'ReturnStmt': case 'PLAssignStmt':
      walk(body, { ...topPlace(findings, 'Select'), typesConvert: true }, depth);
      return 'Select';
    default: return classifyDefinition(kind, body, findings, input, depth);
  }
}

const dmlClasses = { InsertStmt: 'Insert', UpdateStmt: 'Update', DeleteStmt: 'Delete', MergeStmt: 'Merge' } as const;

function classifySelect(select: TreeNode, findings: Findings, depth: number): StatementClass {
  const settings = readSettingsSelect(select, findings);
  if (settings !== null) {
    // Its arguments are columns of pg_settings; the constants stand in the WHERE clause.
    for (const constant of [bodyOf(select['whereClause'], 'A_Expr')?.['rexpr'], ...listOf(bodyOf(bodyOf(listOf(select['targetList'])[0], 'ResTarget')?.['val'], 'FuncCall')?.['args'])]) {
      walk(constant, topPlace(findings, 'Select'), depth);
    }
    addPair(findings, 'Select', null);
    applySetting(settings.name, settings.value, settings.local, findings);
    return 'Select';
  }
  walk({ SelectStmt: select }, topPlace(findings, 'Select'), depth);
  if (![...findings.pairs.values()].some((pair) => pair.class === 'Select')) addPair(findings, 'Select', null);
  return isTreeNode(select['intoClause']) ? 'Create' : 'Select';
}

/** COPY of a query counts for each relation that it reads, and as the query itself. */
function classifyCopy(copy: TreeNode, findings: Findings, input: ClassifyInput, depth: number): StatementClass {
  const use: StatementClass = copy['is_from'] === true ? 'CopyIn' : 'CopyOut';
  const isFile = copy['is_program'] === true || textOf(copy['filename']) !== '';
  if (isFile) addPair(findings, 'ServerFile', null);
  if (isTreeNode(copy['relation'])) useRelation(copy['relation'], use, null, topPlace(findings, use));
  walk(copy['whereClause'], { ...topPlace(findings, 'Select'), typesConvert: true }, depth);
  if (copy['query'] !== undefined) {
    const inner = emptyFindings(findings.scope, findings.variables);
    classify(copy['query'], inner, { parser: input.parser, text: null }, depth + 1);
    addForEachObject(use, inner, findings);
    absorb(inner, findings);
  }
  return isFile ? 'ServerFile' : use;
}

/** EXPLAIN counts for each relation of its statement, calls included, since planning folds them; with ANALYZE the statement runs as well. */
function classifyExplain(explain: TreeNode, findings: Findings, input: ClassifyInput, depth: number): StatementClass {
  const inner = emptyFindings(findings.scope, findings.variables);
  classify(explain['query'], inner, { parser: input.parser, text: null }, depth + 1);
  addForEachObject('Explain', inner, findings);
  const runs = explainRuns(explain);
  if (!runs) for (const [key, pair] of inner.pairs) if (pair.class !== 'Call' && pair.class !== 'Other') inner.pairs.delete(key);
  if (!runs) inner.settings.length = 0;
  absorb(inner, findings);
  return 'Explain';
}

function addForEachObject(use: StatementClass, inner: Findings, findings: Findings): void {
  let count = 0;
  for (const pair of [...inner.pairs.values()]) {
    if (pair.class === 'Call' || pair.object === null) continue;
    count += 1;
    addPair(findings, use, pair.object, null, pair.ancestors ?? []);
  }
  if (count === 0) addPair(findings, use, null);
}

function absorb(inner: Findings, findings: Findings): void {
  mergeFindings(findings, inner);
  findings.constants.push(...inner.constants);
  findings.settings.push(...inner.settings);
}

function classifyCall(call: TreeNode, findings: Findings, depth: number): StatementClass {
  const funccall = isTreeNode(call['funccall']) ? call['funccall'] : {};
  const names = namesOf(funccall['funcname']);
  const before = findings.calls.size;
  addCall(names, findings);
  // A procedure is a call even when it is the server's own.
  if (findings.calls.size === before && ![...findings.pairs.values()].some((pair) => pair.class === 'Call')) addPair(findings, 'Call', { schema: names.at(-2) ?? 'pg_catalog', name: names.at(-1) ?? '' });
  walk(funccall['args'], { ...topPlace(findings, 'Select'), typesConvert: true }, depth);
  return 'Call';
}

function classifyDo(body: TreeNode, findings: Findings, input: ClassifyInput, depth: number): StatementClass {
  const options = defElemsOf(body['args']);
  const language = optionText(options.find(({ name }) => name === 'language')?.arg) ?? 'plpgsql';
  const isReadable = language === 'plpgsql' && classifyPlPgSql(findings, input, depth);
  addPair(findings, 'Do', isReadable ? null : '*');
  return 'Do';
}

/** Judges the inner statements of the PL/pgSQL body of this statement; false when some of it cannot be read. */
function classifyPlPgSql(findings: Findings, input: ClassifyInput, depth: number): boolean {
  const parsed = input.plpgsql ?? (input.text === null ? null : input.parser.parsePlPgSql(input.text));
  const { pieces, variables, opaque } = readPlPgSqlBody(parsed);
  const inner = emptyFindings(findings.scope, new Set([...findings.variables, ...variables]));
  const results = pieces.map((piece) => classifyPiece(piece, inner, input, depth));
  mergeFindings(findings, inner);
  return !opaque && results.every((isRead) => isRead);
}

function classifyPiece(piece: BodyPiece, findings: Findings, input: ClassifyInput, depth: number): boolean {
  const isExpression = piece.form === 'expression';
  const parsed = input.parser.parse(isExpression ? `SELECT ${piece.text}` : piece.text);
  // A promise means a text too long to be read now.
  if (!('outcome' in parsed) || parsed.outcome !== 'parsed') return false;
  for (const { statement } of statementsOf(parsed.tree)) {
    const inner = emptyFindings(findings.scope, findings.variables);
    classify(statement, inner, { parser: input.parser, text: null }, depth + 1);
    // `SELECT expression` stands for the expression: it is no statement of its own.
    if (isExpression) for (const [key, pair] of inner.pairs) if (pair.class === 'Select' && pair.object === null) inner.pairs.delete(key);
    if (inner.settings.some(({ name }) => name === 'search_path')) refuse(findings, deny('SETTING_REFUSED', { message: 'search_path cannot be set inside a block or function body' }));
    if (bodyOf(statement, 'ExecuteStmt') !== null || bodyOf(statement, 'FetchStmt') !== null) addPair(findings, 'Other', '*');
    mergeFindings(findings, inner);
  }
  return true;
}

/** Statements of a ParseResult with their byte ranges. */
export function statementsOf(tree: unknown): readonly { readonly statement: unknown; readonly start: number; readonly length: number }[] {
  const stmts = isTreeNode(tree) ? listOf(tree['stmts']) : [];
  return stmts.map((raw) => {
    const body = isTreeNode(raw) ? raw : {};
    return { statement: body['stmt'], start: Number(body['stmt_location'] ?? 0), length: Number(body['stmt_len'] ?? 0) };
  });
}

function classifySet(set: TreeNode, findings: Findings, depth: number): StatementClass {
  applySetStatement(set, findings);
  walk(set['args'], topPlace(findings, 'Set'), depth);
  return [...findings.pairs.values()].some((pair) => pair.class === 'SetRole') ? 'SetRole' : 'Set';
}

/** Judges SET, RESET and SET TRANSACTION, alone or as part of ALTER ROLE, ALTER DATABASE, ALTER SYSTEM or CREATE FUNCTION. */
function applySetStatement(set: TreeNode, findings: Findings): void {
  const name = textOf(set['name']);
  const args = listOf(set['args']);
  switch (set['kind']) {
    case 'VAR_SET_VALUE':
      return applySetting(name, settingValue(name, args), set['is_local'] === true, findings);
    case 'VAR_SET_DEFAULT': case 'VAR_RESET':
      if (/^(role|session_authorization)$/i.test(name)) addPair(findings, 'SetRole', null);
      return;
    case 'VAR_SET_CURRENT': case 'VAR_RESET_ALL': return;
    case 'VAR_SET_MULTI':
      // SET TRANSACTION, SET SESSION CHARACTERISTICS, SET TRANSACTION SNAPSHOT
      if (!['TRANSACTION', 'SESSION CHARACTERISTICS', 'TRANSACTION SNAPSHOT'].includes(name)) addPair(findings, 'Set', null);
      return;
    default: addPair(findings, 'Set', null);
  }
}

/** A list setting's items are names: quoted where the server would quote them. An interval or a negative number is no IANA zone, so any text will do. */
function settingValue(name: string, args: readonly unknown[]): string | null {
  const values = args.map(constantOf);
  if (values.some((value) => value === null)) return null;
  if (name.toLowerCase() !== 'search_path') {
    const isInterval = args.some((arg) => bodyOf(arg, 'TypeCast') !== null);
    return isInterval ? `INTERVAL ${values.join(', ')}` : values.join(', ');
  }
  return values.map((value) => (/^[a-z_][a-z0-9_$]*$/.test(value ?? '') ? value : `"${(value ?? '').replaceAll('"', '""')}"`)).join(', ');
}

function classifyDefinition(kind: string, body: TreeNode, findings: Findings, input: ClassifyInput, depth: number): StatementClass {
  const use = definitionClass(kind, body);
  if (use === null) {
    addPair(findings, 'Other', '*');
    return 'Other';
  }
  const place = topPlace(findings, use);
  switch (kind) {
    case 'CreateStmt': case 'CreateForeignTableStmt': {
      const base = kind === 'CreateStmt' ? body : isTreeNode(body['base']) ? body['base'] : body;
      if (isTreeNode(base['relation'])) useRelation(base['relation'], 'Create', null, place, true);
      walkFieldsExcept(base, ['relation'], { ...place, use: 'Create' }, depth);
      break;
    }
    case 'ViewStmt': case 'CreateSeqStmt': case 'CompositeTypeStmt': {
      const key = { ViewStmt: 'view', CreateSeqStmt: 'sequence', CompositeTypeStmt: 'typevar' }[kind];
      if (isTreeNode(body[key])) useRelation(body[key], use, null, place, true);
      walkFieldsExcept(body, [key], place, depth);
      break;
    }
    case 'RuleStmt':
      walkFieldsExcept(body, ['actions'], { ...place, typesConvert: true }, depth);
      for (const action of listOf(body['actions'])) classify(action, findings, { parser: input.parser, text: null }, depth + 1);
      break;
    case 'CreateSchemaStmt':
      for (const element of listOf(body['schemaElts'])) {
        const inner = emptyFindings(inSchema(textOf(body['schemaname']), findings.scope));
        classify(element, inner, { parser: input.parser, text: null }, depth + 1);
        absorb(inner, findings);
      }
      break;
    case 'CreateFunctionStmt': classifyFunction(body, findings, input, depth); break;
    case 'AlterRoleSetStmt': case 'AlterDatabaseSetStmt': case 'AlterSystemStmt': {
      const inner = emptyFindings(findings.scope);
      if (isTreeNode(body['setstmt'])) applySetStatement(body['setstmt'], inner);
      if (inner.refusal !== null) refuse(findings, inner.refusal);
      break;
    }
    case 'AlterFunctionStmt':
      for (const { name, arg } of defElemsOf(body['actions'])) if (name === 'set') applyFunctionSetting(arg, findings);
      break;
    case 'GrantRoleStmt': addPair(findings, 'Role', null); break;
    case 'CreateEventTrigStmt': case 'AlterEventTrigStmt': addPair(findings, use, '*'); break;
    default: walkFieldsExcept(body, kind === 'GrantStmt' && body['objtype'] !== 'OBJECT_TABLE' && body['objtype'] !== 'OBJECT_SEQUENCE' ? ['objects'] : ['object', 'funcname'], place, depth);
  }
  addNamedObjects(kind, body, use, findings);
  if (kind === 'CreateForeignTableStmt' || ![...findings.pairs.values()].some((pair) => pair.class === use)) addPair(findings, use, null);
  return use;
}

/** CREATE SCHEMA's own elements are resolved in the new schema first. */
function inSchema(schema: string, scope: NameScope): NameScope {
  return { ...scope, searchPath: [schema, ...(scope.searchPath ?? [])], catalog: { ...scope.catalog, schemas: new Set([...scope.catalog.schemas, schema]) } };
}

function walkFieldsExcept(body: TreeNode, handled: readonly string[], place: ReturnType<typeof topPlace>, depth: number): void {
  for (const key in body) if (!handled.includes(key)) walk({ [key]: body[key] }, place, depth + 1);
}

/** The body of CREATE FUNCTION is not run now, but whoever may create it must be allowed what it does. */
function classifyFunction(body: TreeNode, findings: Findings, input: ClassifyInput, depth: number): void {
  const options = defElemsOf(body['options']);
  const language = optionText(options.find(({ name }) => name === 'language')?.arg) ?? 'sql';
  walk(body['parameters'], topPlace(findings, 'Function'), depth);
  for (const { name, arg } of options) if (name === 'set') applyFunctionSetting(arg, findings);
  if (body['sql_body'] !== undefined) {
    for (const statement of flatten(body['sql_body'])) classify(statement, findings, { parser: input.parser, text: null }, depth + 1);
    return;
  }
  const source = itemsOf(options.find(({ name }) => name === 'as')?.arg).map(stringOf);
  const isRead = language === 'plpgsql' ? classifyPlPgSql(findings, input, depth)
    : language === 'sql' && source.length === 1 && classifyPiece({ form: 'statement', text: source[0] ?? '' }, findings, input, depth);
  if (!isRead) addPair(findings, 'Function', '*');
}

function applyFunctionSetting(arg: unknown, findings: Findings): void {
  const set = bodyOf(arg, 'VariableSetStmt');
  if (set === null) return;
  const inner = emptyFindings(findings.scope);
  applySetStatement(set, inner);
  mergeFindings(findings, inner);
}

function flatten(value: unknown): readonly unknown[] {
  const list = bodyOf(value, 'List');
  return list === null ? [value] : listOf(list['items']).flatMap(flatten);
}
