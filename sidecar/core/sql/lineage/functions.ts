import type { CatalogFunction } from '../catalog-snapshot.ts';
import { findBarrier, relationsOf } from './barriers.ts';
import type { Environment } from './environment.ts';
import { isComputingLibrary } from './refused-names.ts';
import { type Survey, surveyTree } from './survey.ts';
import { bodyOf, isNode, listOf, textOf } from './tree.ts';

/**
 * Why a user function may not run in a masked session: its body cannot be read, is dynamic, or touches what is masked.
 *
 * The answer is kept in the closure, per function: bodies and closure belong to one catalog epoch. A function may call itself; a longer cycle is refused,
 * because an answer given inside it would rest on one that is not known yet.
 *
 * @returns null when the body provably touches nothing masked.
 */
export function functionProblem(candidate: CatalogFunction, env: Environment): string | null {
  if (candidate.oid === env.currentFunction) return null;
  const known = env.closure.functionProblems.get(candidate.oid);
  if (known !== undefined) return known;
  env.closure.functionProblems.set(candidate.oid, `function "${candidate.name}" is part of a cycle`);
  const problem = judgeFunction(candidate, { ...env, searchPath: 'any', temporary: new Set(), created: new Set(), currentFunction: candidate.oid });
  env.closure.functionProblems.set(candidate.oid, problem);
  return problem;
}

/** Why firing this trigger on a write may carry a masked value elsewhere; null when it provably does not. */
export function triggerProblem(oid: number, env: Environment): string | null {
  const [trigger] = env.closure.functionsOf([oid]);
  if (!trigger) return 'a trigger of the table runs a function that cannot be read';
  const problem = functionProblem(trigger, env);
  if (problem !== null) return problem;
  const surveys = bodySurveys(trigger, env);
  if (!surveys) return `trigger function "${trigger.name}" cannot be read`;
  const movesMasked = surveys.some((survey) => survey.columns.some((fields) => isMaskedRowUse(fields, env)));
  return movesMasked ? `trigger function "${trigger.name}" uses masked columns of the row` : null;
}

function isMaskedRowUse(fields: readonly (string | null)[], env: Environment): boolean {
  const [row, column] = fields;
  if (row !== 'new' && row !== 'old') return false;
  return column === undefined || column === null || fields.length > 2 || env.closure.maskedNames.has(column);
}

function judgeFunction(candidate: CatalogFunction, env: Environment): string | null {
  const name = `function "${candidate.name}"`;
  if (candidate.supports) {
    return candidate.supports.map((oid) => supportProblem(oid, env)).find((problem) => problem !== null) ?? null;
  }
  if (candidate.language === 'c' && candidate.defaults === undefined) return candidate.library !== undefined && isComputingLibrary(candidate.library) ? null : `${name} is compiled code`;
  const surveys = bodySurveys(candidate, env);
  const defaults = candidate.defaults === undefined ? [] : surveyText(`SELECT ${candidate.defaults}`, env);
  if (!surveys || !defaults) return `the body of ${name} cannot be read or runs text as SQL`;
  for (const survey of [...surveys, ...defaults]) {
    const barrier = findBarrier(survey, env);
    if (barrier) return `${name}: ${barrier.detail ?? barrier.message}`;
    if (relationsOf(survey, env).some((relation) => env.closure.isTouched(relation.oid))) return `${name} touches a relation with masked columns`;
  }
  return null;
}

function supportProblem(oid: number, env: Environment): string | null {
  const [support] = env.closure.functionsOf([oid]);
  return support ? functionProblem(support, env) : 'an aggregate has a support function that cannot be read';
}

/** Why the default of a column may bring a masked value into its table, for INSERT to show; null when it provably does not. */
export function defaultProblem(text: string, env: Environment): string | null {
  const known = env.closure.defaultProblems.get(text);
  if (known !== undefined) return known;
  const surveys = surveyText(`SELECT ${text}`, env);
  // A sequence moves forward by one whatever it holds: that is what a default is for.
  const calls = surveys?.map((survey) => ({ ...survey, calls: survey.calls.filter((call) => call.names.at(-1) !== 'nextval') }));
  const barrier = calls?.map((survey) => findBarrier(survey, { ...env, searchPath: 'any' })).find((found) => found !== null);
  const problem = calls ? (barrier ? `a column default: ${barrier.detail ?? barrier.message}` : null) : 'a column default cannot be read';
  env.closure.defaultProblems.set(text, problem);
  return problem;
}

