import type { CatalogFunction, CatalogRelation, CatalogSnapshot, NameScope } from '../catalog-snapshot.ts';
import type { CommandPair } from '../../policy/decision.ts';
import type { InspectedQuery, StatementFacts } from '../statement-facts.ts';

/**
 * The catalog of the inspection vectors.
 *
 * Search path `app, public`. `app`: orders(id, customer, total, note), customers(id, name, ssn), events (partitioned) with events_2026 and events_2026_01, base with child,
 * view order_view, sequence orders_id_seq, function wipe. `public`: accounts(id, balance), orders (hidden behind app.orders), functions total, lower, tick. `audit`: trail.
 */
export function vectorScope(changes: Partial<NameScope> = {}): NameScope {
  return { catalog: vectorCatalog(), searchPath: ['app', 'public'], temporaryRelations: new Set(), database: 'shop', ...changes };
}

/** One statement's facts as the vectors write them: `Class schema.name where`, `-` for no object, `*` for an opaque one. */
export function summarize(inspected: InspectedQuery): unknown {
  if (inspected.outcome === 'unreadable') return { unreadable: inspected.denial.code };
  const statements = inspected.statements.map(summarizeStatement);
  return statements.length === 1 ? statements[0] : { statements };
}

function summarizeStatement(facts: StatementFacts): unknown {
  const effect = facts.effect;
  return {
    kind: facts.kind,
    pairs: facts.pairs.map(wordPair).sort(),
    ...(effect === null ? {} : { effect: Object.entries(effect).map(([key, value]) => (key === 'query' ? `query=${(value as StatementFacts).kind}` : `${key === 'kind' ? '' : `${key}=`}${String(value)}`)).join(' ') }),
    ...(facts.refusal === null ? {} : { refusal: facts.refusal.code }),
    ...(facts.returnsRows ? { rows: true } : {}),
  };
}

function wordPair({ class: pairClass, object, where, ancestors }: CommandPair): string {
  const name = object === null ? '-' : object === '*' ? '*' : `${object.schema}.${object.name}`;
  const parents = ancestors === undefined ? '' : ` < ${ancestors.map((parent) => `${parent.schema}.${parent.name}`).sort().join(', ')}`;
  return `${pairClass} ${name}${where === null ? '' : ` ${where}`}${parents}`;
}

function vectorCatalog(): CatalogSnapshot {
  const relations = new Map(([
    relation(1, 'app', 'orders', 'r', ['id', 'customer', 'total', 'note']),
    relation(2, 'app', 'customers', 'r', ['id', 'name', 'ssn']),
    relation(3, 'app', 'events', 'p', ['id', 'at']),
    relation(4, 'app', 'events_2026', 'p', ['id', 'at'], [3]),
    relation(5, 'app', 'events_2026_01', 'r', ['id', 'at'], [4]),
    relation(6, 'app', 'base', 'r', ['id']),
    relation(7, 'app', 'child', 'r', ['id', 'extra'], [6]),
    relation(8, 'app', 'order_view', 'v', ['id', 'total']),
    relation(9, 'app', 'orders_id_seq', 'S', ['last_value']),
    relation(10, 'public', 'accounts', 'r', ['id', 'balance']),
    relation(11, 'public', 'orders', 'r', ['id']),
    relation(12, 'audit', 'trail', 'r', ['id', 'line']),
    relation(13, 'pg_catalog', 'pg_class', 'r', ['oid', 'relname']),
    relation(14, 'pg_catalog', 'pg_settings', 'v', ['name', 'setting']),
    relation(15, 'app', 'order_totals', 'm', ['id', 'total']),
    relation(16, 'app', 'orders_pkey', 'i', []),
  ] satisfies CatalogRelation[]).map((item) => [item.oid, item]));
  return {
    epoch: 'vectors', relations,
    relationsByName: byName([...relations.values()].map((item) => [item.name, item.oid])),
    functionsByName: byName([
      userFunction(1, 'app', 'wipe', 'plpgsql'), userFunction(2, 'public', 'total', 'sql'), userFunction(3, 'public', 'lower', 'sql'), userFunction(4, 'public', 'tick', 'plpgsql'),
      userFunction(5, 'public', 'citext_eq', 'c', '$libdir/citext'), userFunction(6, 'app', 'money_plus', 'plpgsql'), userFunction(7, 'app', 'archive', 'plpgsql'),
    ].map((item) => [item.name, item])),
    systemFunctions: new Set((
      'lower upper now count sum max min length abs random generate_series pg_sleep set_config current_setting nextval setval pg_read_file lo_import lo_export pg_terminate_backend pg_notify '
      + 'pg_advisory_lock query_to_xml coalesce extract timezone pg_get_viewdef format_type array_agg jsonb_build_object date_trunc to_char unnest row_to_json ts_stat pg_reload_conf like_escape '
      + 'similar_to_escape position substring overlay pg_switch_wal pg_logical_emit_message currval clock_timestamp gen_random_uuid pg_create_restore_point lo_unlink pg_ls_dir pg_stat_file '
      + 'pg_input_is_valid table_to_xml lo_get rank row_number lag text xmlforest system bernoulli has_table_privilege'
    ).split(' ')),
    userOperators: new Set(['<+>', '<=>', '===']),
    operatorFunctions: new Map([['<+>', [6]], ['===', [5]]]),
    typesWithCode: new Set(['positive']),
    userTypes: new Map([['positive', ['app']], ['status', ['app']]]),
    typeBase: new Map(),
    schemas: new Set(['app', 'public', 'audit', 'pg_catalog', 'information_schema']),
  };
}

function relation(oid: number, schema: string, name: string, kind: CatalogRelation['kind'], columns: readonly string[], parents: readonly number[] = []): CatalogRelation {
  return {
    oid, schema, name, kind, parents, definition: null, ownedBy: null, hasTriggers: false,
    columns: columns.map((column, index) => ({ attnum: index + 1, name: column, typeOid: 25, typeModifier: -1 })),
  };
}

function userFunction(oid: number, schema: string, name: string, language: string, library?: string): CatalogFunction {
  return { oid, schema, name, language, body: '', returnsSet: false, isTrigger: false, ...(library === undefined ? {} : { library }) };
}

function byName<T>(entries: readonly (readonly [string, T])[]): ReadonlyMap<string, readonly T[]> {
  const map = new Map<string, T[]>();
  for (const [name, item] of entries) map.set(name, [...(map.get(name) ?? []), item]);
  return map;
}
