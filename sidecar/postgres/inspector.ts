import type { ParameterRecord } from '../../contract/audit.ts';
import type { FieldDescription } from '../core/masking/masker.ts';
import type { Denial } from '../core/errors.ts';
import type { InspectedQuery, MaskJudgement, StatementFacts } from '../core/sql/statement-facts.ts';
import type { RowPlan } from './relay/row-plan.ts';
import type { BoundParameter } from './wire/bind.ts';

/** Everything that reading, judging and masking of one session's statements rests on: parser, catalog, search path, masking rules. */
export interface SessionInspector {
  /** At least one masking rule applies. */
  readonly masked: boolean;
  /** Changes when catalog, search path or masking rules change: facts and plans made under another key are stale. */
  key(): string;
  /** Reads a query text; cached. A promise when a worker parses it or the catalog must be read first. Throws CATALOG_UNAVAILABLE. */
  inspect(text: string): InspectedQuery | Promise<InspectedQuery>;
  /** True when the server must be asked for the search path before the next text is read. */
  searchPathUnknown(): boolean;
  /** The answer; null when it could not be asked. */
  setSearchPath(schemas: readonly string[] | null): void;
  /** Brings the catalog up to date, so that `key` tells whether it changed. A promise when it must be read. Throws CATALOG_UNAVAILABLE. */
  refresh(): void | Promise<void>;
  /** A statement is sent: what it may change of names is not known any more, already for what is sent behind it. */
  sent(facts: StatementFacts): void;
  /** A statement ran: what it changes of names and catalog. */
  ran(facts: StatementFacts, completed: boolean): void;
  /** ReadyForQuery says that no transaction is open: what it had changed may be taken back. Cheap when nothing changed. */
  transactionOver(): void;
  /** Fixes how rows of a description leave, cross-checked with the judgement. */
  planRow(fields: readonly FieldDescription[], judgement: MaskJudgement): { readonly outcome: 'planned'; readonly plan: RowPlan } | { readonly outcome: 'refused'; readonly denial: Denial };
  /** Parameters as records and approvers see them; each is cut at `limitBytes` (default 4 KiB, for records). */
  showParameters(parameters: readonly BoundParameter[], types: readonly number[], masked: readonly number[], limitBytes?: number): readonly ParameterRecord[];
  /** Keyed hash of a text, for records. */
  textHmac(text: string): string;
  /** The search path as text, for requests. */
  searchPathText(): string;
  /** Rebuilds an error or notice of the server so that it carries no value. */
  rebuild(fields: ReadonlyMap<string, string>, userText: string | null): ReadonlyMap<string, string>;
  /** A name that the client chose, as records may hold it: hidden when it is a regulated value. */
  shownName(name: string): string;
  /** A refusal as the client may read it: without the words in which a detector finds a value, e.g. a quoted name. */
  shownDenial(denial: Denial): Denial;
  /** Null: drop it. */
  parameterStatus(name: string, value: string): string | null;
  /** Column names that may be shown. */
  columnNames(fields: readonly FieldDescription[]): readonly string[] | null;
  copyMask(facts: StatementFacts): CopyMaskPlan;
  close(): void;
}

/** Cells that left masked, by column, and what detectors found elsewhere. */
export interface MaskedCells {
  readonly columns: readonly { readonly name: string; readonly style: string; readonly cells: number }[];
  readonly detectorHits: number;
}

/** How the rows of a COPY TO leave. */
export type CopyMaskPlan =
  | { readonly outcome: 'plain' }
  | { readonly outcome: 'masked'; /** CopyOutResponse told the number of columns; before any push. */ readonly start: (columns: number) => void; readonly push: (body: Uint8Array) => readonly Uint8Array[]; readonly end: () => readonly Uint8Array[]; readonly columns: number | null; readonly format: 0 | 1; /** So far. */ readonly maskedCells: () => MaskedCells }
  | { readonly outcome: 'refused'; readonly denial: Denial };
