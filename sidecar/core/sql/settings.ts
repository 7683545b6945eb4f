import { type Denial, deny } from '../errors.ts';

/** What setting a name to a value needs: nothing, a rule for a class, or it is refused whatever the rules say. */
export type SettingJudgement =
  | { readonly outcome: 'free' }
  | { readonly outcome: 'class'; readonly class: 'Set' | 'SetRole' }
  | { readonly outcome: 'refused'; readonly denial: Denial };

/**
 * Judges one setting, however it is spelled: SET, set_config, ALTER ROLE … SET, a function's SET clause, a startup option.
 *
 * @param name as written; compared without case, as the server does.
 * @param value the value as text, list items joined by `, `; null when it is not a constant. Not for RESET and DEFAULT, which are free.
 */
export function judgeSetting(name: string, value: string | null): SettingJudgement {
  const setting = name.toLowerCase();
  if (setting === 'role' || setting === 'session_authorization') return { outcome: 'class', class: 'SetRole' };
  const check = checkedSettings[setting];
  if (check !== undefined) {
    if (value === null) return refused(`the value of ${setting} must be a constant`);
    const problem = check(value);
    return problem === null ? { outcome: 'free' } : refused(problem);
  }
  return freeSettings.has(setting) ? { outcome: 'free' } : { outcome: 'class', class: 'Set' };
}

/** True for a name whose value this proxy must know, and which therefore may be set only where the effect is certain. */
export function isTrackedSetting(name: string): boolean {
  return name.toLowerCase() === 'search_path';
}

function refused(message: string, hint?: string): SettingJudgement {
  return { outcome: 'refused', denial: deny('SETTING_REFUSED', { message, ...(hint === undefined ? {} : { hint }) }) };
}

/** Free only with certain values; each function answers null or the problem. */
const checkedSettings: Readonly<Record<string, (value: string) => string | null>> = {
  // With off the server reads '\' as the parser does not.
  standard_conforming_strings: (value) => (/^\s*(on|tr?u?e?|ye?s?|1)\s*$/i.test(value) ? null : 'standard_conforming_strings can only be on'),
  // In other encodings the second byte of a character may be a backslash or a quote.
  client_encoding: (value) => (/^\s*(utf-?8|unicode|sql[_-]?ascii)\s*$/i.test(value) ? null : 'client_encoding can only be UTF8 or SQL_ASCII'),
  timezone: (value) => (isIanaTimeZone(value) ? null : 'the time zone must be an IANA name such as Europe/Zurich or UTC'),
  search_path: () => null,
};

/** A POSIX zone specification carries free text, which the server reports back. */
function isIanaTimeZone(value: string): boolean {
  if (!/^[A-Za-z][A-Za-z_]*(?:\/[A-Za-z][A-Za-z0-9_+-]*){0,2}$/.test(value)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: value });
    return true;
  } catch {
    return false;
  }
}

/** What clients, pg_dump and pg_restore send, and what changes plans or limits but not access. */
const freeSettings: ReadonlySet<string> = new Set([
  'datestyle', 'intervalstyle', 'extra_float_digits', 'bytea_output', 'xmloption', 'statement_timeout', 'lock_timeout', 'transaction_timeout',
  'idle_in_transaction_session_timeout', 'client_min_messages', 'row_security', 'synchronize_seqscans', 'check_function_bodies', 'default_tablespace',
  'default_table_access_method', 'application_name', 'quote_all_identifiers', 'restrict_nonsystem_relation_kind', 'default_toast_compression', 'lc_messages', 'lc_monetary',
  'lc_numeric', 'lc_time',
  // transactions
  'transaction_isolation', 'transaction_read_only', 'transaction_deferrable', 'default_transaction_isolation', 'default_transaction_read_only', 'default_transaction_deferrable',
  // planner and memory
  'work_mem', 'maintenance_work_mem', 'hash_mem_multiplier', 'seq_page_cost', 'random_page_cost', 'cpu_tuple_cost', 'cpu_index_tuple_cost', 'cpu_operator_cost',
  'parallel_setup_cost', 'parallel_tuple_cost', 'effective_cache_size', 'effective_io_concurrency', 'min_parallel_table_scan_size', 'min_parallel_index_scan_size',
  'max_parallel_workers_per_gather', 'max_parallel_workers', 'parallel_leader_participation', 'from_collapse_limit', 'join_collapse_limit', 'constraint_exclusion',
  'cursor_tuple_fraction', 'default_statistics_target', 'plan_cache_mode', 'recursive_worktable_factor', 'geqo', 'geqo_threshold', 'geqo_effort', 'geqo_pool_size',
  'geqo_generations', 'geqo_selection_bias', 'geqo_seed', 'jit', 'jit_above_cost', 'jit_inline_above_cost', 'jit_optimize_above_cost',
  'enable_async_append', 'enable_bitmapscan', 'enable_distinct_reordering', 'enable_gathermerge', 'enable_group_by_reordering', 'enable_hashagg', 'enable_hashjoin',
  'enable_incremental_sort', 'enable_indexonlyscan', 'enable_indexscan', 'enable_material', 'enable_memoize', 'enable_mergejoin', 'enable_nestloop', 'enable_parallel_append',
  'enable_parallel_hash', 'enable_partition_pruning', 'enable_partitionwise_aggregate', 'enable_partitionwise_join', 'enable_presorted_aggregate', 'enable_self_join_elimination',
  'enable_seqscan', 'enable_sort', 'enable_tidscan',
]);
