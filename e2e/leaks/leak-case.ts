import { readFileSync } from 'node:fs';

/** How `leak_sql` is sent. */
export type LeakMode =
  | 'simple' | 'extended_text' | 'extended_binary' | 'extended_nodescribe' | 'extended_maxrows1' | 'extended_param' | 'fastpath' | 'fastpath_fn' | 'copyin' | 'replication' | 'basebackup';

/** One thing that must not be found. */
export type Reveal =
  | 'sensitive'
  | { readonly text: string }
  | { readonly hex: string }
  | { readonly cells: readonly string[] }
  | { readonly tag: string }
  | { readonly sqlstate: string }
  | { readonly slower_than_ms: number };

/** One way in which a masked value leaves a PostgreSQL server, as `leak_channels.json` describes it. Fields that a case does not use are absent. */
export interface LeakCase {
  readonly id: string;
  readonly kind: 'stored_value' | 'echo_of_client_or_ddl_literal' | 'inference';
  readonly protocol_message: string;
  readonly family: string;
  readonly channel: string;
  readonly mode: LeakMode;
  readonly role: 'app' | 'superuser';
  readonly setup_sql?: readonly string[];
  readonly other_session_sql?: readonly string[];
  readonly session_sql?: readonly string[];
  readonly leak_sql: string;
  readonly params?: readonly string[];
  readonly copy_data?: string;
  readonly function?: string;
  readonly args_hex?: readonly string[];
  readonly result_format?: 0 | 1;
  readonly cleanup_sql?: readonly string[];
  readonly reveals: readonly Reveal[];
  /** Oldest major version that has the statement; ours only. */
  readonly since?: number;
}

/** What stands for `${…}` in SQL of a case. */
export interface Placeholders {
  readonly DATA_DIR: string;
  readonly SOCKET_DIR: string;
  readonly PORT: string;
  readonly DATABASE: string;
  readonly OWNER: string;
}

/** Reads a file of cases, placeholders still in it. @throws Error naming the case and field of the first that is not of the form. */
export function readCases(file: string): readonly LeakCase[] {
  const cases = JSON.parse(readFileSync(file, 'utf8')) as readonly LeakCase[];
  if (!Array.isArray(cases)) throw new Error(`${file}: not an array`);
  const ids = new Set<string>();
  for (const item of cases) {
    for (const field of ['id', 'kind', 'protocol_message', 'mode', 'role', 'leak_sql'] as const) if (typeof item[field] !== 'string') throw new Error(`${file}: case ${item.id}: ${field} is missing`);
    if (!Array.isArray(item.reveals) || item.reveals.length === 0) throw new Error(`${file}: case ${item.id}: reveals is missing`);
    if (ids.has(item.id)) throw new Error(`${file}: case ${item.id} stands twice`);
    ids.add(item.id);
  }
  return cases;
}

/** The case with its placeholders replaced. */
export function fillCase(item: LeakCase, values: Placeholders): LeakCase {
  return JSON.parse(JSON.stringify(item, (_key, value: unknown) => (typeof value === 'string' ? value.replace(/\$\{(DATA_DIR|SOCKET_DIR|PORT|DATABASE|OWNER)\}/g, (_match, name: keyof Placeholders) => values[name]) : value))) as LeakCase;
}

/** Setup as three parts: by the owner, by `app` (between `set role app` and `reset role`), by the owner again; null when `app` makes nothing. */
export function splitSetup(setup: readonly string[]): { readonly before: readonly string[]; readonly asApp: readonly string[]; readonly after: readonly string[] } | null {
  const [start, end] = [setup.indexOf('set role app'), setup.lastIndexOf('reset role')];
  if (start === -1 || end < start) return null;
  return { before: setup.slice(0, start), asApp: setup.slice(start + 1, end).filter((sql) => sql !== 'set role app' && sql !== 'reset role'), after: setup.slice(end + 1) };
}

/** The answer to the question stands in cells of the result: where they show something else, nothing is told. Others answer by an error, a count of rows or by time: they may not run. */
export function isAnsweredByCells(item: LeakCase): boolean {
  return item.reveals.every((reveal) => typeof reveal === 'object' && 'cells' in reveal);
}
