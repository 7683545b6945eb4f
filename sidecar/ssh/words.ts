import type { Denial } from '../core/errors.ts';
import type { HoldNotice } from '../core/session/approval-hold.ts';

/** What the user reads of a refusal: what, by which policy and rule, the code, and what to do next. Lines without their ends. */
export function denialLines(denial: Denial): readonly string[] {
  return [`sallyport: ${denial.message}${denial.detail === null ? '' : ` by ${denial.detail}`} [${denial.code}]`, `hint: ${denial.hint}`];
}

/** What the user reads while something waits for an approval. */
export function holdLines(notice: HoldNotice): readonly string[] {
  return [`sallyport: ${notice.kind}`];
}
