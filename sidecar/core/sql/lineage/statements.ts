import { type Denial, deny } from '../../errors.ts';
import type { CatalogRelation } from '../catalog-snapshot.ts';
import { altersOtherColumns, isClearColumn, isClearExpression } from './alter-table.ts';
import { type Environment, resolveRelation } from './environment.ts';
import { functionProblem, surveyPlPgSql, surveyText } from './functions.ts';
import { findBarrier, relationsOf, unproven } from './barriers.ts';
import { isRefusedSetting } from './refused-names.ts';
import { bodyOf, constantText, listOf, type Node, namesOf, objectOf, textOf, type Wrapped } from './tree.ts';

/** What a statement that is neither query nor write may do to relations with masked columns. */
type Treatment = 'always' | 'untouched' | 'never';

/**
 * Every other statement type with its treatment; one that is not listed is refused.
 *
 * `untouched`: what it defines, moves or renames would take a masked column out of the rules' sight, or answer questions about its values.
 */
const treatments: Readonly<Record<string, Treatment>> = {
  TransactionStmt: 'always', VariableSetStmt: 'always', VariableShowStmt: 'always', DiscardStmt: 'always', DeallocateStmt: 'always', ClosePortalStmt: 'always',
  FetchStmt: 'always', ConstraintsSetStmt: 'always', CheckPointStmt: 'always', LockStmt: 'always', UnlistenStmt: 'always', CallStmt: 'untouched', ExecuteStmt: 'untouched',
  TruncateStmt: 'always', DropStmt: 'always', CommentStmt: 'always', VacuumStmt: 'always', ReindexStmt: 'always', RefreshMatViewStmt: 'always',
  GrantStmt: 'always', GrantRoleStmt: 'always', CreateRoleStmt: 'always', AlterRoleStmt: 'always', DropRoleStmt: 'always', AlterDefaultPrivilegesStmt: 'always',
  DropOwnedStmt: 'always', ReassignOwnedStmt: 'always', AlterOwnerStmt: 'always', CreateEnumStmt: 'always', AlterEnumStmt: 'always', CompositeTypeStmt: 'always',
  CreateSeqStmt: 'always', AlterSeqStmt: 'always', AlterRoleSetStmt: 'always', AlterDatabaseSetStmt: 'always',
  CreateDomainStmt: 'untouched', AlterDomainStmt: 'untouched', CreateStatsStmt: 'untouched', CreatePolicyStmt: 'untouched', AlterPolicyStmt: 'untouched',
  ClusterStmt: 'untouched', AlterObjectSchemaStmt: 'untouched',
};

/**
 * Judges settings and SHOW, in a masked session, before anything else.
 */
export function judgeSettings(node: Wrapped): Denial | null {
  const set = node.type === 'VariableSetStmt' ? node.body : objectOf(node.body['setstmt']);
  if (set) {
    const name = textOf(set['name']) ?? '';
    const value = listOf(set['args']).map(constantText)[0] ?? null;
    if (isRefusedSetting(name, value)) return deny('SETTING_REFUSED', { detail: `setting "${name}"` });
  }
  const shown = node.type === 'VariableShowStmt' ? textOf(node.body['name']) : null;
  return shown?.includes('.') ? unproven('SHOW of a custom setting') : null;
}

/**
 * Judges definitions, maintenance and everything else that has no rows of its own.
 *
 * @returns null when the statement may run.
 */
