import type { StatementClass } from '../../../contract/proxy-config.ts';
import { type Denial, deny } from '../errors.ts';
import type { SqlParse, SqlParser } from '../ports.ts';
import type { NameScope } from './catalog-snapshot.ts';
import { type ClassifyInput, classify, statementsOf } from './classify.ts';
import { readCopyOptions } from './copy-options.ts';
import { discardEffect, nameOrAll, transactionEffect } from './effects.ts';
import { emptyFindings, type Findings } from './findings.ts';
import { refuseInMaskedSession } from './masked-session.ts';
import { definesTemporary, returnsRows } from './statement-shape.ts';
import { readSearchPath } from './names.ts';
import { isTreeNode, textOf, type TreeNode, unwrap } from './parse-tree.ts';
import { mayChangeSearchPath } from './path-change.ts';
import { hiddenText, isName, redactStatement, redactUnreadable } from './redact-text.ts';
import { isTrackedSetting } from './settings.ts';
import type { InspectedQuery, MaskJudgement, StatementEffect, StatementFacts } from './statement-facts.ts';
import { TooDeep } from './walk.ts';

/** The masking side of an inspection (`lineage.ts` makes it); a function, so that either side can be tested alone. */
export interface MaskingReview {
  /**
   * Judges one statement, e.g. `{ SelectStmt: … }`. Called for every statement that can move rows or define something, EXPLAIN as a whole included; for PREPARE and
   * DECLARE with their inner statement; never for transaction control, SET, SHOW, EXECUTE, FETCH and the like.
   */
  judge(statement: unknown, scope: NameScope): { readonly judgement: MaskJudgement; readonly maskedParameters: readonly number[]; readonly usesEquality?: boolean };
  /** True when the relation has, or can show, a masked column. */
  touchesMasked(schema: string, name: string): boolean;
}

/** What inspection may ask, and what is masked. */
export interface InspectOptions {
  readonly parser: Pick<SqlParser, 'parse' | 'parsePlPgSql' | 'fingerprint'>;
  /** Null when no masking rule applies to the session. */
  readonly masking: MaskingReview | null;
  /** True for a text that holds a regulated value; null when the session has no detectors. */
  readonly detect: ((text: string) => boolean) | null;
}

/**
 * Reads a query text that was parsed: what each statement is, touches, calls, changes and may show. Pure; the answer holds for one catalog epoch and search path.
 *
 * - `pairs` carry D1: a child relation's pair lists its parents as `ancestors`; what only the server knows is object `*`; a name that may mean several objects has a pair for each.
 * - EXECUTE and FETCH have no pairs of their own beyond their arguments' calls: the caller adds those of the statement that `effect` names.
 * - A text of comments has no statement. Nesting beyond 1,000 nodes is unreadable, STATEMENT_TOO_DEEP.
 */
export function inspectQuery(text: string, parse: SqlParse, scope: NameScope, options: InspectOptions): InspectedQuery {
  switch (parse.outcome) {
    case 'failed': return unreadable(text, deny(parse.code), null, options);
    case 'invalid': return unreadable(text, syntaxError(parse.message, options), parse.position, options);
    case 'parsed': break;
    default: return parse satisfies never;
  }
  try {
    const offsets = characterOffsets(text);
    let next = 0;
    const found = statementsOf(parse.tree);
    const created = new Set(scope.createdInTransaction);
    let names: NameScope = { ...scope, createdInTransaction: created };
    const statements = found.map(({ statement, start: location, length }, index) => {
      // Comments in front of a statement belong to it, those behind the last one too: the record shows the whole text.
      const start = next;
      const close = length === 0 ? offsets.bytes : location + length;
      const isLast = index === found.length - 1;
      const end = isLast && /[^\s;]/.test(text.slice(offsets.at(close))) ? offsets.bytes : close;
      next = end + 1;
      const own = text.slice(offsets.at(start), offsets.at(end));
      const fingerprint = parse.fingerprints === undefined ? options.parser.fingerprint(own) : parse.fingerprints[index];
      const source: Source = {
        text: own, range: { start, end }, fingerprint: fingerprint ?? '', plpgsql: parse.plpgsql?.[index],
        locate: (location) => offsets.at(location) - offsets.at(start),
      };
      const facts = readStatement(statement, source, names, options);
      // A later statement of the same text may use what this one creates.
      for (const pair of facts.pairs) if (pair.class === 'Create' && pair.object !== null && pair.object !== '*') created.add(pair.object.name);
      names = namesAfter(facts, names);
      return facts;
    });
    return { outcome: 'read', statements };
  } catch (error) {
    // The judges of masking have walks of their own.
    if (error instanceof TooDeep || (error instanceof Error && error.name === 'RangeError')) return unreadable(text, deny('STATEMENT_TOO_DEEP'), null, options);
    throw error;
  }
}

