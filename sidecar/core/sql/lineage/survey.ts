import { isNode, listOf, type Node, namesOf, textOf } from './tree.ts';

/** A relation that a tree names. */
export interface NamedRelation {
  readonly schema: string | null;
  readonly name: string;
  /** False where the statement gives the name to something new (CREATE TABLE, INTO, CREATE VIEW). */
  readonly exists: boolean;
}

/** A function that a tree calls. */
export interface NamedCall {
  readonly names: readonly string[];
  readonly args: readonly unknown[];
  readonly node: Node;
}

/** Everything that a tree names, wherever it stands: no scoping, nothing left out. */
export interface Survey {
  readonly relations: readonly NamedRelation[];
  readonly calls: readonly NamedCall[];
  /** Last name of `a.b` and `(x).b`: the server also reads it as a call of function b. */
  readonly attributes: ReadonlySet<string>;
  readonly operators: readonly (readonly string[])[];
  readonly types: readonly (readonly string[])[];
  readonly commonTables: ReadonlySet<string>;
  readonly parameters: ReadonlySet<number>;
  readonly selects: readonly Node[];
  /** Relations that INSERT, UPDATE, DELETE, MERGE, COPY FROM and TRUNCATE write. */
  readonly writes: readonly NamedRelation[];
  /** References to whole rows or columns by name, for trigger bodies. */
  readonly columns: readonly (readonly (string | null)[])[];
}

/** Levels of the JSON tree, about two per expression level; deeper texts are refused before anything recurses. */
const depthLimit = 2000;

/**
 * Walks a tree with an explicit stack and collects what it names. Statement types do not matter, so a new one hides nothing.
 *
 * @returns null when the tree is deeper than 2,000 JSON levels.
 */
export function surveyTree(root: unknown): Survey | null {
  const found = {
    relations: [] as NamedRelation[], calls: [] as NamedCall[], attributes: new Set<string>(), operators: [] as (readonly string[])[],
    types: [] as (readonly string[])[], commonTables: new Set<string>(), parameters: new Set<number>(), selects: [] as Node[], writes: [] as NamedRelation[],
    columns: [] as (readonly (string | null)[])[],
  };
  const newNames = new Set<unknown>();
  const stack: { readonly value: unknown; readonly key: string; readonly depth: number }[] = [{ value: root, key: '', depth: 0 }];
  for (let next = stack.pop(); next; next = stack.pop()) {
    if (next.depth > depthLimit) return null;
    if (Array.isArray(next.value)) {
      for (const item of next.value as unknown[]) stack.push({ value: item, key: '', depth: next.depth + 1 });
    } else if (isNode(next.value)) {
      // CREATE TABLE, INTO and CREATE TABLE AS, CREATE VIEW, CREATE SEQUENCE, CREATE TYPE: parents come first, so the name is marked before it is seen.
      for (const name of [next.value['oncommit'] ? next.value['relation'] : null, next.value['rel'], next.value['view'], next.value['sequence'], next.value['typevar']]) newNames.add(name);
      collect(next.value, next.key, found, newNames);
      for (const [key, value] of Object.entries(next.value)) stack.push({ value, key, depth: next.depth + 1 });
    }
  }
  return found;
}

type Found = { -readonly [K in keyof Survey]: Survey[K] extends ReadonlySet<infer T> ? Set<T> : Survey[K] extends readonly (infer T)[] ? T[] : never };

function collect(node: Node, key: string, found: Found, newNames: ReadonlySet<unknown>): void {
  const relname = textOf(node['relname']);
  if (relname !== null) found.relations.push({ schema: textOf(node['schemaname']), name: relname, exists: !newNames.has(node) });
  // CREATE FUNCTION and CREATE TRIGGER name a function without calling it; they are judged by name.
  if (Array.isArray(node['funcname']) && !key.startsWith('Create')) {
    found.calls.push({ names: namesOf(node['funcname']) ?? [], args: listOf(node['args']), node });
  }
  if (Array.isArray(node['fields'])) {
    const fields = listOf(node['fields']).map((field) => (isNode(field) && isNode(field['String']) ? textOf(field['String']['sval']) : null));
    found.columns.push(fields);
    if (fields.length > 1) addName(found.attributes, fields.at(-1));
  }
  for (const item of listOf(node['indirection'])) if (isNode(item) && isNode(item['String'])) addName(found.attributes, textOf(item['String']['sval']));
  if (typeof node['kind'] === 'string' && node['kind'].startsWith('AEXPR_')) addNames(found.operators, node['name']);
  if (Array.isArray(node['operName'])) addNames(found.operators, node['operName']);
  if (Array.isArray(node['useOp'])) addNames(found.operators, node['useOp']);
  if (Array.isArray(node['names']) && 'typemod' in node) addNames(found.types, node['names']);
  if (/^(Insert|Update|Delete|Merge)Stmt$/.test(key) || (key === 'CopyStmt' && node['is_from'] === true)) addWrite(found.writes, node['relation']);
  if (key === 'TruncateStmt') for (const item of listOf(node['relations'])) if (isNode(item)) addWrite(found.writes, item['RangeVar']);
  addName(found.commonTables, textOf(node['ctename']));
  if (key === 'ParamRef') found.parameters.add(typeof node['number'] === 'number' ? node['number'] : 0);
  if (Array.isArray(node['targetList']) && typeof node['op'] === 'string') found.selects.push(node);
}

function addName(set: Set<string>, name: string | null | undefined): void {
  if (name !== null && name !== undefined) set.add(name);
}

function addNames(list: (readonly string[])[], value: unknown): void {
  const names = namesOf(value);
  if (names && names.length > 0) list.push(names);
}

function addWrite(writes: NamedRelation[], value: unknown): void {
  const name = isNode(value) ? textOf(value['relname']) : null;
  if (isNode(value) && name !== null) writes.push({ schema: textOf(value['schemaname']), name, exists: true });
}
