import { type Denial, deny } from '../../errors.ts';
import type { CatalogFunction, CatalogRelation } from '../catalog-snapshot.ts';
import { type Environment, isSystemSchema, resolveRelation } from './environment.ts';
import { defaultProblem, functionProblem, triggerProblem } from './functions.ts';
import { isRefusedFunction, isRefusedRelation, isRefusedSetting, isSequenceFunction, showsAllSequences } from './refused-names.ts';
import type { NamedCall, NamedRelation, Survey } from './survey.ts';
import { bodyOf, constantText, listOf, type Node, namesOf } from './tree.ts';

/**
 * The first reason why a tree may not run in a masked session, whatever it selects: relations and functions that hand out stored values,
 * code that cannot be read, names that cannot be resolved.
 *
 * @returns null when there is none. That says nothing about masked columns: lineage does.
 */
export function findBarrier(survey: Survey, env: Environment): Denial | null {
  const settings = settingsQueries(survey);
  for (const relation of survey.relations) {
    const problem = relationBarrier(relation, survey, env);
    if (problem) return problem;
  }
  for (const call of survey.calls) {
    const problem = callBarrier(call, env, settings);
    if (problem) return problem;
  }
  for (const name of survey.attributes) {
    const problem = attributeBarrier(name, survey, env);
    if (problem) return problem;
  }
  return codeBarrier(survey, env) ?? writeBarrier(survey, env);
}

/** Relations that a survey's names can mean, own and unknown ones left out. */
export function relationsOf(survey: Survey, env: Environment): readonly CatalogRelation[] {
  return survey.relations.flatMap((relation) => (relation.exists ? resolveRelation(env, relation.schema, relation.name).relations : []));
}

function relationBarrier(named: NamedRelation, survey: Survey, env: Environment): Denial | null {
  if (!named.exists) return null;
  const { relations, own } = resolveRelation(env, named.schema, named.name);
  const isCommonTable = named.schema === null && survey.commonTables.has(named.name);
  if (relations.length === 0 && !own && !isCommonTable && !env.closure.isEmpty) {
    return unproven(`relation "${named.name}" is not known to the gateway (yet)`);
  }
  if (relations.length > 1 && env.searchPath !== 'any' && !own) return unproven(`relation "${named.name}" exists more than once along the search path: name its schema`);
  for (const relation of relations) {
    if (isSystemSchema(relation.schema) || relation.schema === 'pg_toast') {
      if (isRefusedRelation(relation.name)) return unproven(`"${relation.name}" holds samples or state of other statements`);
      if (showsAllSequences(relation.name) && !hasPlainSequencesOnly(env)) return unproven(`"${relation.name}" shows sequences that may hold masked values`);
    } else if (relation.kind === 'S' && !isPlainSequence(relation, env)) {
      return unproven(`sequence "${relation.name}" is not known to number unmasked columns only`);
    }
    const problem = env.closure.problemOf(relation.oid);
    if (problem) return unproven(problem);
  }
  return null;
}

/** It numbers unmasked columns: the one that owns it, or those that take their default from it. One that nobody numbers with may have been set to anything. */
function isPlainSequence(sequence: CatalogRelation, env: Environment): boolean {
  if (sequence.ownedBy !== null) return env.closure.maskOf(sequence.ownedBy.relation, sequence.ownedBy.attnum) === null;
  const numbered = [...env.catalog.relations.values()].flatMap((relation) => relation.columns.filter((column) => column.default?.includes(sequence.name) === true).map((column) => env.closure.maskOf(relation.oid, column.attnum)));
  return numbered.length > 0 && numbered.every((mask) => mask === null);
}

/** pg_dump reads all sequences in one query: allowed where none of them may hold a masked value. */
function hasPlainSequencesOnly(env: Environment): boolean {
  return [...env.catalog.relations.values()].every((relation) => relation.kind !== 'S' || isPlainSequence(relation, env));
}

