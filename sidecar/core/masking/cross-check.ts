import type { MaskingRule } from '../../../contract/proxy-config.ts';
import { type Denial, deny } from '../errors.ts';
import type { MaskClosure } from '../sql/mask-closure.ts';
import { strictest } from '../sql/lineage/taint.ts';
import type { MaskJudgement, OutputMask } from '../sql/statement-facts.ts';
import type { FieldDescription } from './masker.ts';

/** How the rows of one RowDescription are masked: one entry per column, null = detectors only. Or why none may pass. */
export type RowPlan = { readonly outcome: 'planned'; readonly columns: readonly (OutputMask | null)[] } | { readonly outcome: 'refused'; readonly denial: Denial };

/**
 * Compares what lineage found with what the server says about each column's origin, before the first row passes.
 *
 * Origin can add a stricter rule and never removes a mask: it names the column that was written, not where the value came from.
 * Masked by origin only, a whole row of a relation with masked columns, or another number of columns: lineage misunderstood the statement, so no row passes.
 */
export function planRow(fields: readonly FieldDescription[], judgement: MaskJudgement, closure: MaskClosure, rules: readonly MaskingRule[]): RowPlan {
  if (judgement.outcome === 'refused') return judgement;
  const traced = judgement.outcome === 'columns' ? judgement.columns : fields.map(() => null);
  if (traced.length !== fields.length) return disagreement('the answer has another number of columns than the statement');
  const columns: (OutputMask | null)[] = [];
  for (const [index, field] of fields.entries()) {
    const mask = traced[index] ?? null;
    const origin = field.tableOid === 0 ? null : closure.maskOf(field.tableOid, field.attnum);
    if (field.tableOid !== 0 && field.attnum === 0 && closure.isTouched(field.tableOid) && mask?.bare !== false) return disagreement('a column is a whole row of a relation with masked columns');
    if (field.tableOid !== 0 && closure.problemOf(field.tableOid) !== null) return disagreement('a column is from a relation that may not be read');
    if (origin && !mask) return disagreement('the server shows a masked column that the statement does not');
    columns.push(mask && origin ? combine(mask, origin, rules) : mask);
  }
  return { outcome: 'planned', columns };
}

function combine(mask: OutputMask, origin: OutputMask, rules: readonly MaskingRule[]): OutputMask {
  const { rule, bare, hidesNull } = strictest({ ...mask, equality: false }, { ...origin, equality: false }, rules);
  return { rule, bare, ...(hidesNull === true ? { hidesNull } : {}) };
}

function disagreement(detail: string): RowPlan {
  return { outcome: 'refused', denial: deny('MASKING_UNPROVEN', { detail }) };
}
