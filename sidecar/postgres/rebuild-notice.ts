import type { DetectorSet } from '../core/masking/detectors.ts';
import { isName } from '../core/sql/redact-text.ts';
import { sqlstateConditions } from './sqlstate-conditions.ts';

/** What a rebuilt message may rest on. */
export interface NoticeScope {
  /** Whether the session has a masking rule for its target. */
  readonly masked: boolean;
  /** The text of the statement that the client sent; null when there is none. */
  readonly userText: string | null;
  readonly detectors: DetectorSet | null;
  /** Whether a name is that of a schema, relation, column, type or constraint of the catalog. */
  readonly catalogNames: (name: string) => boolean;
}

/**
 * Rebuilds the fields of an ErrorResponse or NoticeResponse so that no stored value leaves with them.
 *
 * Unmasked session: everything but file, line and routine of the server's source. Masked session: severity, SQLSTATE and position stay, the message becomes
 * the name of the SQLSTATE's condition (class 42 keeps it where it can only repeat the user's own text), object names stay if the catalog has them,
 * and detail, hint, context and internal query go: each can hold a value.
 *
 * @param fields by their letter, as the server sent them.
 * @see PostgreSQL 18, "Error and Notice Message Fields"
 */
export function rebuildNotice(fields: ReadonlyMap<string, string>, scope: NoticeScope): Map<string, string> {
  const rebuilt = new Map<string, string>();
  if (!scope.masked) {
    for (const [field, value] of fields) if (!sourceFields.has(field)) rebuilt.set(field, value);
    return rebuilt;
  }
  const severity = severities.has(fields.get('V') ?? '') ? (fields.get('V') as string) : 'ERROR';
  const sqlstate = shownSqlstate(fields.get('C'));
  // S is V in the server's language: V is a closed list, S is not.
  rebuilt.set('S', severity).set('V', severity).set('C', sqlstate).set('M', shownMessage(fields, sqlstate, scope));
  const position = fields.get('P');
  if (position !== undefined && /^[1-9]\d{0,7}$/.test(position) && Number(position) <= (scope.userText?.length ?? 0) + 1) rebuilt.set('P', position);
  for (const field of nameFields) {
    const name = fields.get(field);
    if (name !== undefined && scope.catalogNames(name) && scope.detectors?.hits(name) !== true) rebuilt.set(field, name);
  }
  return rebuilt;
}

const sourceFields: ReadonlySet<string> = new Set(['F', 'L', 'R']);
const nameFields = ['s', 't', 'c', 'd', 'n'] as const;
const severities: ReadonlySet<string> = new Set(['ERROR', 'FATAL', 'PANIC', 'WARNING', 'NOTICE', 'DEBUG', 'INFO', 'LOG']);

/** RAISE can set any five characters, part of a value included: a code that PostgreSQL does not define becomes raise_exception. */
function shownSqlstate(sqlstate: string | undefined): string {
  return sqlstate !== undefined && sqlstateConditions.has(sqlstate) ? sqlstate : 'P0001';
}

function shownMessage(fields: ReadonlyMap<string, string>, sqlstate: string, scope: NoticeScope): string {
  const message = fields.get('M') ?? '';
  // Class 42 (syntax error or access rule violation) is about the statement's own words. With a context (W) or an internal query (q) a function speaks.
  const isOwn = sqlstate.startsWith('42') && !fields.has('W') && !fields.has('q') && repeats(message, scope.userText);
  if (isOwn && scope.detectors?.hits(message) !== true) return message;
  return sqlstateConditions.get(sqlstate) ?? 'error';
}

/** Every quoted piece and every number of the message stands in the user's text, and none of them can be a value in the place of a name. */
function repeats(message: string, userText: string | null): boolean {
  if (userText === null || message.length > 2000) return false;
  const known = userText.toLowerCase();
  const pieces = message.toLowerCase().split('"');
  if (pieces.length % 2 === 0) return false;
  return pieces.every((piece, at) => (at % 2 === 1 ? piece.length > 0 && isName(piece) && known.includes(piece) : (piece.match(/\d+/g) ?? []).every((number) => number.length < 5 && known.includes(number))));
}

/**
 * Checks a ParameterStatus value of a masked session.
 *
 * @returns the value, or null when the name is not on the list or the value does not have the form that the server gives it: then it is not passed on.
 * `is_superuser`, `session_authorization` and `application_name` are not on the list: the session answers them itself.
 */
