import type { MaskingRule } from '../../../contract/proxy-config.ts';

const strictness: readonly MaskingRule['style'][] = ['Null', 'Redact', 'Hash', 'Partial'];

/** The style that shows less: Null, then Redact, then Hash, then Partial. */
export function strictestStyle(a: MaskingRule['style'], b: MaskingRule['style']): MaskingRule['style'] {
  return strictness.indexOf(a) <= strictness.indexOf(b) ? a : b;
}
