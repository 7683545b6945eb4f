import type { RecordedColumn } from '../../../contract/audit.ts';
import type { FieldDescription } from '../../core/masking/masker.ts';
import type { MaskedCells } from '../inspector.ts';
import type { RowMask } from '../mask-rows.ts';

/** How the rows of one description leave: fixed at RowDescription, applied at DataRow. Counters grow; an execution takes the difference. */
export interface RowPlan {
  readonly fields: readonly FieldDescription[];
  readonly recorded: readonly RecordedColumn[];
  /** Null: rows pass as they are (a session without masking rules). */
  readonly mask: RowMask | null;
  /** Counters as they stand. */
  counters(): readonly number[];
  maskedCells(before: readonly number[]): MaskedCells;
}

/** A plan that passes rows as they are. */
export function plainRowPlan(fields: readonly FieldDescription[]): RowPlan {
  return {
    fields, mask: null, recorded: fields.map((field) => ({ name: field.name, typeOid: field.typeOid, style: null, format: field.format })),
    counters: () => [], maskedCells: () => ({ columns: [], detectorHits: 0 }),
  };
}