export function checkParameterStatus(name: string, value: string, detectors: DetectorSet | null): string | null {
  const form = parameterForms.get(name);
  if (form === undefined || value.length > 1000 || !form.test(value) || (name === 'TimeZone' && !isTimeZone(value))) return null;
  return detectors?.hits(value) === true ? null : value;
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

const onOff = /^(?:on|off)$/;
const encoding = /^[A-Za-z][A-Za-z0-9_]{1,20}$/;
const parameterForms: ReadonlyMap<string, RegExp> = new Map([
  ['server_version', /^\d{1,2}(?:\.\d{1,3}|devel|beta\d|rc\d)?(?: \([A-Za-z0-9 .+~:_-]{1,60}\))?$/],
  ['server_encoding', encoding],
  ['client_encoding', encoding],
  ['DateStyle', /^(?:ISO|SQL|Postgres|German), (?:MDY|DMY|YMD)$/],
  ['IntervalStyle', /^(?:postgres|postgres_verbose|sql_standard|iso_8601)$/],
  // A POSIX string (`<123-45-6789>0`, `ABC12DEF34`) can hold anything: IANA names only.
  ['TimeZone', /^[A-Za-z][A-Za-z0-9_+-]{0,20}(?:\/[A-Za-z][A-Za-z0-9_+-]{0,30}){0,2}$/],
  ['integer_datetimes', onOff],
  ['standard_conforming_strings', onOff],
  ['in_hot_standby', onOff],
  ['default_transaction_read_only', onOff],
  ['scram_iterations', /^\d{1,10}$/],
  ['search_path', /^[^\0]*$/],
]);

/** A column name as it may be shown: `column_n` when a detector hits it. @param n 1-based position. */
export function checkColumnName(name: string, n: number, detectors: DetectorSet | null): string {
  return detectors?.hits(name) === true ? `column_${n}` : name;
}

/** Whether a CommandComplete tag is one that PostgreSQL 14 to 18 sends. @see PostgreSQL 18, cmdtaglist.h */
export function isKnownCommandTag(tag: string): boolean {
  return countedTag.test(tag) || plainTags.has(tag);
}

const countedTag = /^(?:(?:SELECT|UPDATE|DELETE|MERGE|COPY|FETCH|MOVE) \d{1,20}|INSERT \d{1,10} \d{1,20})$/;

const objectKinds = [
  'ACCESS METHOD', 'AGGREGATE', 'CAST', 'COLLATION', 'CONSTRAINT', 'CONVERSION', 'DATABASE', 'DOMAIN', 'EVENT TRIGGER', 'EXTENSION', 'FOREIGN DATA WRAPPER', 'FOREIGN TABLE',
  'FUNCTION', 'INDEX', 'LANGUAGE', 'MATERIALIZED VIEW', 'OPERATOR', 'OPERATOR CLASS', 'OPERATOR FAMILY', 'POLICY', 'PROCEDURE', 'PUBLICATION', 'ROLE', 'ROUTINE', 'RULE',
  'SCHEMA', 'SEQUENCE', 'SERVER', 'STATISTICS', 'SUBSCRIPTION', 'TABLE', 'TABLESPACE', 'TEXT SEARCH CONFIGURATION', 'TEXT SEARCH DICTIONARY', 'TEXT SEARCH PARSER',
  'TEXT SEARCH TEMPLATE', 'TRANSFORM', 'TRIGGER', 'TYPE', 'USER MAPPING', 'VIEW',
];

const plainTags: ReadonlySet<string> = new Set([
  ...objectKinds.flatMap((kind) => [`CREATE ${kind}`, `ALTER ${kind}`, `DROP ${kind}`]),
  'ALTER DEFAULT PRIVILEGES', 'ALTER LARGE OBJECT', 'ALTER SYSTEM', 'CREATE TABLE AS', 'SELECT INTO', 'DROP OWNED', 'REASSIGN OWNED', 'REFRESH MATERIALIZED VIEW', 'IMPORT FOREIGN SCHEMA',
  'ANALYZE', 'BEGIN', 'CALL', 'CHECKPOINT', 'CLOSE', 'CLOSE CURSOR', 'CLOSE CURSOR ALL', 'CLUSTER', 'COMMENT', 'COMMIT', 'COMMIT PREPARED', 'COPY', 'COPY FROM', 'DEALLOCATE', 'DEALLOCATE ALL',
  'DECLARE CURSOR', 'DELETE', 'DISCARD', 'DISCARD ALL', 'DISCARD PLANS', 'DISCARD SEQUENCES', 'DISCARD TEMP', 'DO', 'EXECUTE', 'EXPLAIN', 'FETCH', 'GRANT', 'GRANT ROLE', 'INSERT', 'LISTEN', 'LOAD',
  'LOCK TABLE', 'LOGIN', 'MERGE', 'MOVE', 'NOTIFY', 'PREPARE', 'PREPARE TRANSACTION', 'REINDEX', 'RELEASE', 'RESET', 'REVOKE', 'REVOKE ROLE', 'ROLLBACK', 'ROLLBACK PREPARED', 'SAVEPOINT',
  'SECURITY LABEL', 'SELECT', 'SET', 'SET CONSTRAINTS', 'SHOW', 'START TRANSACTION', 'TRUNCATE TABLE', 'UNLISTEN', 'UPDATE', 'VACUUM',
]);