/** Every statement and expression of a body; null when one is dynamic or does not parse. */
function bodySurveys(candidate: CatalogFunction, env: Environment): readonly Survey[] | null {
  if (candidate.language === 'sql') return surveyText(candidate.body, env);
  if (candidate.language === 'plpgsql' && candidate.definition !== undefined) return surveyPlPgSql(candidate.definition, env);
  return null;
}

/** Surveys an SQL text of any number of statements; `BEGIN ATOMIC` bodies come as statements too. */
export function surveyText(text: string, env: Environment): readonly Survey[] | null {
  const trees = statementsOf(env.parse.parseSql(text));
  if (!trees?.every(isBodyStatement)) return null;
  const surveys = trees.map(surveyTree);
  return surveys.every((survey) => survey !== null) ? surveys : null;
}

/** Statements of a ParseResult; null when it is none. */
export function statementsOf(tree: unknown): readonly unknown[] | null {
  if (!isNode(tree) || !Array.isArray(tree['stmts'])) return null;
  return listOf(tree['stmts']).map((item) => (isNode(item) ? item['stmt'] : null));
}

/** What a body may hold: queries, writes and calls, nothing that defines, configures or reaches outside. */
function isBodyStatement(tree: unknown): boolean {
  return ['SelectStmt', 'InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt', 'CallStmt', 'TransactionStmt', 'LockStmt', 'TruncateStmt'].some((type) => bodyOf(tree, type) !== null);
}

/** PL/pgSQL statements whose text is only known when they run. */
const dynamicKeys: ReadonlySet<string> = new Set(['PLpgSQL_stmt_dynexecute', 'PLpgSQL_stmt_dynfors', 'dynquery']);
/** Statements without a rule here: assertions and diagnostics are harmless, all unlisted ones are not understood. */
const knownStatements = /^PLpgSQL_stmt_(block|assign|if|case|loop|while|fori|fors|forc|foreach_a|exit|return|return_next|return_query|raise|assert|execsql|perform|call|commit|rollback|getdiag|open|fetch|close)$/;

/** Surveys each expression of a PL/pgSQL CREATE FUNCTION or DO text. */
export function surveyPlPgSql(text: string, env: Environment): readonly Survey[] | null {
  const surveys: Survey[] = [];
  const stack: unknown[] = [env.parse.parsePlPgSql(text)];
  if (!isNode(stack[0])) return null;
  let functions = 0;
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (Array.isArray(next)) {
      stack.push(...(next as unknown[]));
      continue;
    }
    if (!isNode(next)) continue;
    for (const [key, value] of Object.entries(next)) {
      if (dynamicKeys.has(key)) return null;
      if (key.startsWith('PLpgSQL_stmt_') && !knownStatements.test(key)) return null;
      if (key === 'PLpgSQL_function') functions++;
      if (key === 'PLpgSQL_expr') {
        const found = isNode(value) ? surveyExpression(textOf(value['query']), value['parseMode'], env) : null;
        if (!found) return null;
        surveys.push(...found);
      } else if (typeof value === 'object' && value !== null) stack.push(value);
    }
  }
  return functions > 0 ? surveys : null;
}

/** RawParseMode: 0 statement, 2 expression, 3 and more assignment. */
function surveyExpression(query: string | null, mode: unknown, env: Environment): readonly Survey[] | null {
  if (query === null) return null;
  if (mode === undefined || mode === 0) return surveyText(query, env);
  if (mode === 2) return surveyText(`SELECT ${query}`, env);
  // An assignment target with anything but names and plain subscripts is not read.
  const assignment = query.match(/^\s*[\w$."]+(?:\s*\[\s*[\w$]+\s*\])*\s*:?=(?!=)([\s\S]*)$/);
  return assignment ? surveyText(`SELECT ${assignment[1] ?? ''}`, env) : null;
}
