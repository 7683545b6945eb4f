import { isTreeNode, listOf, textOf, type TreeNode } from './parse-tree.ts';

/** True when the statement can answer with rows (a RowDescription). EXECUTE and CALL may. */
export function returnsRows(kind: string, body: TreeNode): boolean {
  switch (kind) {
    case 'SelectStmt': return !isTreeNode(body['intoClause']);
    case 'InsertStmt': case 'UpdateStmt': case 'DeleteStmt': case 'MergeStmt': return isTreeNode(body['returningClause']) || listOf(body['returningList']).length > 0;
    case 'FetchStmt': return body['ismove'] !== true;
    case 'ExplainStmt': case 'VariableShowStmt': case 'ExecuteStmt': case 'CallStmt': return true;
    default: return false;
  }
}

/** The name of the temporary relation that the statement creates; null when it creates none. A schema of `pg_temp` makes it temporary too. */
export function definesTemporary(kind: string, body: TreeNode): string | null {
  const target = targetOf(kind, body);
  if (!isTreeNode(target)) return null;
  return target['relpersistence'] === 't' || textOf(target['schemaname']) === 'pg_temp' ? textOf(target['relname']) : null;
}

function targetOf(kind: string, body: TreeNode): unknown {
  switch (kind) {
    case 'CreateStmt': return body['relation'];
    case 'ViewStmt': return body['view'];
    case 'CreateSeqStmt': return body['sequence'];
    case 'CreateTableAsStmt': return isTreeNode(body['into']) ? body['into']['rel'] : null;
    case 'SelectStmt': return isTreeNode(body['intoClause']) ? body['intoClause']['rel'] : null;
    default: return null;
  }
}
