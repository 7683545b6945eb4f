import type { MaskingRule } from '../../../../contract/proxy-config.ts';
import type { CatalogRelation, CatalogSnapshot } from '../catalog-snapshot.ts';
import type { MaskClosure } from '../mask-closure.ts';

/** The parsers that judging needs, handed in: the core has no parser library. Both answer null for a text that does not parse. */
export interface MaskParse {
  /** libpg_query's ParseResult tree of a text of one or more statements. */
  readonly parseSql: (text: string) => unknown;
  /** libpg_query's PL/pgSQL tree of a whole CREATE FUNCTION or DO text. */
  readonly parsePlPgSql: (text: string) => unknown;
}

/** Where names of one tree are looked up and what is masked there. */
export interface Environment {
  readonly catalog: CatalogSnapshot;
  /** `any`: bodies of functions and views, whose search path may be anybody's: a bare name may mean that name in every schema. */
  readonly searchPath: readonly string[] | 'any';
  readonly temporary: ReadonlySet<string>;
  readonly created: ReadonlySet<string>;
  readonly closure: MaskClosure;
  readonly rules: readonly MaskingRule[];
  readonly parse: MaskParse;
  /** The function whose body this is: it may call itself. */
  readonly currentFunction?: number;
}

/** What a relation name can mean. More than one relation: it cannot be told which. */
export interface ResolvedRelation {
  readonly relations: readonly CatalogRelation[];
  /** The name may (also) mean a relation of this session that the snapshot does not describe. */
  readonly own: boolean;
}

/**
 * Looks up a relation name as the server would: own temporary relations, `pg_catalog`, then the search path.
 * A schema of the path may be unusable for the role, so every match along the path is returned, first match first, when a later one is masked.
 */
export function resolveRelation(env: Environment, schema: string | null, name: string): ResolvedRelation {
  const all = (env.catalog.relationsByName.get(name) ?? []).flatMap((oid) => env.catalog.relations.get(oid) ?? []);
  const isTemporary = env.temporary.has(name);
  if (schema !== null) {
    if (/^pg_temp/.test(schema)) return { relations: all.filter((relation) => relation.schema.startsWith('pg_temp')), own: isTemporary || env.created.has(name) };
    return { relations: all.filter((relation) => relation.schema === schema), own: env.created.has(name) };
  }
  const own = isTemporary || env.created.has(name);
  if (env.searchPath === 'any') return { relations: all.filter((relation) => !relation.schema.startsWith('pg_temp')), own };
  const path = env.searchPath.includes('pg_catalog') ? env.searchPath : ['pg_catalog', ...env.searchPath];
  const matches = path.flatMap((part) => all.find((relation) => relation.schema === part) ?? []);
  const [first, ...later] = matches;
  if (!first) return { relations: [], own };
  const hidden = first.schema === 'pg_catalog' ? [] : later.filter((relation) => env.closure.isTouched(relation.oid));
  return { relations: [first, ...hidden], own };
}

/** True when the schema belongs to the server. */
export function isSystemSchema(schema: string): boolean {
  return schema === 'pg_catalog' || schema === 'information_schema' || schema === 'pg_toast';
}
