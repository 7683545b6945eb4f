import type { Findings } from './findings.ts';
import { bodyOf, constantOf, itemsOf, listOf, namesOf, stringOf, textOf, type TreeNode } from './parse-tree.ts';

/**
 * The set_config calls of a plain SELECT list: no FROM, no condition, so that each runs exactly once; and the one form with FROM that pg_dump and pgAdmin send,
 * `SELECT set_config(name, 'LITERAL', BOOL) FROM pg_settings WHERE name = 'LITERAL'`, which is rewritten here to its constant form.
 *
 * @returns the settings that stand in for the second form, null when the statement is not of that form.
 */
export function readSettingsSelect(select: TreeNode, findings: Findings): { readonly name: string; readonly value: string; readonly local: boolean } | null {
  const calls = listOf(select['targetList']).flatMap((item) => {
    const call = bodyOf(bodyOf(item, 'ResTarget')?.['val'], 'FuncCall');
    return call !== null && namesOf(call['funcname']).at(-1) === 'set_config' ? [call] : [];
  });
  if (calls.length === 0) return null;
  const extras = Object.keys(select).filter((key) => !['targetList', 'limitOption', 'op'].includes(key));
  if (extras.length === 0) {
    for (const call of calls) findings.plainSetConfigs.add(call);
    return null;
  }
  return extras.length === 2 && calls.length === 1 && listOf(select['targetList']).length === 1 ? readPgDumpForm(select, calls[0] ?? {}) : null;
}

function readPgDumpForm(select: TreeNode, call: TreeNode): { readonly name: string; readonly value: string; readonly local: boolean } | null {
  const from = listOf(select['fromClause']);
  const relation = bodyOf(from[0], 'RangeVar');
  const where = bodyOf(select['whereClause'], 'A_Expr');
  const [nameArg, valueArg, localArg] = listOf(call['args']);
  const isForm = from.length === 1 && relation?.['relname'] === 'pg_settings' && relation['alias'] === undefined && ['', 'pg_catalog'].includes(textOf(relation['schemaname']))
    && where?.['kind'] === 'AEXPR_OP' && namesOf(where['name']).join('.') === '=' && isNameColumn(where['lexpr']) && isNameColumn(nameArg);
  if (!isForm || bodyOf(where['rexpr'], 'A_Const') === null) return null;
  const [name, value] = [constantOf(where['rexpr']), constantOf(valueArg)];
  return name === null || value === null ? null : { name, value, local: constantOf(localArg) === 'true' };
}

function isNameColumn(value: unknown): boolean {
  const fields = itemsOf(bodyOf(value, 'ColumnRef')?.['fields']);
  return fields.length === 1 && stringOf(fields[0]) === 'name';
}
