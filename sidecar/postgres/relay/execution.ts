import type { SessionRecorder, StatementResult } from '../../../contract/audit.ts';
import type { Denial } from '../../core/errors.ts';
import type { Clock } from '../../core/ports.ts';
import { countDenial, type Tally } from '../../core/session/tally.ts';
import type { StatementFacts } from '../../core/sql/statement-facts.ts';
import type { MaskedCells } from '../inspector.ts';
import type { RowPlan } from './row-plan.ts';

/** One execution of one statement, from its intent to its result. */
export interface Execution {
  readonly facts: StatementFacts;
  /** Number that the recorder gave; 0 until the intent is written. */
  statement: number;
  readonly startedMs: number;
  readonly text: string;
  plan: RowPlan | null;
  /** Columns that each row must have; null when they were not described for this very execution. */
  columns: number | null;
  described: boolean;
  rows: number;
  storedRows: number;
  storedBytes: number;
  bytesFromServer: number;
  /** CopyData of a COPY FROM STDIN. */
  bytesFromClient: number;
  bytesToClient: number;
  firstRowMs: number | null;
  maskedBefore: readonly number[];
  /** Of a COPY TO with a mask. */
  copyCells: (() => MaskedCells) | null;
  /** Set when a limit was reached or the row plan was refused: what the user gets instead of the rest. */
  stopped: Denial | null;
}

/** Starts counting. */
export function startExecution(facts: StatementFacts, text: string, nowMs: number): Execution {
  return {
    facts, text, startedMs: nowMs, statement: 0, plan: null, columns: null, described: false, rows: 0, storedRows: 0, storedBytes: 0, bytesFromServer: 0, bytesFromClient: 0, bytesToClient: 0, firstRowMs: null, maskedBefore: [], copyCells: null, stopped: null,
  };
}

/** Records what became of an execution, and counts its masked cells. */
export function recordResult(
  context: { readonly recorder: SessionRecorder; readonly clock: Clock; readonly tally: Tally },
  execution: Execution,
  end: { readonly outcome: StatementResult['outcome']; readonly commandTag: string | null; readonly sqlstate: string | null },
): void {
  const masked = execution.copyCells?.() ?? execution.plan?.maskedCells(execution.maskedBefore) ?? { columns: [], detectorHits: 0 };
  for (const column of masked.columns) context.tally.maskedCells += column.cells;
  if (execution.stopped) countDenial(context.tally, execution.stopped.code);
  context.recorder.recordResult({
    statement: execution.statement, outcome: end.outcome, commandTag: end.commandTag, rows: execution.rows, bytesFromServer: execution.bytesFromServer, bytesToClient: execution.bytesToClient,
    maskedCells: masked.columns, detectorHits: masked.detectorHits, sqlstate: end.sqlstate, firstRowMs: execution.firstRowMs === null ? null : round(execution.firstRowMs - execution.startedMs),
    durationMs: round(context.clock.monotonicMs() - execution.startedMs), transactionStatus: null, limited: execution.stopped !== null,
  });
}

/** Adds the execution to the session's totals. */
export function countTotals(context: { readonly totals: { rows: number; bytes: number } }, execution: Execution): void {
  context.totals.rows += execution.rows;
  context.totals.bytes += execution.bytesToClient;
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
