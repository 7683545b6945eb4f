import { compileDetectorColumn } from '../core/masking/detector-cells.ts';
import type { DetectorSet } from '../core/masking/detectors.ts';
import type { CellMasker, ColumnMask, FieldDescription } from '../core/masking/masker.ts';
import type { CopyOptions } from '../core/sql/statement-facts.ts';
import { SallyportError } from '../core/errors.ts';
import { binaryRowReader } from './copy-binary.ts';
import { type CopyRowReader, copyViolation, type RowRewriter } from './copy-rows.ts';
import { csvRowReader } from './copy-csv.ts';
import { textRowReader } from './copy-text.ts';
import { checkColumnName } from './rebuild-notice.ts';

/** Masks the rows of one COPY TO STDOUT. */
export interface CopyMask {
  /**
   * Takes the body of one CopyData message; messages may split rows anywhere.
   *
   * @returns bodies of the CopyData messages to send now, one per complete row; they may be views into `body`, so send or copy them before it is reused.
   * @throws SallyportError `MASKED_ROW_TOO_LONG` for a row over the limit, `TARGET_PROTOCOL_VIOLATION` for bytes that are no rows of this COPY.
   */
  push(body: Uint8Array): readonly Uint8Array[];
  /** CopyDone: what is left. Throws TARGET_PROTOCOL_VIOLATION when a row is incomplete. */
  end(): readonly Uint8Array[];
  /** Cells masked by a rule, per column. */
  readonly cells: readonly number[];
  /** Cells changed by detectors, per column. */
  readonly detectorHits: readonly number[];
  readonly rows: () => number;
}

/**
 * Compiles the masking of COPY OUT rows.
 *
 * @param options as the statement was written; `understood: false` throws, because rows of an unknown form cannot be masked.
 * @param columns in the order of the output; compiled for format 0 with text and CSV, format 1 with binary. Null: no plan, the detectors search it.
 * @param fields types and names, for the detectors; without them every cell is searched as a type without a rule.
 * @param limitBytes longest row held, default 16 MiB.
 */
export function createCopyMask(
  options: CopyOptions, columns: readonly (ColumnMask | null)[], detectors: DetectorSet | null, fields: readonly FieldDescription[] | null = null,
  { typeBase = new Map<number, number>(), arrayTypes = null, limitBytes = 16 * 1024 * 1024 }: CopyMaskSettings = {},
): CopyMask {
  if (!options.understood || options.direction !== 'out') throw new SallyportError('INTERNAL', { where: 'createCopyMask' });
  if (fields !== null && fields.length !== columns.length) throw copyViolation('column count of the plan');
  const format = options.format === 'binary' ? 1 : 0;
  const cells = columns.map(() => 0);
  const detectorHits = columns.map(() => 0);
  const masks = columns.map((column, index) => {
    if (column !== null) return { mask: column.mask, isRule: column.rule !== null };
    const mask = detectors === null ? null : searching(fields?.[index] ?? { name: '', typeOid: 0, format }, format, detectors, typeBase, arrayTypes);
    return mask === null ? null : { mask, isRule: false };
  });
  const maskCell: RowRewriter['maskCell'] = (cell, index) => {
    const entry = masks[index];
    if (entry === null || entry === undefined) return cell;
    const masked = entry.mask(cell);
    if (masked !== cell || entry.isRule) (entry.isRule ? cells : detectorHits)[index] = ((entry.isRule ? cells : detectorHits)[index] as number) + 1;
    return masked;
  };
  const maskHeader: RowRewriter['maskHeader'] = (cell, index) => {
    if (detectors === null) return cell;
    const name = Buffer.from(cell).toString('utf8');
    const checked = checkColumnName(name, index + 1, detectors);
    return checked === name ? cell : Buffer.from(checked, 'utf8');
  };
  let rows = 0;
  const reader = readerOf(options, { columns: columns.length, limitBytes, maskCell, maskHeader, countRow: () => { rows += 1; } });
  return { push: (body) => reader.push(body), end: () => reader.end(), cells, detectorHits, rows: () => rows };
}

export interface CopyMaskSettings {
  readonly typeBase?: ReadonlyMap<number, number>;
  readonly arrayTypes?: ReadonlySet<number> | null;
  readonly limitBytes?: number;
}

function readerOf(options: CopyOptions, rewriter: RowRewriter): CopyRowReader {
  switch (options.format) {
    case 'text':
      return textRowReader(options, rewriter);
    case 'csv':
      return csvRowReader(options, rewriter);
    case 'binary':
      return binaryRowReader(rewriter);
    default:
      throw copyViolation(options.format satisfies never);
  }
}

function searching(
  field: Pick<FieldDescription, 'name' | 'typeOid' | 'format'>, format: 0 | 1, detectors: DetectorSet, typeBase: ReadonlyMap<number, number>, arrayTypes: ReadonlySet<number> | null,
): CellMasker | null {
  const column = compileDetectorColumn({ ...field, format }, detectors, typeBase, arrayTypes);
  return column === null ? null : (cell) => (column.mayHit(cell, 0, cell.length) ? column.mask(cell) : cell);
}
