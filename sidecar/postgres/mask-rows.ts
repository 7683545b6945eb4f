import { SallyportError } from '../core/errors.ts';
import { compileDetectorColumn } from '../core/masking/detector-cells.ts';
import type { DetectorSet } from '../core/masking/detectors.ts';
import type { ColumnMask, FieldDescription } from '../core/masking/masker.ts';
import type { FrameSink } from './frame-sink.ts';

/** Masks DataRow frames of one result. Counters grow over the life of the mask. */
export interface RowMask {
  /**
   * Masks one DataRow frame that lies whole in `buf[start, end)`: type byte, length, fields.
   *
   * Values of equal length are overwritten in `buf` itself; otherwise the rewritten frame is appended to `out`.
   *
   * @returns true: `out` holds the frame and the caller must not forward the range; false: the range (perhaps overwritten) is the frame to forward.
   * @throws SallyportError `TARGET_PROTOCOL_VIOLATION` when the frame is no DataRow with the described columns; `MASKED_ROW_TOO_LONG` from the sink.
   */
  maskFrame(buf: Buffer, start: number, end: number, out: Omit<FrameSink, 'take'>): boolean;
  /** Cells masked by a rule, per column. */
  readonly maskedCells: readonly number[];
  /** Cells changed by detectors, per column. */
  readonly detectorHits: readonly number[];
  /** Whether any cell can change: false means that frames need not be looked at. */
  readonly isActive: boolean;
}

/**
 * Compiles the masking of a result's rows.
 *
 * @param columns one entry per field; null: no plan, the detectors search it.
 * @param fields the RowDescription with the result formats that Bind asked for.
 * @throws SallyportError `TARGET_PROTOCOL_VIOLATION` when plan and description have different column counts.
 */
export function compileRowMask(
  columns: readonly (ColumnMask | null)[], detectors: DetectorSet | null, fields: readonly FieldDescription[],
  types: { readonly typeBase: ReadonlyMap<number, number>; readonly arrayTypes?: ReadonlySet<number> | null } = { typeBase: new Map() },
): RowMask {
  if (columns.length !== fields.length) throw violation('column count of the plan', columns.length);
  const maskedCells: number[] = fields.map(() => 0);
  const detectorHits: number[] = fields.map(() => 0);
  const actions = fields.map((field, index) => columnAction(columns[index] ?? null, field, detectors, types));
  const isActive = actions.some((action) => action !== null);
  const maskFrame: RowMask['maskFrame'] = (buf, start, end, out) => {
    const frameAt = out.length;
    try {
      return rewriteFrame(buf, start, end, out, frameAt);
    } catch (error) {
      // The session may go on after a row that is too long: half a frame must not stay in the output.
      out.truncate(frameAt);
      throw error;
    }
  };
  const rewriteFrame = (buf: Buffer, start: number, end: number, out: Omit<FrameSink, 'take'>, frameAt: number): boolean => {
    let at = fieldsStart(buf, start, end, actions.length);
    // Everything before this position is in `out`; -1 while nothing needs rewriting.
    let copied = -1;
    for (let index = 0; index < actions.length; index += 1) {
      const valueAt = at + 4;
      if (valueAt > end) throw violation('field length outside the frame', index);
      const length = buf.readInt32BE(at);
      if (length < -1 || length > end - valueAt) throw violation('field length', index);
      at = length === -1 ? valueAt : valueAt + length;
      const action = actions[index];
      if (action === null || action === undefined) continue;
      if (length === -1) {
        if (action.nullBecomes === undefined) continue;
        maskedCells[index] = (maskedCells[index] as number) + 1;
        out.copy(buf, copied === -1 ? start : copied, valueAt - 4);
        out.writeInt32(action.nullBecomes.length);
        out.copy(action.nullBecomes, 0, action.nullBecomes.length);
        copied = at;
        continue;
      }
      const masked = action.apply(buf, valueAt, at);
      if (masked === unchanged) continue;
      (action.isRule ? maskedCells : detectorHits)[index] = ((action.isRule ? maskedCells : detectorHits)[index] as number) + 1;
      if (masked === overwritten) continue;
      if (masked !== null && masked.length === length) {
        buf.set(masked, valueAt);
        continue;
      }
      out.copy(buf, copied === -1 ? start : copied, valueAt - 4);
      out.writeInt32(masked === null ? -1 : masked.length);
      if (masked !== null) out.copy(masked, 0, masked.length);
      copied = at;
    }
    if (at !== end) throw violation('bytes after the last field', end - at);
    if (copied === -1) return false;
    out.copy(buf, copied, end);
    out.patchInt32(frameAt + 1, out.length - frameAt - 1);
    return true;
  };
  return { maskFrame, maskedCells, detectorHits, isActive };
}

/** Checks type, length and column count; returns where the first field's length stands. */
function fieldsStart(buf: Buffer, start: number, end: number, columns: number): number {
  if (end > buf.length || end - start < 7 || buf[start] !== 0x44) throw violation('frame', end - start);
  if (buf.readInt32BE(start + 1) !== end - start - 1) throw violation('frame length', end - start);
  const count = buf.readUInt16BE(start + 5);
  if (count !== columns) throw violation('column count', count);
  return start + 7;
}

/** Outcomes of a column that need no new value. */
const unchanged = Symbol('unchanged');
const overwritten = Symbol('overwritten');

interface ColumnAction {
  readonly isRule: boolean;
  /** What a NULL becomes; undefined: it stays. */
  readonly nullBecomes: Uint8Array | undefined;
  apply(buf: Buffer, start: number, end: number): Uint8Array | null | typeof unchanged | typeof overwritten;
}

function columnAction(
  column: ColumnMask | null, field: FieldDescription, detectors: DetectorSet | null, types: { readonly typeBase: ReadonlyMap<number, number>; readonly arrayTypes?: ReadonlySet<number> | null },
): ColumnAction | null {
  if (column !== null) return { isRule: column.rule !== null, nullBecomes: column.nullBecomes, apply: ruleAction(column) };
  const found = detectors === null ? null : compileDetectorColumn(field, detectors, types.typeBase, types.arrayTypes ?? null);
  if (found === null) return null;
  const { mayHit, mask } = found;
  return {
    isRule: false,
    nullBecomes: undefined,
    apply: (buf, start, end) => {
      if (!mayHit(buf, start, end)) return unchanged;
      const cell = buf.subarray(start, end);
      const masked = mask(cell);
      return masked === cell ? unchanged : masked;
    },
  };
}

function ruleAction(column: ColumnMask): ColumnAction['apply'] {
  const { constant, overwrite, mask } = column;
  if (constant !== undefined) return () => constant;
  const maskCell: ColumnAction['apply'] = (buf, start, end) => {
    const cell = buf.subarray(start, end);
    const masked = mask(cell);
    // A column mask that returns its input leaves the value in clear: only masks without a rule (detectors) may.
    return masked === cell && column.rule === null ? unchanged : masked;
  };
  if (overwrite === undefined) return maskCell;
  return (buf, start, end) => (overwrite(buf, start, end) ? overwritten : maskCell(buf, start, end));
}

function violation(what: string, value: number): SallyportError {
  return new SallyportError('TARGET_PROTOCOL_VIOLATION', { message: 'DataRow', what, value });
}
