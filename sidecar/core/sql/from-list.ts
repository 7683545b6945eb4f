import { isTreeNode, listOf, textOf, type TreeNode, unwrap } from './parse-tree.ts';

/** Relations of a FROM list with every alias that covers them. */
export function collectRelations(from: readonly unknown[]): readonly { readonly rangeVar: TreeNode; readonly aliases: readonly string[] }[] {
  const found: { readonly rangeVar: TreeNode; readonly aliases: readonly string[] }[] = [];
  const open: { readonly value: unknown; readonly aliases: readonly string[] }[] = from.map((value) => ({ value, aliases: [] }));
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const node = unwrap(next.value);
    if (node === null) continue;
    const aliases = isTreeNode(node.body['alias']) ? [...next.aliases, textOf(node.body['alias']['aliasname'])] : next.aliases;
    if (node.kind === 'RangeVar') found.push({ rangeVar: node.body, aliases: [...aliases, textOf(node.body['relname'])] });
    else if (node.kind === 'SelectStmt') {
      for (const value of listOf(node.body['fromClause'])) open.push({ value, aliases });
      for (const side of ['larg', 'rarg']) if (isTreeNode(node.body[side])) open.push({ value: { SelectStmt: node.body[side] }, aliases });
    } else for (const key of ['larg', 'rarg', 'subquery', 'relation']) if (node.body[key] !== undefined) open.push({ value: node.body[key], aliases });
  }
  return found;
}

/** Names that a column can be qualified with in the query that has this FROM list. */
export function rangeNames(from: readonly unknown[]): ReadonlySet<string> {
  const names = new Set<string>();
  const open = [...from];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const node = unwrap(next);
    if (node === null) continue;
    if (isTreeNode(node.body['alias'])) names.add(textOf(node.body['alias']['aliasname']));
    else if (node.kind === 'RangeVar') names.add(textOf(node.body['relname']));
    for (const key of ['larg', 'rarg', 'relation']) if (node.body[key] !== undefined && node.kind !== 'SelectStmt') open.push(node.body[key]);
  }
  return names;
}
