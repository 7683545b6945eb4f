import { type ProxyConfig, type StatementClass, statementClasses } from '../../../contract/proxy-config.ts';

/** What a proxy does once it has not heard from the API server for too long. */
export type Staleness = 'KeepLast' | 'DenyWrites' | 'DenyNew';

/** What follows from the age of the config. */
export interface StalenessEffect {
  /** New sessions are refused. */
  readonly deniesNew: boolean;
  /** Statements that change something are refused, in every session. */
  readonly deniesWrites: boolean;
}

/** Decides what the age of the last contact means. Pure. @param staleMs monotonic time since the API server was last heard. */
export function stalenessEffect(mode: Staleness, staleMs: number, maxStaleMs: number): StalenessEffect {
  const isStale = staleMs > maxStaleMs;
  return { deniesNew: isStale && mode === 'DenyNew', deniesWrites: isStale && mode === 'DenyWrites' };
}

/** Classes that change nothing in the database. `CopyOut` to a file of the server is the class `ServerFile`. */
const reading: ReadonlySet<StatementClass> = new Set(['Select', 'CopyOut', 'Explain', 'Show', 'Set', 'Transaction']);
const writing: StatementClass[] = statementClasses.filter((kind) => !reading.has(kind));

/** The same config with one more rule in every policy: whatever writes is denied. A Deny rule of any matching policy stops a statement (D2), so it holds for every session. */
export function withoutWrites(config: ProxyConfig): ProxyConfig {
  const rule: ProxyConfig['policies'][number]['rules'][number] = {
    name: 'sallyport-stale-config', action: 'Deny', approval: null,
    message: 'the gateway has not heard from its cluster for too long; only reading is allowed until it has',
    postgres: { statements: writing, databases: null, tables: null, where: null },
  };
  return { ...config, policies: config.policies.map((policy) => ({ ...policy, rules: [...policy.rules, rule] })) };
}
