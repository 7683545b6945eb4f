import type { CatalogRelation, NameScope } from './catalog-snapshot.ts';
import { type TreeNode, textOf } from './parse-tree.ts';

/** A resolved name. */
export interface ObjectName {
  readonly schema: string;
  readonly name: string;
}

/** What a relation's name can mean: usually one candidate, several when only the server knows. `unknown`: the search path is not known for sure. */
export type ResolvedRelation =
  | { readonly outcome: 'candidates'; readonly candidates: readonly RelationCandidate[] }
  | { readonly outcome: 'unknown' };

/** A relation that a name may mean. */
export interface RelationCandidate extends ObjectName {
  /** Null when the catalog does not know it (yet). */
  readonly relation: CatalogRelation | null;
  /** Partitioned and inheritance parents, all generations. */
  readonly ancestors: readonly ObjectName[];
}

const noAncestors: readonly ObjectName[] = [];

/**
 * Resolves a RangeVar that names an existing relation, as the server would: temporary relations, `pg_catalog`, then the search path.
 *
 * A name created as temporary in this session stands for both the temporary and the permanent relation, because ON COMMIT DROP and rollbacks are not seen here.
 * A name that the catalog does not know stands for one in every schema of the path: it may be newer than the snapshot.
 */
export function resolveRelation(rangeVar: TreeNode, scope: NameScope): ResolvedRelation {
  return resolveRelationName(textOf(rangeVar['schemaname']), textOf(rangeVar['relname']), scope);
}

/** The same for a name in parts; an empty schema means unqualified. */
export function resolveRelationName(schema: string, name: string, scope: NameScope): ResolvedRelation {
  if (schema !== '') return { outcome: 'candidates', candidates: [candidate(schema, name, scope)] };
  if (scope.searchPath === null) return { outcome: 'unknown' };
  const candidates: RelationCandidate[] = [];
  if (scope.temporaryRelations.has(name)) candidates.push({ schema: 'pg_temp', name, relation: null, ancestors: noAncestors });
  const found = findOnPath(name, scope);
  if (found !== null) candidates.push({ schema: found.schema, name, relation: found, ancestors: ancestorsOf(found, scope) });
  // A relation that the open transaction created may stand in front of the one that the snapshot shows.
  if (candidates.length === 0 || isCreatedNow(name, scope)) {
    for (const place of newPlaces(scope)) if (place !== found?.schema) candidates.push({ schema: place, name, relation: null, ancestors: noAncestors });
  }
  return { outcome: 'candidates', candidates };
}

/** Names may be kept bare or as `schema.name`. */
function isCreatedNow(name: string, scope: NameScope): boolean {
  const created = scope.createdInTransaction;
  return created !== undefined && created.size > 0 && (created.has(name) || newPlaces(scope).some((schema) => created.has(`${schema}.${name}`)));
}

/** Where CREATE puts a relation: `pg_temp` when temporary, else the named schema, else the first of the path that exists. */
export function resolveCreation(rangeVar: TreeNode, scope: NameScope): ResolvedRelation {
  const [schema, name] = [textOf(rangeVar['schemaname']), textOf(rangeVar['relname'])];
  if (rangeVar['relpersistence'] === 't') return { outcome: 'candidates', candidates: [{ schema: 'pg_temp', name, relation: null, ancestors: noAncestors }] };
  if (schema !== '') return { outcome: 'candidates', candidates: [candidate(schema, name, scope)] };
  if (scope.searchPath === null) return { outcome: 'unknown' };
  return { outcome: 'candidates', candidates: newPlaces(scope).slice(0, 1).map((place) => candidate(place, name, scope)) };
}

/** Schemas of the path in which an unknown name may live; never empty, so that a pair always names something. */
export function newPlaces(scope: NameScope): readonly string[] {
  const path = scope.searchPath ?? [...scope.catalog.schemas];
  const existing = path.filter((schema) => scope.catalog.schemas.has(schema) || schema.startsWith('pg_temp'));
  return existing.length > 0 ? existing : [path[0] ?? ''];
}

/** Parents of a relation, all generations, each once. */
export function ancestorsOf(relation: CatalogRelation, scope: NameScope): readonly ObjectName[] {
  if (relation.parents.length === 0) return noAncestors;
  const ancestors: ObjectName[] = [];
  const seen = new Set<number>([relation.oid]);
  const open = [...relation.parents];
  for (let oid = open.pop(); oid !== undefined; oid = open.pop()) {
    const parent = scope.catalog.relations.get(oid);
    if (parent === undefined || seen.has(oid)) continue;
    seen.add(oid);
    ancestors.push({ schema: parent.schema, name: parent.name });
    open.push(...parent.parents);
  }
  return ancestors;
}

/** The search path in a setting's own words (`"$user", public`) as schema names, quotes and case folded as the server does; null when it is malformed. */
export function readSearchPath(value: string): readonly string[] | null {
  const names: string[] = [];
  if (value.trim() === '') return names;
  const item = /\s*(?:"((?:[^"]|"")*)"|([^\s",][^\s",]*))\s*(,|$)/y;
  for (item.lastIndex = 0; ;) {
    const match = item.exec(value);
    if (match === null) return null;
    const name = match[1] !== undefined ? match[1].replaceAll('""', '"') : (match[2] ?? '').toLowerCase();
    if (name !== '') names.push(name);
    if (match[3] === '') return names;
  }
}

function candidate(schema: string, name: string, scope: NameScope): RelationCandidate {
  const relation = findIn(schema, name, scope);
  return { schema, name, relation, ancestors: relation === null ? noAncestors : ancestorsOf(relation, scope) };
}

function findOnPath(name: string, scope: NameScope): CatalogRelation | null {
  const oids = scope.catalog.relationsByName.get(name);
  if (oids === undefined) return null;
  const path = scope.searchPath ?? [];
  // pg_catalog is searched first unless the path names it.
  const system = path.includes('pg_catalog') ? null : findIn('pg_catalog', name, scope);
  if (system !== null) return system;
  for (const schema of path) {
    const found = findIn(schema, name, scope);
    if (found !== null) return found;
  }
  return null;
}

function findIn(schema: string, name: string, scope: NameScope): CatalogRelation | null {
  for (const oid of scope.catalog.relationsByName.get(name) ?? []) {
    const relation = scope.catalog.relations.get(oid);
    if (relation !== undefined && relation.schema === schema) return relation;
  }
  return null;
}
