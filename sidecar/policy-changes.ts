import type { ProxyConfig } from '../contract/proxy-config.ts';

/**
 * Follows the config and notes which policies each swap added, changed or removed; what is in force already is where it begins.
 *
 * @param record writes one `policy.changed` event; a failure is logged, because the change itself is already in force.
 */
export function followPolicyChanges(
  config: { current(): ProxyConfig | null; subscribe(listener: () => void): unknown }, record: (facts: Readonly<Record<string, unknown>>) => Promise<void>,
  log: { error(message: string, fields: Readonly<Record<string, unknown>>): void },
): void {
  let note: ReturnType<typeof policyChanges> | null = null;
  const follow = (): void => {
    const now = config.current();
    if (now === null) return;
    if (note === null) note = policyChanges(now, record, log);
    else note(now);
  };
  config.subscribe(follow);
  follow();
}

/**
 * Notes which policies a config swap added, changed or removed.
 *
 * @param record writes one `policy.changed` event; a failure is logged, because the change itself is already in force (the files are the source).
 * @returns call it with the config after each swap.
 */
export function policyChanges(
  first: ProxyConfig, record: (facts: Readonly<Record<string, unknown>>) => Promise<void>, log: { error(message: string, fields: Readonly<Record<string, unknown>>): void },
): (config: ProxyConfig | null) => void {
  let known = byName(first);
  return (config) => {
    if (!config) return;
    const now = byName(config);
    for (const name of new Set([...known.keys(), ...now.keys()])) {
      const [before, after] = [known.get(name), now.get(name)];
      if (before?.digest === after?.digest && before?.generation === after?.generation) continue;
      const change = before === undefined ? 'Added' : after === undefined ? 'Removed' : 'Changed';
      const facts = { policy: name, change, policyUid: (after ?? before)?.uid, generation: after?.generation ?? null, digest: after?.digest ?? null, previousGeneration: before?.generation ?? null, previousDigest: before?.digest ?? null };
      record(facts).catch((error: unknown) => log.error('policy change not recorded', { policy: name, error: error instanceof Error ? error.message : 'unknown' }));
    }
    known = now;
  };
}

function byName(config: ProxyConfig): ReadonlyMap<string, ProxyConfig['policies'][number]> {
  return new Map(config.policies.map((policy) => [policy.name, policy]));
}
