/** One relation of the target's database, as `pg_catalog` tells it. */
export interface CatalogRelation {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** `pg_class.relkind`. */
  readonly kind: 'r' | 'p' | 'v' | 'm' | 'f' | 'S' | 'c' | 't' | 'i' | 'I';
  /** In attnum order, dropped columns left out. */
  readonly columns: readonly CatalogColumn[];
  /** Inheritance parents and the partitioned parent. */
  readonly parents: readonly number[];
  /** Text of `pg_get_viewdef` for views and materialized views. */
  readonly definition: string | null;
  /** For a sequence: the relation and attnum that own it. */
  readonly ownedBy: { readonly relation: number; readonly attnum: number } | null;
  /** Row triggers or rules exist whose code runs on a write. */
  readonly hasTriggers: boolean;
  /** OIDs of the row and statement triggers' functions; absent when a rewrite rule makes a write do something else: then a write is unproven. */
  readonly triggerFunctions?: readonly number[];
}

/** One column as pg_attribute has it. */
export interface CatalogColumn {
  readonly attnum: number;
  readonly name: string;
  readonly typeOid: number;
  readonly typeModifier: number;
  /** Text of the expression of a generated column (`pg_get_expr`); absent for other columns. */
  readonly generated?: string;
  /** Text of a default that calls something (`pg_get_expr`); absent for constants and none. */
  readonly default?: string;
}

/** A function outside `pg_catalog` and `information_schema`. */
export interface CatalogFunction {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** `plpgsql`, `sql`, `c`, `internal`, … */
  readonly language: string;
  readonly body: string;
  readonly returnsSet: boolean;
  readonly isTrigger: boolean;
  /** Whole CREATE text of `pg_get_functiondef`, for the PL/pgSQL parser; absent for aggregates. */
  readonly definition?: string;
  /** Text of its arguments' default expressions, comma-separated; absent without any. */
  readonly defaults?: string;
  /** `pg_proc.probin` of a C function, e.g. `$libdir/pgcrypto`. */
  readonly library?: string;
  /** An aggregate's support functions outside `pg_catalog`; present (possibly empty) for aggregates only. */
  readonly supports?: readonly number[];
}

/**
 * What the proxy knows of one database, read in one snapshot over a side connection (`sidecar/postgres/catalog.ts`).
 * Keys of the name maps are bare names, case-folded as the server stores them.
 */
export interface CatalogSnapshot {
  /** Changes when any catalog row that was read changes. */
  readonly epoch: string;
  readonly relations: ReadonlyMap<number, CatalogRelation>;
  /** Bare name to OIDs over all schemas, system schemas included. */
  readonly relationsByName: ReadonlyMap<string, readonly number[]>;
  readonly functionsByName: ReadonlyMap<string, readonly CatalogFunction[]>;
  /** Names of functions in `pg_catalog`. */
  readonly systemFunctions: ReadonlySet<string>;
  /** Operator names (`+`, `~~`) that exist outside `pg_catalog`. */
  readonly userOperators: ReadonlySet<string>;
  /** Functions behind the operators of `userOperators`, by operator name; absent: each such operator is unproven. */
  readonly operatorFunctions?: ReadonlyMap<string, readonly number[]>;
  /** Bare names of user types whose use runs user code: domains with CHECK, casts with a user function. Absent: all of `userTypes`. */
  readonly typesWithCode?: ReadonlySet<string>;
  /** Names of types, domains, enums and casts' targets outside `pg_catalog`: bare name to schemas. */
  readonly userTypes: ReadonlyMap<string, readonly string[]>;
  /** Base type of each domain and element type of each array, by OID. */
  readonly typeBase: ReadonlyMap<number, number>;
  readonly schemas: ReadonlySet<string>;
}

/** Where unqualified names of one session are looked up. */
export interface NameScope {
  readonly catalog: CatalogSnapshot;
  /** Schemas in order, `"$user"` already replaced by the backend role, `pg_catalog` not listed unless set explicitly; null = not known for sure: refuse unqualified names. */
  readonly searchPath: readonly string[] | null;
  /** Schema of this session's temporary relations is searched first; names created as temp in this session. */
  readonly temporaryRelations: ReadonlySet<string>;
  readonly database: string;
  /** Names of relations that this session's open transaction created: the snapshot cannot show them, and each was judged when it was created. */
  readonly createdInTransaction?: ReadonlySet<string>;
  /** The open transaction changed the search path: its end, or a rollback to a savepoint, changes it again. */
  readonly pathEndsWithTransaction?: boolean;
}
