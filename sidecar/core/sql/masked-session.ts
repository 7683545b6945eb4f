import type { StatementClass } from '../../../contract/proxy-config.ts';
import { type Denial, deny } from '../errors.ts';
import { explainRuns } from './classify.ts';
import type { Findings } from './findings.ts';
import { isRefusedSetting } from './lineage/refused-names.ts';
import { defElemsOf, optionText, textOf, type TreeNode } from './parse-tree.ts';

/**
 * What a session with masked columns refuses whatever its rules say, because the answer could carry a value by another door:
 * code, files, notifications, plans with values, verbose settings. Columns and functions are judged by lineage.
 */
export function refuseInMaskedSession(kind: string, body: TreeNode, findings: Findings): Denial | null {
  for (const { class: pairClass } of findings.pairs.values()) {
    if (refusedClasses.includes(pairClass)) return refused(`${pairClass} statements are not possible in a session with masked columns`);
  }
  for (const { name, value } of findings.settings) if (isRefusedSetting(name, value)) return deny('SETTING_REFUSED', { message: `setting ${name} would show masked values` });
  if (findings.settings.some(({ name, value }) => value === null && name.includes('.'))) return deny('SETTING_REFUSED', { message: 'set_config needs constants in a session with masked columns' });
  if (kind === 'ExplainStmt') return refuseExplain(body, findings);
  if (kind === 'VariableShowStmt' && textOf(body['name']).includes('.')) return refused('SHOW of a custom setting is not possible in a session with masked columns');
  if (kind === 'ExecuteStmt' && findings.calls.size > 0) return refused('EXECUTE with calls in its arguments is not possible in a session with masked columns');
  return null;
}

const refusedClasses: readonly StatementClass[] = ['Do', 'Function', 'Extension', 'ServerFile', 'Notify', 'FunctionCall'];

function refuseExplain(explain: TreeNode, findings: Findings): Denial | null {
  const isVerbose = defElemsOf(explain['options']).some(({ name, arg }) => name === 'verbose' && !(arg !== undefined && /^(false|off|0)$/i.test(optionText(arg) ?? '')));
  if (isVerbose || explainRuns(explain)) return refused('EXPLAIN ANALYZE and VERBOSE are not possible in a session with masked columns');
  return findings.calls.size > 0 ? refused('EXPLAIN of a statement that calls functions is not possible in a session with masked columns') : null;
}

function refused(message: string): Denial {
  return deny('FEATURE_REFUSED', { message });
}
