import type { StatementClass } from '../../../contract/proxy-config.ts';
import type { Denial } from '../errors.ts';
import type { CommandPair } from '../policy/decision.ts';

/** What running a statement does to state that the proxy tracks. Names as the server folds them. */
export type StatementEffect =
  | { readonly kind: 'prepare'; readonly name: string; readonly query: StatementFacts }
  | { readonly kind: 'execute'; readonly name: string }
  | { readonly kind: 'deallocate'; readonly name: string | null }
  | { readonly kind: 'declare'; readonly name: string; readonly query: StatementFacts; readonly hold: boolean }
  | { readonly kind: 'fetch'; readonly name: string; readonly move: boolean }
  | { readonly kind: 'close'; readonly name: string | null }
  | { readonly kind: 'discard'; readonly what: 'ALL' | 'PLANS' | 'SEQUENCES' | 'TEMP' }
  | { readonly kind: 'transaction'; readonly what: 'begin' | 'commit' | 'rollback' | 'savepoint' | 'rollback-to' | 'release' | 'other' }
  | { readonly kind: 'set'; readonly name: string; readonly value: string | null; readonly local: boolean }
  | { readonly kind: 'reset'; readonly name: string | null }
  | { readonly kind: 'create-temp'; readonly name: string }
  | { readonly kind: 'ddl' };

/** How COPY was written: needed to read and mask its rows. Defaults are the server's. */
export interface CopyOptions {
  readonly direction: 'in' | 'out';
  readonly format: 'text' | 'csv' | 'binary';
  readonly delimiter: string;
  readonly quote: string;
  readonly escape: string;
  readonly nullString: string;
  readonly header: boolean;
  readonly forceQuote: readonly string[] | '*' | null;
  /** Table form; null for COPY (query). */
  readonly relation: { readonly schema: string; readonly name: string } | null;
  /** Columns as listed; null = all, in catalog order. */
  readonly columns: readonly string[] | null;
  /** False when an option has no rule here: a masked session refuses. */
  readonly understood: boolean;
}

/**
 * One statement of a query text, read by PostgreSQL's own grammar. Pure data, cached by text, catalog epoch and search path.
 */
export interface StatementFacts {
  readonly kind: StatementClass;
  readonly pairs: readonly CommandPair[];
  /** `schema.name` of every relation touched, resolved, for records and requests. */
  readonly objects: readonly string[];
  /** Functions called that do not certainly resolve to a harmless `pg_catalog` function. */
  readonly calls: readonly string[];
  /** Text of this statement within the query, redacted: every literal hidden that could be a regulated value. */
  readonly redactedText: string;
  /** libpg_query fingerprint, hex. */
  readonly fingerprint: string;
  /** Byte range of the statement in the query's UTF-8 text. */
  readonly range: { readonly start: number; readonly end: number };
  readonly effect: StatementEffect | null;
  /** Of EXECUTE and FETCH, once the relay has joined them: the statement that runs. */
  readonly runs?: StatementFacts;
  readonly copy: CopyOptions | null;
  /** Number of RowDescription-bearing results: true when the statement can return rows. */
  readonly returnsRows: boolean;
  /** A reason to refuse whatever the rules say (standard_conforming_strings=off, non-IANA time zone, …). */
  readonly refusal: Denial | null;
  readonly masking: MaskJudgement;
  /** A query-parameter (`$n`) position that is compared with, assigned to or inserted into a masked column: never recorded in clear. */
  readonly maskedParameters: readonly number[];
  /** An allowed `masked column = constant` stands in WHERE (`predicates: Equality`): rate-limited and flagged in the record. */
  readonly usesEquality?: boolean;
}

/**
 * What may leave in the statement's answer, given the masking rules.
 * `clear`: touches no masked column. `columns`: one entry per output column, null = clear, else the masking rule's index and whether the column is bare.
 * `refused`: cannot be proven safe.
 */
export type MaskJudgement =
  | { readonly outcome: 'clear' }
  | { readonly outcome: 'columns'; readonly columns: readonly (OutputMask | null)[] }
  | { readonly outcome: 'refused'; readonly denial: Denial };

/** How one output column is masked. */
export interface OutputMask {
  /** Index into the session's masking rules. */
  readonly rule: number;
  /** False: the value passed through an expression; the style becomes Redact. */
  readonly bare: boolean;
  /** True where NULL, too, would be an answer about the value: it shows as any other value does. Of results of expressions only. */
  readonly hidesNull?: boolean;
  /** Of COPY only, where it is known: other answers describe their columns. */
  readonly type?: { readonly oid: number; readonly modifier: number };
}

/** A whole query text: every statement, or why it cannot be read. */
export type InspectedQuery =
  | { readonly outcome: 'read'; readonly statements: readonly StatementFacts[] }
  | { readonly outcome: 'unreadable'; readonly denial: Denial; readonly position: number | null; readonly redactedText: string };