/**
 * Where the next statement of the same text looks up its names. A path of one schema is known; any other change makes the path unknown: of several schemas
 * the server skips those that its role may not use.
 */
function namesAfter(facts: StatementFacts, scope: NameScope): NameScope {
  const { effect } = facts;
  if (effect?.kind === 'transaction') {
    const ends = effect.what === 'commit' || effect.what === 'rollback' || effect.what === 'rollback-to';
    return ends && scope.pathEndsWithTransaction === true ? { ...scope, searchPath: null } : scope;
  }
  if (!mayChangeSearchPath(facts, scope.catalog)) return scope;
  const isConstant = effect?.kind === 'set' && effect.name === 'search_path' && effect.value !== null && !effect.local && facts.calls.length === 0;
  const path = isConstant ? readSearchPath(effect.value ?? '') : null;
  return { ...scope, searchPath: path === null || path.length > 1 || path.includes('$user') ? null : path, pathEndsWithTransaction: true };
}

interface Source {
  readonly text: string;
  readonly range: StatementFacts['range'];
  readonly fingerprint: string;
  readonly plpgsql: unknown;
  /** UTF-16 offset in `text` of a byte offset in the query. */
  locate(location: number): number;
}

function readStatement(statement: unknown, source: Source, scope: NameScope, options: InspectOptions): StatementFacts {
  const { kind: node, body } = unwrap(statement) ?? { kind: '', body: {} };
  const findings = emptyFindings(scope);
  const input: ClassifyInput = { parser: options.parser, text: source.text, ...(source.plpgsql === undefined ? {} : { plpgsql: source.plpgsql }) };
  const kind = classify(statement, findings, input);
  const isWrapper = node === 'PrepareStmt' || node === 'DeclareCursorStmt';
  const inner = isWrapper ? readStatement(body['query'], source, scope, options) : null;
  const masked = options.masking === null ? clear : judgeMasking(statement, node, scope, options.masking);
  const effect = readEffect(node, body, findings, inner);
  const refusal = findings.refusal ?? inner?.refusal ?? (options.masking === null ? null : refuseInMaskedSession(node, body, findings)) ?? searchPathConflict(findings);
  return {
    kind,
    pairs: [...findings.pairs.values()],
    objects: [...findings.objects].map((name) => shownObject(name, options)),
    calls: [...findings.calls],
    redactedText: redact(source, kind, findings, effect, masked.judgement.outcome === 'refused', options),
    fingerprint: source.fingerprint,
    range: source.range,
    effect,
    copy: node === 'CopyStmt' ? readCopyOptions(body, scope) : null,
    returnsRows: returnsRows(node, body),
    refusal,
    masking: inner === null ? masked.judgement : inner.masking.outcome === 'refused' ? inner.masking : clear.judgement,
    maskedParameters: inner === null ? masked.maskedParameters : inner.maskedParameters,
    ...((inner === null ? masked.usesEquality : inner.usesEquality) === true ? { usesEquality: true } : {}),
  };
}

