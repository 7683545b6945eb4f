/**
 * System relations and functions that hand out what other statements, sessions or stores hold: refused in a masked session whatever its rules say.
 * Whole families by their naming rule, so that a newer server's members are covered too.
 */
const refusedRelations: readonly RegExp[] = [
  /^pg_statistic$/, /^pg_statistic_.*data$/, // samples of column values; pg_statistic_ext holds definitions and psql reads it
  /^pg_stats/,
  /^pg_stat_(activity|statements|statements_info|replication|wal_receiver|subscription|ssl|gssapi)$/,
  /^pg_stat_monitor/,
  /^pg_largeobject$/,
  /^pg_(prepared_statements|cursors|locks|backend_memory_contexts)$/, // a memory context of a plan bears the statement's text
  /^pg_(file_settings|hba_file_rules|ident_file_mappings)$/,
  /^pg_toast_/,
];

const refusedFunctions: readonly RegExp[] = [
  /^(query|table|schema|database|cursor)_to_xml/,
  /^ts_(stat|rewrite)$/, // both run a query given as text
  /^lo_/, /^lo(read|write)$/,
  /^pg_(read|ls|stat)_(binary_)?(file|dir|logdir|waldir|tmpdir|archive_statusdir|log.*|repl.*|summ.*)/, /^pg_stat_file$/, /^pg_file_/, /^pg_logdir_ls$/,
  /^pg_logical_/, /^pg_(create|copy|drop|sync)_.*replication_slot/, /^pg_replication_/, /^pg_show_replication_origin_status$/,
  /^pg_stat_get_(activity|backend_|wal_senders|wal_receiver|subscription)/,
  /^pg_(get|log)_(backend|process)_memory_contexts$/,
  /^pg_(lock_status|cursor|prepared_statement|show_all_file_settings|hba_file_rules|ident_file_mappings)$/,
  /^pg_notify$/,
  /^binary_upgrade_/,
  /^pg_(backup|start_backup|stop_backup|promote|create_restore_point|switch_wal|rotate_logfile|extension_config_dump)/,
  /^pg_(restore|clear)_(relation|attribute|extended)_stats$/,
  /^pg_mcv_list_items$/,
  /^lastval$/,
];

/** True when nobody may read this system relation in a masked session. */
export function isRefusedRelation(name: string): boolean {
  return refusedRelations.some((pattern) => pattern.test(name));
}

/** True when nobody may call this system function in a masked session. */
export function isRefusedFunction(name: string): boolean {
  return refusedFunctions.some((pattern) => pattern.test(name));
}

/** Functions that read or move a sequence, named by their first argument. */
export function isSequenceFunction(name: string): boolean {
  return name === 'nextval' || name === 'currval' || name === 'setval';
}

/** System views and functions that show the values of every sequence. */
export function showsAllSequences(name: string): boolean {
  return name === 'pg_sequences' || name === 'pg_sequence_last_value' || name === 'pg_get_sequence_data';
}

/** C libraries of PostgreSQL's own distribution whose functions compute from their arguments only: they read no relation, file or other session. */
const computingLibraries: ReadonlySet<string> = new Set([
  'btree_gin', 'btree_gist', 'citext', 'cube', 'earthdistance', 'fuzzystrmatch', 'hstore', '_int', 'isn', 'ltree', 'pg_trgm', 'pgcrypto', 'seg', 'unaccent', 'uuid-ossp',
]);

/** True when the library of a C function is one of those that only compute. */
export function isComputingLibrary(library: string): boolean {
  return computingLibraries.has(library.replace(/^\$libdir\//, '').replace(/\.so$/, ''));
}

/** True when a setting makes the server send what it logs, or changes what it loads. */
export function isRefusedSetting(name: string, value: string | null): boolean {
  const setting = name.toLowerCase();
  if (setting === 'client_min_messages') return value !== null && !/^(notice|warning|error|fatal|panic)$/i.test(value);
  return /^(debug_|log_|trace_|auto_explain\.)/.test(setting) || /_preload_libraries$/.test(setting);
}
