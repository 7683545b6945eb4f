import type { MaskingRule } from '../../../contract/proxy-config.ts';
import { type Denial, deny } from '../errors.ts';
import type { NameScope } from './catalog-snapshot.ts';
import { findBarrier, relationsOf, unproven } from './lineage/barriers.ts';
import type { Environment, MaskParse } from './lineage/environment.ts';
import { queryColumns } from './lineage/queries.ts';
import { judgeDefinition, judgeSettings } from './lineage/statements.ts';
import { type Survey, surveyTree } from './lineage/survey.ts';
import { newTrace, type Trace, type TracedColumn } from './lineage/taint.ts';
import { bodyOf, listOf, type Node, objectOf, textOf, unwrap, type Wrapped } from './lineage/tree.ts';
import { writeColumns } from './lineage/writes.ts';
import { copyColumns } from './lineage/copy.ts';
import type { MaskClosure } from './mask-closure.ts';
import type { MaskJudgement } from './statement-facts.ts';

export type { MaskParse } from './lineage/environment.ts';

/** What may leave in a statement's answer, and which parameters may not be recorded in clear. */
export interface MaskingVerdict {
  readonly judgement: MaskJudgement;
  /** `$n` that meet a masked column; all of a refused statement. */
  readonly maskedParameters: readonly number[];
  /** An allowed `masked column = constant` stands in WHERE: rate-limited and flagged in the record. */
  readonly usesEquality: boolean;
}

/**
 * Judges one statement of a masked session before it is forwarded: which masked column each output column shows, or why it cannot be proven.
 *
 * PREPARE and DECLARE CURSOR are judged as their inner query; their own answer has no rows, so what is not refused is `clear`.
 * EXECUTE and FETCH are `clear` here: their rows follow the judgement of the query that they run. EXPLAIN's answer is a plan, never a row.
 *
 * @param statement one `stmt` of libpg_query's ParseResult, wrapped (`{ "SelectStmt": … }`).
 * @param closure made from `scope.catalog` and the same `rules`; a closure of another epoch gives wrong answers.
 * @param rules all masking rules of the session; none: not a masked session, everything is `clear`.
 */
export function judgeMasking(statement: unknown, scope: NameScope, closure: MaskClosure, rules: readonly MaskingRule[], parse: MaskParse): MaskingVerdict {
  if (rules.length === 0) return { judgement: { outcome: 'clear' }, maskedParameters: [], usesEquality: false };
  const survey = surveyTree(statement);
  const node = unwrap(statement);
  if (!survey || !node) return refused(survey ? unproven('the statement cannot be read') : deny('STATEMENT_TOO_DEEP'), survey);
  const env: Environment = {
    catalog: scope.catalog, searchPath: scope.searchPath ?? 'any', temporary: scope.temporaryRelations, created: scope.createdInTransaction ?? new Set(), closure, rules, parse,
  };
  return judge(node, statement, survey, env);
}

function judge(node: Wrapped, statement: unknown, survey: Survey, env: Environment): MaskingVerdict {
  const early = judgeSettings(node) ?? findBarrier(survey, env);
  if (early) return refused(early, survey);
  const inner = innerStatement(node);
  if (inner !== null) return judgeInner(node, inner, env);
  const isTouched = relationsOf(survey, env).some((relation) => env.closure.isTouched(relation.oid));
  const outputs = followStatement(node, isTouched, env);
  if (outputs === null) return clear;
  if (outputs.outcome === 'refused') return refused(outputs.denial, survey);
  if (outputs.trace.denial) return refused(outputs.trace.denial, survey);
  // COPY has no RowDescription: the type of a cell is told here.
  const isCopy = node.type === 'CopyStmt';
  const columns = outputs.columns.map(({ mask, typeOid, typeModifier = -1 }) => mask && { rule: mask.rule, bare: mask.bare, ...(mask.hidesNull === true ? { hidesNull: true } : {}), ...(isCopy && typeOid !== null ? { type: { oid: typeOid, modifier: typeModifier } } : {}) });
  // Its rows have no description that would tell how such a value is written.
  if (isCopy && columns.some((column) => column?.hidesNull === true)) return refused(deny('MASKED_COLUMN_REFUSED', { detail: 'COPY of an expression over it' }), survey);
  const isNewRelation = bodyOf(statement, 'CreateTableAsStmt') !== null || bodyOf(statement, 'ViewStmt') !== null || objectOf(node.body['intoClause']) !== null;
  if (isNewRelation && columns.some((column) => column !== null)) return refused(deny('MASKED_COLUMN_REFUSED', { detail: 'a new table or view would hold it' }), survey);
  return { judgement: isNewRelation ? { outcome: 'clear' } : { outcome: 'columns', columns }, maskedParameters: [...(outputs.trace.writesFromElsewhere ? survey.parameters : outputs.trace.maskedParameters)], usesEquality: outputs.trace.usesEquality };
}