export function judgeDefinition(node: Wrapped, isTouched: boolean, env: Environment): Denial | null {
  switch (node.type) {
    case 'DoStmt':
      return judgeCode(doText(node.body), 'plpgsql', env);
    case 'CreateFunctionStmt':
      return isTouched ? onMasked('a function') : judgeFunction(node.body, env);
    case 'CreateTrigStmt':
      return isTouched ? onMasked('a trigger') : judgeTrigger(node.body, env);
    case 'CreateStmt':
      return isTouched ? judgeTable(node.body, env) : null;
    case 'IndexStmt':
      return isTouched ? judgeIndex(node.body, env) : null;
    case 'AlterTableStmt':
      return !isTouched || altersOtherColumns(node.body, namedRelations(node.body, env), env) ? null : onMasked('this statement');
    case 'RenameStmt':
      return judgeRename(node.body, isTouched, env);
    case 'CreateSchemaStmt':
      return listOf(node.body['schemaElts']).length > 0 ? unproven('CREATE SCHEMA with elements') : null;
    default: {
      if (env.closure.isEmpty && /^(AlterFunctionStmt|CreateEventTrigStmt|RuleStmt|DefineStmt|CreateCastStmt)$/.test(node.type)) return null;
      const treatment = Object.hasOwn(treatments, node.type) ? treatments[node.type] : 'never';
      if (treatment === 'always' || (treatment === 'untouched' && !isTouched)) return null;
      return isTouched ? onMasked('this statement') : unproven('this kind of statement is refused in a masked session');
    }
  }
}

function onMasked(what: string): Denial {
  return unproven(`${what} on a relation with masked columns`);
}

function judgeFunction(body: Node, env: Environment): Denial | null {
  const options = new Map(listOf(body['options']).map((item) => bodyOf(item, 'DefElem')).map((option) => [textOf(option?.['defname']) ?? '', option?.['arg']]));
  for (const item of listOf(body['options'])) {
    const set = bodyOf(bodyOf(item, 'DefElem')?.['arg'], 'VariableSetStmt');
    const denial = set && judgeSettings({ type: 'VariableSetStmt', body: set });
    if (denial) return denial;
  }
  const language = textOf(bodyOf(options.get('language'), 'String')?.['sval'])?.toLowerCase();
  if (body['sql_body'] !== undefined) return null; // statements of BEGIN ATOMIC are part of the tree: the barriers have seen them
  const text = textOf(bodyOf(listOf(bodyOf(options.get('as'), 'List')?.['items'])[0], 'String')?.['sval']);
  if (text === null) return unproven('the body of the function cannot be read');
  if (language === 'sql') return judgeCode(text, 'sql', env);
  if (language !== 'plpgsql') return unproven(`functions in ${language ?? 'another language'} cannot be read`);
  return judgeCode(functionText(body, text), 'plpgsql', env);
}

/** The PL/pgSQL parser wants a whole statement, with the argument names that the body uses. */
function functionText(body: Node, code: string): string {
  const parameters = listOf(body['parameters']).flatMap((item) => textOf(bodyOf(item, 'FunctionParameter')?.['name']) ?? []);
  const quoted = parameters.map((name) => `"${name.replaceAll('"', '""')}" text`).join(', ');
  const isTrigger = namesOf(objectOf(body['returnType'])?.['names'])?.at(-1) === 'trigger';
  const returns = isTrigger ? 'trigger' : objectOf(body['returnType'])?.['setof'] === true || listOf(body['parameters']).length > parameters.length ? 'setof text' : 'text';
  return `CREATE FUNCTION f(${isTrigger ? '' : quoted}) RETURNS ${returns} LANGUAGE plpgsql AS ${quote(code)}`;
}

function doText(body: Node): string | null {
  const options = listOf(body['args']).map((item) => bodyOf(item, 'DefElem'));
  const language = options.find((option) => option?.['defname'] === 'language');
  if (language && textOf(bodyOf(language['arg'], 'String')?.['sval'])?.toLowerCase() !== 'plpgsql') return null;
  const code = textOf(bodyOf(options.find((option) => option?.['defname'] === 'as')?.['arg'], 'String')?.['sval']);
  return code === null ? null : `DO ${quote(code)}`;
}

