/** One object of libpg_query's JSON tree. Fields of a concrete C type are bare objects, fields of type Node are wrapped: `{ "ColumnRef": { ... } }`. */
export type Node = Readonly<Record<string, unknown>>;

/** A wrapped node taken apart. */
export interface Wrapped {
  readonly type: string;
  readonly body: Node;
}

/** Takes `{ "Type": { ... } }` apart; null for anything else, the empty node of an omitted list item included. */
export function unwrap(value: unknown): Wrapped | null {
  if (!isNode(value)) return null;
  const keys = Object.keys(value);
  const type = keys[0];
  if (keys.length !== 1 || type === undefined || !/^[A-Z]/.test(type)) return null;
  const body = value[type];
  return isNode(body) ? { type, body } : null;
}

/** The body when `value` is a wrapped node of this type, else null. */
export function bodyOf(value: unknown, type: string): Node | null {
  const node = unwrap(value);
  return node?.type === type ? node.body : null;
}

/** Whether a value is a node of the parse tree. */
export function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A field that holds a list; absent means empty. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

/** A field that holds a bare object; absent means null. */
export function objectOf(value: unknown): Node | null {
  return isNode(value) ? value : null;
}

/** A field that holds a text; absent means null. */
export function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

/** Texts of a list of String nodes; null when an item is something else (`*`, a subscript). */
export function namesOf(value: unknown): readonly string[] | null {
  const names = listOf(value).map((item) => textOf(bodyOf(item, 'String')?.['sval']));
  return names.every((name) => name !== null) ? names : null;
}

/** Items of a List node or of a bare list. */
export function itemsOf(value: unknown): readonly unknown[] {
  return listOf(bodyOf(value, 'List')?.['items'] ?? value);
}

/** The text of a string constant, casts around it allowed; null when it is not a constant string. */
export function constantText(value: unknown): string | null {
  const cast = bodyOf(value, 'TypeCast');
  if (cast) return constantText(cast['arg']);
  const constant = bodyOf(value, 'A_Const');
  return constant ? textOf(objectOf(constant['sval'])?.['sval']) : null;
}

/** True for a literal, NULL, DEFAULT or a parameter, casts and a sign around it allowed. */
export function isConstant(value: unknown): boolean {
  const node = unwrap(value);
  if (!node) return false;
  if (node.type === 'TypeCast') return isConstant(node.body['arg']);
  return node.type === 'A_Const' || node.type === 'ParamRef' || node.type === 'SetToDefault';
}
