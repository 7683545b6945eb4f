import type { CommandPair } from '../policy/decision.ts';
import { isKind, listOf, stringOf, type TreeNode } from './parse-tree.ts';

/**
 * Whether a WHERE clause restricts anything: `Missing` without a clause, or when no column of the statement's own relations stands in it (`where true`, `1 = 1`).
 * `CURRENT OF` restricts. A column inside a subquery counts only when it is qualified with a name of the outer statement.
 *
 * @param ownNames relation names and aliases of the statement itself.
 * @param variables names that are PL/pgSQL variables and no columns.
 */
export function readWhere(clause: unknown, ownNames: () => ReadonlySet<string>, variables: ReadonlySet<string>): NonNullable<CommandPair['where']> {
  if (clause === undefined || clause === null) return 'Missing';
  return hasColumn(clause, ownNames, variables, false) ? 'Present' : 'Missing';
}

function hasColumn(value: unknown, ownNames: () => ReadonlySet<string>, variables: ReadonlySet<string>, inSubquery: boolean): boolean {
  // An explicit stack: the depth cap of the walk has not run yet.
  const open: { readonly value: unknown; readonly inSubquery: boolean }[] = [{ value, inSubquery }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next.value !== 'object' || next.value === null) continue;
    if (Array.isArray(next.value)) {
      for (const item of next.value as readonly unknown[]) open.push({ value: item, inSubquery: next.inSubquery });
      continue;
    }
    const node = next.value as TreeNode;
    for (const key in node) {
      if (key === 'CurrentOfExpr') return true;
      if (key === 'ColumnRef' && isOwnColumn(node[key] as TreeNode, ownNames, variables, next.inSubquery)) return true;
      open.push({ value: node[key], inSubquery: next.inSubquery || (isKind(key) ? key === 'SelectStmt' : key === 'subselect') });
    }
  }
  return false;
}

function isOwnColumn(column: TreeNode, ownNames: () => ReadonlySet<string>, variables: ReadonlySet<string>, inSubquery: boolean): boolean {
  const fields = listOf(column['fields']);
  const first = stringOf(fields[0]);
  if (first === null) return false;
  if (fields.length === 1) return !inSubquery && !variables.has(first);
  const qualifier = fields.length > 2 ? stringOf(fields[fields.length - 2]) : first;
  return inSubquery ? qualifier !== null && ownNames().has(qualifier) : !variables.has(first);
}