const clear: MaskingVerdict = { judgement: { outcome: 'clear' }, maskedParameters: [], usesEquality: false };

function refused(denial: Denial, survey: Survey | null): MaskingVerdict {
  return { judgement: { outcome: 'refused', denial }, maskedParameters: [...(survey?.parameters ?? [])], usesEquality: false };
}

type Followed = { readonly outcome: 'followed'; readonly columns: readonly TracedColumn[]; readonly trace: Trace } | { readonly outcome: 'refused'; readonly denial: Denial } | null;

/** Null: nothing of the answer can come from a masked column. */
function followStatement(node: Wrapped, isTouched: boolean, env: Environment): Followed {
  const nowhere = { frame: null, commonTables: null };
  const trace = newTrace(env, 'judge', true);
  switch (node.type) {
    case 'SelectStmt':
      return isTouched ? { outcome: 'followed', columns: queryColumns(node.body, nowhere, trace, true), trace } : null;
    case 'InsertStmt':
    case 'UpdateStmt':
    case 'DeleteStmt':
    case 'MergeStmt':
      return isTouched ? { outcome: 'followed', columns: writeColumns(node, nowhere, trace, true), trace } : null;
    case 'CopyStmt':
      return copyColumns(node.body, isTouched, trace);
    case 'CreateTableAsStmt':
    case 'ViewStmt': {
      if (!isTouched) return node.type === 'ViewStmt' || bodyOf(node.body['query'], 'SelectStmt') ? null : { outcome: 'refused', denial: unproven('CREATE TABLE AS EXECUTE') };
      const query = bodyOf(node.body['query'], 'SelectStmt');
      if (!query) return { outcome: 'refused', denial: unproven('its query cannot be read') };
      return { outcome: 'followed', columns: queryColumns(query, nowhere, trace, false), trace };
    }
    default: {
      const denial = judgeDefinition(node, isTouched, env);
      return denial && { outcome: 'refused', denial };
    }
  }
}

/** The statement inside PREPARE, DECLARE CURSOR and EXPLAIN. */
function innerStatement(node: Wrapped): unknown {
  return /^(PrepareStmt|DeclareCursorStmt|ExplainStmt)$/.test(node.type) ? (node.body['query'] ?? {}) : null;
}

function judgeInner(node: Wrapped, inner: unknown, env: Environment): MaskingVerdict {
  const survey = surveyTree(inner);
  const statement = unwrap(inner);
  if (!survey || !statement) return refused(unproven('the inner statement cannot be read'), survey);
  const explained = node.type === 'ExplainStmt' ? explainBarrier(node.body, statement, survey, env) : null;
  if (explained) return refused(explained, survey);
  const verdict = judge(statement, inner, survey, env);
  if (verdict.judgement.outcome === 'refused') return verdict;
  if (node.type === 'ExplainStmt' && verdict.usesEquality) return refused(deny('MASKED_COLUMN_REFUSED', { detail: 'EXPLAIN of a condition on it' }), survey);
  return { ...verdict, judgement: { outcome: 'clear' } };
}

/** ANALYZE and VERBOSE show values; a plan shows what a user function was folded to. */
function explainBarrier(body: Node, inner: Wrapped, survey: Survey, env: Environment): Denial | null {
  for (const item of listOf(body['options'])) {
    const option = bodyOf(item, 'DefElem');
    const name = textOf(option?.['defname'])?.toLowerCase();
    if ((name === 'analyze' || name === 'verbose') && !isOff(option?.['arg'])) return unproven(`EXPLAIN with ${name.toUpperCase()}`);
  }
  if (inner.type === 'ExecuteStmt') return unproven('EXPLAIN EXECUTE');
  const isUsers = (names: readonly string[]): boolean => names[0] !== 'pg_catalog' && env.catalog.functionsByName.has(names.at(-1) ?? '');
  return survey.calls.some((call) => isUsers(call.names)) && !env.closure.isEmpty ? unproven('EXPLAIN of a statement with a user function') : null;
}

function isOff(value: unknown): boolean {
  const text = textOf(bodyOf(value, 'String')?.['sval'])?.toLowerCase();
  if (text !== undefined && text !== null) return ['off', 'false', '0', 'no'].includes(text);
  const boolean = bodyOf(value, 'Boolean');
  if (boolean) return boolean['boolval'] !== true;
  const integer = bodyOf(value, 'Integer');
  return integer !== null && (integer['ival'] === undefined || integer['ival'] === 0);
}