function callBarrier(call: NamedCall, env: Environment, settings: ReadonlySet<Node>): Denial | null {
  const name = call.names.at(-1);
  if (name === undefined) return unproven('a function has no readable name');
  const schema = call.names.length > 1 ? (call.names.at(-2) ?? null) : null;
  const isSystem = schema === null ? env.catalog.systemFunctions.has(name) : schema === 'pg_catalog';
  if (isSystem) {
    const problem = systemCallBarrier(name, call, env, settings);
    if (problem) return problem;
  }
  if (schema === 'information_schema' || env.closure.isEmpty) return null;
  const functions = userFunctions(name, schema, env);
  if (functions.length === 0 && !isSystem) return unproven(`function "${name}" is not known to the gateway (yet)`);
  return firstFunctionProblem(functions, env);
}

function systemCallBarrier(name: string, call: NamedCall, env: Environment, settings: ReadonlySet<Node>): Denial | null {
  if (isRefusedFunction(name)) return unproven(`function "${name}" can hand out stored values`);
  if (showsAllSequences(name) && !hasPlainSequencesOnly(env)) return unproven(`"${name}" shows sequences that may hold masked values`);
  if (isSequenceFunction(name)) return sequenceBarrier(name, call, env);
  if (name === 'set_config') return settings.has(call.node) ? null : setConfigBarrier(call);
  if (name !== 'current_setting') return null;
  const setting = constantText(call.args[0]);
  return setting === null || setting.includes('.') ? unproven('current_setting of a name that is not a constant, or of a custom setting') : null;
}

