import type { StatementClass } from '../../../contract/proxy-config.ts';
import type { CatalogFunction, CatalogSnapshot, NameScope } from './catalog-snapshot.ts';
import { isComputingLibrary } from './lineage/refused-names.ts';
import { newPlaces, type ObjectName } from './names.ts';

/** What calling a function adds beside the expression it stands in: nothing, or these pairs. */
export interface CallJudgement {
  readonly calls: readonly ObjectName[];
  /** Further classes that the call amounts to. */
  readonly classes: readonly StatementClass[];
}

const harmless: CallJudgement = { calls: [], classes: [] };

/**
 * Judges a call by name. A name that exists in `pg_catalog` only and has no side effect is part of its expression; everything else is a call:
 * of the user's function (each schema that has one), of a system function with a side effect, or of one that the catalog does not know (yet).
 *
 * @param names the function's name, qualified or not, as the parser gives it.
 */
export function judgeCall(names: readonly string[], scope: NameScope): CallJudgement {
  const name = names.at(-1) ?? '';
  const schema = names.length > 1 ? (names.at(-2) ?? '') : null;
  const users = scope.catalog.functionsByName.get(name) ?? [];
  if (schema !== null && schema !== 'pg_catalog') return { calls: [{ schema, name }], classes: [] };
  if (schema === null && users.length > 0) return { calls: distinctSchemas(users.map((user) => user.schema), name), classes: classesOf(name) };
  if (hasSideEffect(name)) return { calls: [{ schema: 'pg_catalog', name }], classes: classesOf(name) };
  if (schema === 'pg_catalog' || scope.catalog.systemFunctions.has(name) || isSystemType(name)) return harmless;
  return { calls: distinctSchemas(newPlaces(scope), name), classes: [] };
}

/** True when some function of this name would make `x.name` more than a column. */
export function isCallableName(name: string, scope: NameScope): boolean {
  return scope.catalog.functionsByName.has(name) || hasSideEffect(name);
}

/** Judges an operator: one that exists outside `pg_catalog` too counts as the user's, unless every function behind it is of a library that only computes. */
export function judgeOperator(names: readonly string[], scope: NameScope): readonly (ObjectName | '*')[] {
  const name = names.at(-1) ?? '';
  const schema = names.length > 1 ? (names.at(-2) ?? '') : null;
  if (schema === 'pg_catalog' || (schema === null && !scope.catalog.userOperators.has(name))) return [];
  const oids = new Set(scope.catalog.operatorFunctions?.get(name) ?? []);
  if (oids.size === 0) return [schema === null ? '*' : { schema, name }];
  const found = [...oids].flatMap((oid) => functionsOf(scope.catalog).get(oid) ?? []);
  if (found.length < oids.size) return ['*'];
  return found.filter((candidate) => !(candidate.language === 'c' && isComputingLibrary(candidate.library ?? ''))).map((candidate) => ({ schema: candidate.schema, name: candidate.name }));
}

/** Judges a cast to a type: outside `pg_catalog` it may run code (a domain's check, a cast's function), so it counts as a call of that type. */
export function judgeType(names: readonly string[], scope: NameScope): readonly ObjectName[] {
  const name = names.at(-1) ?? '';
  const schema = names.length > 1 ? (names.at(-2) ?? '') : null;
  if (schema === 'pg_catalog' || name === '') return [];
  const schemas = scope.catalog.userTypes.get(name) ?? [];
  if (schemas.length > 0) {
    if (scope.catalog.typesWithCode !== undefined && !scope.catalog.typesWithCode.has(name)) return [];
    return schema === null ? distinctSchemas(schemas, name) : [{ schema, name }];
  }
  if (schema === null && isSystemType(name)) return [];
  // A relation's row type.
  const rows = (scope.catalog.relationsByName.get(name) ?? []).map((oid) => scope.catalog.relations.get(oid)?.schema ?? '');
  if (rows.length > 0 && rows.every((row) => row === 'pg_catalog' || row === 'information_schema')) return [];
  if (rows.length > 0 && scope.catalog.typesWithCode !== undefined && !scope.catalog.typesWithCode.has(name)) return [];
  return schema === null ? distinctSchemas(rows.length > 0 ? rows : newPlaces(scope), name) : [{ schema, name }];
}

/** Functions by OID, derived once per catalog. */
const functionsByOid = new WeakMap<CatalogSnapshot, ReadonlyMap<number, CatalogFunction>>();

