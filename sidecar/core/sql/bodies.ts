import { splitAssignment } from './lex.ts';
import { isTreeNode, listOf, textOf, type TreeNode } from './parse-tree.ts';

/** A piece of SQL inside a PL/pgSQL body. */
export type BodyPiece =
  | { readonly form: 'statement'; readonly text: string }
  /** An expression: `SELECT ` in front makes it a statement. */
  | { readonly form: 'expression'; readonly text: string };

/** What a PL/pgSQL body runs. `opaque`: some of it is only known at run time, or could not be read. */
export interface PlPgSqlBody {
  readonly pieces: readonly BodyPiece[];
  readonly variables: ReadonlySet<string>;
  readonly opaque: boolean;
}

/**
 * Reads libpg_query's tree of one DO block or PL/pgSQL function.
 * A node that is not known, dynamic EXECUTE in any form, and an expression of an unknown form make it opaque.
 */
export function readPlPgSqlBody(parsed: unknown): PlPgSqlBody {
  const functions = isTreeNode(parsed) ? listOf(parsed['plpgsql_funcs']) : [];
  const body = functions.length === 1 && isTreeNode(functions[0]) ? functions[0]['PLpgSQL_function'] : undefined;
  if (!isTreeNode(body) || !isTreeNode(body['action'])) return { pieces: [], variables: new Set(), opaque: true };
  const reading: Reading = { pieces: [], variables: new Set(), opaque: false };
  read(body, reading, 0);
  return reading;
}

interface Reading {
  readonly pieces: BodyPiece[];
  readonly variables: Set<string>;
  opaque: boolean;
}

function read(value: unknown, reading: Reading, depth: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (depth > 500) {
    reading.opaque = true;
    return;
  }
  if (Array.isArray(value)) {
    for (const item of value as readonly unknown[]) read(item, reading, depth + 1);
    return;
  }
  const node = value as TreeNode;
  for (const key in node) {
    if (key.startsWith('PLpgSQL_')) {
      if (!knownNodes.has(key)) reading.opaque = true;
      if (key === 'PLpgSQL_expr') readExpression(node[key], reading);
    }
    if (key === 'dynquery') reading.opaque = true;
    if (key === 'refname' && typeof node[key] === 'string') reading.variables.add(node[key]);
    read(node[key], reading, depth + 1);
  }
}

/** `parseMode` is the server's RawParseMode: 0 whole statement, 2 expression, 3 to 5 assignment to a name of one to three parts. */
function readExpression(expression: unknown, reading: Reading): void {
  const text = isTreeNode(expression) ? textOf(expression['query']) : '';
  const mode = isTreeNode(expression) ? (expression['parseMode'] ?? 0) : null;
  if (mode === 0) reading.pieces.push({ form: 'statement', text });
  else if (mode === 2) reading.pieces.push({ form: 'expression', text });
  else if (mode === 3 || mode === 4 || mode === 5) {
    const sides = splitAssignment(text);
    if (sides === null) reading.opaque = true;
    else reading.pieces.push({ form: 'expression', text: sides.target }, { form: 'expression', text: sides.value });
  } else reading.opaque = true;
}

/** Statements whose dump is complete, and parts without code. `PLpgSQL_stmt_dynexecute` and `_dynfors` are left out on purpose. */
const knownNodes: ReadonlySet<string> = new Set([
  'function', 'var', 'rec', 'row', 'recfield', 'type', 'expr', 'if_elsif', 'case_when', 'raise_option', 'diag_item', 'exception_block', 'exception', 'condition',
  'stmt_block', 'stmt_assign', 'stmt_if', 'stmt_case', 'stmt_loop', 'stmt_while', 'stmt_fori', 'stmt_fors', 'stmt_forc', 'stmt_foreach_a', 'stmt_exit', 'stmt_return',
  'stmt_return_next', 'stmt_return_query', 'stmt_raise', 'stmt_assert', 'stmt_execsql', 'stmt_getdiag', 'stmt_open', 'stmt_fetch', 'stmt_close', 'stmt_perform', 'stmt_call',
  'stmt_commit', 'stmt_rollback',
].map((name) => `PLpgSQL_${name}`));