function quote(code: string): string {
  return `'${code.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`.replace(/^'/, code.includes('\\') ? "E'" : "'");
}

function judgeCode(text: string | null, language: 'sql' | 'plpgsql', env: Environment): Denial | null {
  if (text === null) return unproven('code in this language cannot be read');
  const surveys = language === 'sql' ? surveyText(text, env) : surveyPlPgSql(text, env);
  if (!surveys) return unproven('the code cannot be read or runs text as SQL');
  for (const survey of surveys) {
    const barrier = findBarrier(survey, { ...env, searchPath: 'any' });
    if (barrier) return barrier;
    if (relationsOf(survey, { ...env, searchPath: 'any' }).some((relation) => env.closure.isTouched(relation.oid))) return unproven('the code touches a relation with masked columns');
  }
  return null;
}

function judgeTrigger(body: Node, env: Environment): Denial | null {
  if (env.closure.isEmpty) return null;
  const name = namesOf(body['funcname'])?.at(-1) ?? '';
  const functions = env.catalog.functionsByName.get(name) ?? [];
  if (functions.length === 0 && !env.catalog.systemFunctions.has(name)) return unproven(`function "${name}" is not known to the gateway (yet)`);
  const problem = functions.map((candidate) => functionProblem(candidate, env)).find((found) => found !== null);
  return problem ? unproven(problem) : null;
}

/** A new table may refer to named unmasked columns; LIKE, INHERITS and PARTITION OF would take masked ones along under another name. */
function judgeTable(body: Node, env: Environment): Denial | null {
  if (listOf(body['inhRelations']).length > 0) return onMasked('INHERITS or PARTITION OF');
  const elements = listOf(body['tableElts']);
  const constraints = [...listOf(body['constraints']), ...elements, ...elements.flatMap((item) => listOf(bodyOf(item, 'ColumnDef')?.['constraints']))];
  for (const item of constraints) {
    if (bodyOf(item, 'TableLikeClause')) return onMasked('LIKE');
    const constraint = bodyOf(item, 'Constraint');
    const target = objectOf(constraint?.['pktable']);
    if (!target) continue;
    const columns = namesOf(constraint?.['pk_attrs']) ?? [];
    const masked = resolveRelation(env, textOf(target['schemaname']), textOf(target['relname']) ?? '').relations.some(
      (relation) => env.closure.isTouched(relation.oid) && (columns.length === 0 || columns.some((name) => isMaskedName(relation.oid, name, env))),
    );
    // A foreign key answers whether a value exists.
    if (masked) return onMasked('a foreign key');
  }
  return null;
}

function judgeIndex(body: Node, env: Environment): Denial | null {
  const elements = [...listOf(body['indexParams']), ...listOf(body['indexIncludingParams'])].map((item) => bodyOf(item, 'IndexElem'));
  const isPlain = namedRelations(body, env).every((relation) => (body['whereClause'] === undefined || isClearExpression(body['whereClause'], relation, env)) && elements.every((element) => {
    const name = textOf(element?.['name']);
    return name === null ? isClearExpression(element?.['expr'] ?? {}, relation, env) : isClearColumn(relation, name, env);
  }));
  return isPlain ? null : onMasked('an index over masked columns');
}

function namedRelations(body: Node, env: Environment): readonly CatalogRelation[] {
  const range = objectOf(body['relation']);
  return resolveRelation(env, textOf(range?.['schemaname']), textOf(range?.['relname']) ?? '').relations;
}

function judgeRename(body: Node, isTouched: boolean, env: Environment): Denial | null {
  if (isTouched) return onMasked('a new name');
  const isSchema = body['renameType'] === 'OBJECT_SCHEMA' && !env.closure.isEmpty;
  return isSchema ? unproven('renaming a schema would take its tables out of the rules') : null;
}

function isMaskedName(oid: number, name: string, env: Environment): boolean {
  const column = env.catalog.relations.get(oid)?.columns.find((candidate) => candidate.name === name);
  return !column || env.closure.maskOf(oid, column.attnum) !== null;
}
