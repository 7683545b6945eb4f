/** One object of libpg_query's JSON tree: fields by name. Fields that are 0, false, empty or unset are absent. */
export type TreeNode = Readonly<Record<string, unknown>>;

/** Takes `{ "SelectStmt": { ... } }` apart; null for anything else. */
export function unwrap(value: unknown): { readonly kind: string; readonly body: TreeNode } | null {
  if (!isTreeNode(value)) return null;
  for (const kind in value) {
    const body = value[kind];
    return isKind(kind) && isTreeNode(body) ? { kind, body } : null;
  }
  return null;
}

/** The body of a wrapped node of one kind, else null. */
export function bodyOf(value: unknown, kind: string): TreeNode | null {
  if (!isTreeNode(value)) return null;
  const body = value[kind];
  return isTreeNode(body) ? body : null;
}

/** Node kinds start with a capital letter, field names do not. */
export function isKind(key: string): boolean {
  const first = key.charCodeAt(0);
  return first >= 65 && first <= 90;
}

/** True for an object that is no list. */
export function isTreeNode(value: unknown): value is TreeNode {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A list field; absent means empty. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

/** Items of a `List` node, or of a bare list. */
export function itemsOf(value: unknown): readonly unknown[] {
  return listOf(bodyOf(value, 'List')?.['items'] ?? value);
}

/** A text field; absent means empty. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** The text of a `String` node; null for any other. */
export function stringOf(value: unknown): string | null {
  const body = bodyOf(value, 'String');
  return body === null ? null : textOf(body['sval']);
}

/** A dotted name: the texts of `String` nodes, other items left out. */
export function namesOf(value: unknown): readonly string[] {
  return itemsOf(value).map(stringOf).filter((name) => name !== null);
}

/** The value of a constant, casts around it ignored: text, number as written, boolean as `true` or `false`; null when it is no constant or NULL. */
export function constantOf(value: unknown): string | null {
  const cast = bodyOf(value, 'TypeCast');
  if (cast !== null) return constantOf(cast['arg']);
  const constant = bodyOf(value, 'A_Const');
  if (constant === null) return null;
  if (isTreeNode(constant['sval'])) return textOf(constant['sval']['sval']);
  if (isTreeNode(constant['ival'])) return String(constant['ival']['ival'] ?? 0);
  if (isTreeNode(constant['fval'])) return textOf(constant['fval']['fval']);
  if (isTreeNode(constant['boolval'])) return String(constant['boolval']['boolval'] === true);
  return null;
}

/** The options of a statement by name; a repeated one keeps every value. */
export function defElemsOf(value: unknown): readonly { readonly name: string; readonly arg: unknown }[] {
  return listOf(value).flatMap((item) => {
    const body = bodyOf(item, 'DefElem');
    return body === null ? [] : [{ name: textOf(body['defname']), arg: body['arg'] }];
  });
}

/** The text of an option's value: a word, a string, a number or a boolean; null when absent or a list. */
export function optionText(arg: unknown): string | null {
  const node = unwrap(arg);
  if (node === null) return null;
  switch (node.kind) {
    case 'String': return textOf(node.body['sval']);
    case 'Integer': return String(node.body['ival'] ?? 0);
    case 'Float': return textOf(node.body['fval']);
    case 'Boolean': return String(node.body['boolval'] === true);
    case 'TypeName': return namesOf(node.body['names']).join('.');
    default: return constantOf(arg);
  }
}