function functionsOf(catalog: CatalogSnapshot): ReadonlyMap<number, CatalogFunction> {
  const known = functionsByOid.get(catalog);
  if (known !== undefined) return known;
  const found = new Map([...catalog.functionsByName.values()].flat().map((candidate) => [candidate.oid, candidate]));
  functionsByOid.set(catalog, found);
  return found;
}

function distinctSchemas(schemas: readonly string[], name: string): readonly ObjectName[] {
  return [...new Set(schemas)].map((schema) => ({ schema, name }));
}

/** Functions of `pg_catalog` that do more than compute: by family where the server names them so, because newer servers add to the families. */
const sideEffects: RegExp = new RegExp([
  // files and logs of the server
  /^pg_(read|ls|file)_/, /^pg_stat_file$/,
  /^pg_(current_logfile|logdir_ls|hba_file_rules|ident_file_mappings|show_all_file_settings|rotate_logfile|reload_conf|log_backend_memory_contexts|log_standby_snapshot)$/,
  // other sessions
  /^pg_(terminate_backend|cancel_backend)$/, /^pg_notify$/, /^pg_(try_)?advisory_/, /^pg_sleep/, /^pg_isolation_test_/,
  // replication, WAL, backup, statistics
  /^pg_logical_/, /^pg_replication_/, /replication_slot/, /^pg_(promote|switch_wal|switch_xlog|create_restore_point|nextoid|stop_making_pinned_objects|import_system_collations|extension_config_dump)$/,
  /^pg_wal_replay_(pause|resume)$/, /^pg_xlog_/, /^pg_(start_|stop_)?backup/, /^pg_stat_(reset|force_next_flush|clear_snapshot)/, /^pg_(restore|clear)_\w*stats$/, /^binary_upgrade_/,
  /^brin_(de)?summarize_/, /^gin_clean_pending_list$/,
  // large objects and sequences
  /^lo_/, /^lo(read|write)$/, /^setval$/, /^set_config$/,
  // SQL, a relation or a type named in a string
  /^(query|table|schema|database|cursor)_to_xml/, /^ts_(stat|rewrite)$/, /^dblink/, /^crosstab/, /^connectby/, /^pg_input_/, /^(domain|record|array|anyarray|range|multirange)_(in|recv)$/,
  // what triggers, languages and access methods call
  /^RI_FKey_/, /_(call|inline)_handler$/, /_validator$/, /^tsvector_update_trigger/, /^currtid/,
].map(({ source }) => source).join('|'));

function hasSideEffect(name: string): boolean {
  return sideEffects.test(name);
}

function classesOf(name: string): readonly StatementClass[] {
  if (/^lo_(import|export)$/.test(name) || /^pg_(read|ls|file)_/.test(name) || /^pg_(stat_file|current_logfile|hba_file_rules|ident_file_mappings|show_all_file_settings)$/.test(name)) return ['ServerFile'];
  return name === 'pg_notify' ? ['Notify'] : [];
}

/** Types of `pg_catalog` (PostgreSQL 14 to 18); their names also work as functions. `_x` is the array of x. */
function isSystemType(name: string): boolean {
  return systemTypes.has(name) || (name.startsWith('_') && systemTypes.has(name.slice(1)));
}

const systemTypes: ReadonlySet<string> = new Set((
  'aclitem any anyarray anycompatible anycompatiblearray anycompatiblemultirange anycompatiblenonarray anycompatiblerange anyelement anyenum anymultirange anynonarray anyrange bit bool box '
  + 'bpchar bytea char cid cidr circle cstring date datemultirange daterange event_trigger fdw_handler float4 float8 gtsvector index_am_handler inet int2 int2vector int4 int4multirange int4range '
  + 'int8 int8multirange int8range internal interval json jsonb jsonpath language_handler line lseg macaddr macaddr8 money name numeric nummultirange numrange oid oidvector path '
  + 'pg_brin_bloom_summary pg_brin_minmax_multi_summary pg_ddl_command pg_dependencies pg_lsn pg_mcv_list pg_ndistinct pg_node_tree pg_snapshot point polygon record refcursor regclass regcollation '
  + 'regconfig regdictionary regnamespace regoper regoperator regproc regprocedure regrole regtype table_am_handler text tid time timestamp timestamptz timetz trigger tsm_handler tsmultirange '
  + 'tsquery tsrange tstzmultirange tstzrange tsvector txid_snapshot unknown uuid varbit varchar void xid xid8 xml'
).split(' '));