function sequenceBarrier(name: string, call: NamedCall, env: Environment): Denial | null {
  const text = constantText(call.args[0]);
  const parts = text === null ? null : text.match(/^(?:(?:"([^"]+)"|([a-zA-Z_][\w$]*))\.)?(?:"([^"]+)"|([a-zA-Z_][\w$]*))$/);
  const sequence = parts?.[3] ?? parts?.[4]?.toLowerCase();
  if (!parts || sequence === undefined) return unproven(`${name} of a sequence that is not named by a constant`);
  const { relations, own } = resolveRelation(env, parts[1] ?? parts[2]?.toLowerCase() ?? null, sequence);
  const isPlain = relations.length > 0 && relations.every((relation) => relation.kind === 'S' && isPlainSequence(relation, env));
  return isPlain || own ? null : unproven(`sequence "${sequence}" is not known to number unmasked columns only`);
}

function setConfigBarrier(call: NamedCall): Denial | null {
  const [name, value] = [constantText(call.args[0]), constantText(call.args[1])];
  if (name === null || value === null) return unproven('set_config with arguments that are not constants');
  return isRefusedSetting(name, value) ? deny('SETTING_REFUSED', { detail: `setting "${name}"` }) : null;
}

/**
 * Calls of `SELECT set_config(name, 'LITERAL', BOOL) FROM pg_settings WHERE name = 'LITERAL'`, in these very words: the constant form, sent by pg_dump and pgAdmin.
 */
function settingsQueries(survey: Survey): ReadonlySet<Node> {
  const calls = new Set<Node>();
  for (const select of survey.selects) {
    const from = listOf(select['fromClause']).map((item) => bodyOf(item, 'RangeVar')?.['relname']);
    if (from.length !== 1 || from[0] !== 'pg_settings') continue;
    const where = bodyOf(select['whereClause'], 'A_Expr');
    const setting = where && namesOf(where['name'])?.join('.') === '=' && columnName(where['lexpr']) === 'name' ? constantText(where['rexpr']) : null;
    if (setting === null) continue;
    for (const target of listOf(select['targetList'])) {
      const call = bodyOf(bodyOf(target, 'ResTarget')?.['val'], 'FuncCall');
      if (!call || namesOf(call['funcname'])?.at(-1) !== 'set_config') continue;
      const [name, value] = listOf(call['args']);
      const text = constantText(value);
      if (columnName(name) === 'name' && text !== null && !isRefusedSetting(setting, text)) calls.add(call);
    }
  }
  return calls;
}

function columnName(value: unknown): string | null {
  const fields = namesOf(bodyOf(value, 'ColumnRef')?.['fields']);
  return fields?.length === 1 ? (fields[0] ?? null) : null;
}

/** `x.f` and `(x).f` call function f when x has no such column. */
function attributeBarrier(name: string, survey: Survey, env: Environment): Denial | null {
  const isRefused = env.catalog.systemFunctions.has(name) && (isRefusedFunction(name) || isSequenceFunction(name) || showsAllSequences(name) || name === 'set_config' || name === 'current_setting');
  const functions = env.closure.isEmpty ? [] : userFunctions(name, null, env);
  if (!isRefused && functions.length === 0) return null;
  if (relationsOf(survey, env).some((relation) => relation.columns.some((column) => column.name === name))) return null;
  return isRefused ? unproven(`function "${name}" can hand out stored values`) : firstFunctionProblem(functions, env);
}

/** Operators, casts and types that run user code. */
function codeBarrier(survey: Survey, env: Environment): Denial | null {
  if (env.closure.isEmpty) return null;
  for (const names of survey.operators) {
    const name = names.at(-1) ?? '';
    if (names[0] === 'pg_catalog' || !env.catalog.userOperators.has(name)) continue;
    const oids = env.catalog.operatorFunctions?.get(name);
    if (!oids) return unproven(`operator ${name} is not the server's own`);
    const problem = firstFunctionProblem(env.closure.functionsOf(oids), env);
    if (problem) return problem;
  }
  for (const names of survey.types) {
    const name = names.at(-1) ?? '';
    if (names.length > 1 && names[0] === 'pg_catalog') continue;
    const runsCode = env.catalog.typesWithCode ? env.catalog.typesWithCode.has(name) : env.catalog.userTypes.has(name);
    if (runsCode) return unproven(`type "${name}" runs code of its own`);
  }
  return null;
}

/** Column defaults, triggers and rules of the written relations, their partitions and the tables behind written views. */
function writeBarrier(survey: Survey, env: Environment): Denial | null {
  if (env.closure.isEmpty) return null;
  for (const write of survey.writes) {
    for (const named of resolveRelation(env, write.schema, write.name).relations) {
      for (const relation of env.closure.writtenWith(named)) {
        for (const column of relation.columns) {
          const problem = column.default === undefined ? null : defaultProblem(column.default, env);
          if (problem) return unproven(problem);
        }
        if (!relation.hasTriggers) continue;
        if (!relation.triggerFunctions) return unproven(`a rule of "${relation.name}" changes what a write does`);
        for (const oid of relation.triggerFunctions) {
          const [trigger] = env.closure.functionsOf([oid]);
          const problem = env.closure.isTouched(relation.oid) ? triggerProblem(oid, env) : trigger ? functionProblem(trigger, env) : null;
          if (problem) return unproven(problem);
        }
      }
    }
  }
  return null;
}

function userFunctions(name: string, schema: string | null, env: Environment): readonly CatalogFunction[] {
  return (env.catalog.functionsByName.get(name) ?? []).filter((candidate) => schema === null || candidate.schema === schema);
}

function firstFunctionProblem(functions: readonly CatalogFunction[], env: Environment): Denial | null {
  for (const candidate of functions) {
    const problem = functionProblem(candidate, env);
    if (problem) return unproven(problem);
  }
  return null;
}

/** A refusal because nobody can prove that the answer is safe. */
export function unproven(detail: string): Denial {
  return deny('MASKING_UNPROVEN', { detail });
}

/** A refusal because a masked column stands where it may not. */
export function misplaced(detail: string): Denial {
  return deny('MASKED_COLUMN_REFUSED', { detail });
}
