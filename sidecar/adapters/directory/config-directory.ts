import { canonicalJson } from '../../../contract/canonical-json.ts';
import { parseProxyConfig } from '../../../contract/proxy-config.ts';
import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import type { ConfigSource, Logger } from '../../core/ports.ts';
import { SallyportError } from '../../core/errors.ts';
import { watchDirectory } from './watch-directory.ts';

/** Something wrong in a config file, where a person finds it. */
export interface ConfigProblem {
  readonly severity: 'rejected' | 'warning';
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly field: string;
  readonly message: string;
}

/** One load of the directory: a config to put in force (with what is wrong beside it), or why there is none. */
export type ConfigLoad =
  | { readonly outcome: 'config'; readonly config: ProxyConfig; readonly problems: readonly ConfigProblem[] }
  | { readonly outcome: 'problems'; readonly problems: readonly ConfigProblem[] };

/** The config in force, and how to look at the files again. */
export interface DirectoryConfig extends ConfigSource {
  /** What the last load found; empty when everything is in force as written. */
  problems(): readonly ConfigProblem[];
  /** Loads now. Never rejects: what fails is logged and the last good config stays. Calls that overlap become one more load. */
  reload(): Promise<void>;
}

/**
 * Keeps the config of a directory in force: loads it now, and again within a second of each change, until the signal aborts.
 *
 * @param options.load reads and compiles the directory; injected, because a proxy knows no resources. It is never called twice at a time.
 * @returns after the first load, which may have given no config: then `current()` is null until a change gives one.
 */
export async function watchConfigDirectory(options: { readonly dir: string; readonly load: () => Promise<ConfigLoad>; readonly log: Logger; readonly signal: AbortSignal }): Promise<DirectoryConfig> {
  const config = createDirectoryConfig(options.load, options.log);
  await watchDirectory(options.dir, () => config.reload(), options.signal);
  return config;
}

/** The same without watching: the caller says when to reload. */
export function createDirectoryConfig(load: () => Promise<ConfigLoad>, log: Logger): DirectoryConfig {
  const listeners = new Set<() => void>();
  let inForce: { readonly config: ProxyConfig; readonly revision: number } | null = null;
  let problems: readonly ConfigProblem[] = [];
  let running: Promise<void> | null = null;
  let again = false;

  const loadOnce = async (): Promise<void> => {
    const loaded = await load();
    problems = loaded.problems;
    report(loaded, inForce !== null, log);
    if (loaded.outcome === 'problems' || (inForce !== null && canonicalJson(inForce.config) === canonicalJson(loaded.config))) return;
    const parsed = parseProxyConfig(JSON.parse(canonicalJson(loaded.config)));
    if (parsed.outcome === 'rejected') throw new SallyportError('CONFIG_INVALID', { problem: parsed.problems[0] ?? '' });
    inForce = { config: parsed.config, revision: (inForce?.revision ?? 0) + 1 };
    log.info('config in force', { revision: inForce.revision, targets: parsed.config.targets.length, policies: parsed.config.policies.length, identityProviders: parsed.config.identityProviders.length });
    for (const listener of [...listeners]) listener();
  };
  const loadUntilQuiet = async (): Promise<void> => {
    do {
      again = false;
      try {
        await loadOnce();
      } catch (error) {
        log.error('config cannot be loaded, the last good one stays', { code: error instanceof SallyportError ? error.code : 'INTERNAL', error: error instanceof Error ? error.message : 'unknown' });
      }
    } while (again);
    running = null;
  };
  return {
    current: () => inForce,
    problems: () => problems,
    subscribe(listener): () => void {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    reload(): Promise<void> {
      if (running !== null) again = true;
      else running = loadUntilQuiet();
      return running;
    },
  };
}

/** Lines that are logged of one load; the rest is counted. */
const maxReported = 50;

function report(loaded: ConfigLoad, hasConfig: boolean, log: Logger): void {
  for (const { severity, message: problem, ...place } of loaded.problems.slice(0, maxReported)) {
    if (severity === 'rejected') log.error('config file rejected', { code: 'CONFIG_INVALID', ...place, problem });
    else log.info('config file warning', { ...place, problem });
  }
  if (loaded.problems.length > maxReported) log.error('more config problems', { count: loaded.problems.length - maxReported });
  if (loaded.outcome === 'problems') log.error(hasConfig ? 'config rejected, the last good one stays' : 'no valid config, nobody is admitted', { problems: loaded.problems.length });
}