const clear: ReturnType<MaskingReview['judge']> = { judgement: { outcome: 'clear' }, maskedParameters: [] };

/** Statements without rows or definitions of their own; SHOW and SET are judged by `refuseInMaskedSession`. */
const withoutRows: ReadonlySet<string> = new Set([
  'PrepareStmt', 'DeclareCursorStmt', 'TransactionStmt', 'VariableSetStmt', 'VariableShowStmt', 'DeallocateStmt', 'ClosePortalStmt', 'DiscardStmt', 'ConstraintsSetStmt', 'FetchStmt',
  'ExecuteStmt',
]);

function judgeMasking(statement: unknown, node: string, scope: NameScope, masking: MaskingReview): ReturnType<MaskingReview['judge']> {
  if (withoutRows.has(node)) return clear;
  const verdict = masking.judge(statement, scope);
  if (node !== 'ExplainStmt' || verdict.judgement.outcome !== 'columns') return verdict;
  // The answer is a plan, not the columns; a plan shows folded constants and estimates made from stored values.
  const isMasked = verdict.judgement.columns.some((column) => column !== null);
  const denial = deny('MASKED_COLUMN_REFUSED', { message: 'EXPLAIN of a masked column can show its values' });
  return { ...verdict, judgement: isMasked ? { outcome: 'refused', denial } : { outcome: 'clear' } };
}

function readEffect(node: string, body: TreeNode, findings: Findings, inner: StatementFacts | null): StatementEffect | null {
  switch (node) {
    case 'PrepareStmt': return inner === null ? null : { kind: 'prepare', name: textOf(body['name']), query: inner };
    case 'DeclareCursorStmt': return inner === null ? null : { kind: 'declare', name: textOf(body['portalname']), query: inner, hold: (Number(body['options'] ?? 0) & cursorHold) !== 0 };
    case 'ExecuteStmt': return { kind: 'execute', name: textOf(body['name']) };
    case 'DeallocateStmt': return { kind: 'deallocate', name: nameOrAll(body['name']) };
    case 'FetchStmt': return { kind: 'fetch', name: textOf(body['portalname']), move: body['ismove'] === true };
    case 'ClosePortalStmt': return { kind: 'close', name: nameOrAll(body['portalname']) };
    case 'DiscardStmt': return discardEffect(body);
    case 'TransactionStmt': return transactionEffect(body);
    case 'VariableSetStmt':
      if (body['kind'] === 'VAR_RESET_ALL') return { kind: 'reset', name: null };
      if (body['kind'] === 'VAR_RESET' || (body['kind'] === 'VAR_SET_DEFAULT' && body['is_local'] !== true)) return { kind: 'reset', name: textOf(body['name']).toLowerCase() };
      if (body['kind'] === 'VAR_SET_DEFAULT') return { kind: 'set', name: textOf(body['name']).toLowerCase(), value: null, local: true };
      return settingEffect(findings);
    case 'ExplainStmt': case 'CreateTableAsStmt': {
      // EXPLAIN EXECUTE and CREATE TABLE AS EXECUTE plan or run the statement of that name.
      const query = unwrap(body['query']);
      if (query?.kind === 'ExecuteStmt') return { kind: 'execute', name: textOf(query.body['name']) };
      if (node === 'ExplainStmt') return settingEffect(findings);
      break;
    }
    case 'SelectStmt':
      if (!isTreeNode(body['intoClause'])) return settingEffect(findings);
      break;
    case 'InsertStmt': case 'UpdateStmt': case 'DeleteStmt': case 'MergeStmt': case 'CopyStmt': case 'CallStmt': case 'DoStmt': case 'VariableShowStmt': case 'ConstraintsSetStmt':
      return settingEffect(findings);
    default:
  }
  if (withoutDefinition.has(node)) return null;
  const temporary = definesTemporary(node, body);
  return temporary === null ? { kind: 'ddl' } : { kind: 'create-temp', name: temporary };
}

/** Statements that change no definition which the catalog snapshot holds. */
const withoutDefinition: ReadonlySet<string> = new Set([
  'TruncateStmt', 'LockStmt', 'NotifyStmt', 'ListenStmt', 'UnlistenStmt', 'VacuumStmt', 'CheckPointStmt', 'LoadStmt', 'ReindexStmt', 'ClusterStmt', 'RefreshMatViewStmt', 'CommentStmt',
]);

/** CURSOR_OPT_HOLD of parsenodes.h. */
const cursorHold = 0x20;

/** Of several settings the tracked one counts: for the others the server reports what it must. */
function settingEffect(findings: Findings): StatementEffect | null {
  const setting = findings.settings.find(({ name }) => isTrackedSetting(name)) ?? findings.settings.find(({ name }) => name === 'role' || name === 'session_authorization') ?? findings.settings[0];
  return setting === undefined ? null : { kind: 'set', ...setting };
}

function searchPathConflict(findings: Findings): Denial | null {
  const paths = findings.settings.filter(({ name }) => isTrackedSetting(name));
  return paths.length > 1 ? deny('SETTING_REFUSED', { message: 'search_path may be set only once in a statement' }) : null;
}

function redact(source: Source, kind: StatementClass, findings: Findings, effect: StatementEffect | null, isRefused: boolean, options: InspectOptions): string {
  const { masking } = options;
  const keepLiterals = masking === null
    || (!isRefused && effect?.kind !== 'execute' && findings.calls.size === 0 && !opaqueKinds.includes(kind) && ![...findings.objects].some((object) => touches(object, masking)));
  return redactStatement({
    text: source.text, constants: findings.constants.filter((location) => location >= 0).map((location) => source.locate(location)),
    keepLiterals, hasSecrets: kind === 'Role' || kind === 'System', detect: options.detect,
  }).trim();
}

/** `schema.name` as records and approvers may see it: in a masked session a value in the place of a name is hidden. */
function shownObject(object: string, options: InspectOptions): string {
  const dot = object.indexOf('.');
  const isPlain = options.masking === null || (isName(object.slice(0, dot)) && isName(object.slice(dot + 1)));
  return isPlain && options.detect?.(object) !== true ? object : hiddenText;
}

const opaqueKinds: readonly StatementClass[] = ['Do', 'Function', 'Call', 'Other', 'Extension'];

function touches(object: string, masking: MaskingReview): boolean {
  const dot = object.indexOf('.');
  return masking.touchesMasked(object.slice(0, dot), object.slice(dot + 1));
}

function unreadable(text: string, denial: Denial, position: number | null, options: InspectOptions): InspectedQuery {
  return { outcome: 'unreadable', denial, position, redactedText: redactUnreadable(text, options.detect) };
}

/** The parser's message quotes the text where it went wrong. */
function syntaxError(message: string, options: InspectOptions): Denial {
  return options.detect?.(message) === true ? deny('SYNTAX_ERROR') : deny('SYNTAX_ERROR', { message });
}

/** Maps byte offsets in the UTF-8 text to UTF-16 offsets. Free when the text is ASCII. */
function characterOffsets(text: string): { readonly bytes: number; at(byte: number): number } {
  const bytes = Buffer.byteLength(text);
  if (bytes === text.length) return { bytes, at: (byte) => byte };
  const map = new Uint32Array(bytes + 1);
  let byte = 0;
  for (let at = 0; at < text.length;) {
    const code = text.codePointAt(at) ?? 0;
    const [units, width] = code < 0x80 ? [1, 1] : code < 0x800 ? [1, 2] : code < 0x10000 ? [1, 3] : [2, 4];
    map.fill(at, byte, byte + width);
    byte += width;
    at += units;
  }
  map[bytes] = text.length;
  return { bytes, at: (offset) => map[offset] ?? text.length };
}
