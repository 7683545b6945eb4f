import { policyRestricts } from '../operator/render/compile-policy.ts';
import type { ProxyConfig } from '../contract/proxy-config.ts';
import { objectKey } from './load-directory.ts';
import type { LoadedDirectory, LoadedResource, LoadedSecret } from './load-directory.ts';

/** What was in force after the last load. */
export interface InForce {
  readonly resources: ReadonlyMap<string, LoadedResource>;
  readonly secrets: readonly LoadedSecret[];
  readonly config: ProxyConfig;
  /** Targets that stay unserved until every file can be read, by the key of the policy that restricted them and is gone. */
  readonly withheld: ReadonlyMap<string, readonly string[]>;
}

export interface CarriedOver {
  readonly resources: ReadonlyMap<string, LoadedResource>;
  readonly secrets: readonly LoadedSecret[];
  readonly withheld: ReadonlyMap<string, readonly string[]>;
}

/**
 * What to compile when some files cannot be read: a broken file keeps its last good objects, and everything else applies, so that a broken file never keeps a revoked grant alive.
 *
 * A policy that does more than allow and is gone may have been moved into the broken file, where nobody can see it. Dropping its Deny or mask would widen access, keeping
 * its grants would undo a revocation; so it is dropped and the Targets that it selected are not served until all files can be read.
 */
export function carryOver(inForce: InForce | null, loaded: LoadedDirectory): CarriedOver {
  const resources = new Map(loaded.resources.map((each) => [objectKey(each.resource), each]));
  const secrets = [...loaded.secrets];
  if (inForce === null || loaded.brokenFiles.size === 0) return { resources, secrets, withheld: new Map() };

  for (const secret of inForce.secrets) {
    if (loaded.brokenFiles.has(secret.file) && !secrets.some((each) => each.name === secret.name && each.namespace === secret.namespace)) secrets.push(secret);
  }
  const withheld = new Map([...inForce.withheld].filter(([key]) => !resources.has(key)));
  for (const [key, old] of inForce.resources) {
    if (resources.has(key)) continue;
    if (loaded.brokenFiles.has(old.file)) resources.set(key, old);
    else if (old.resource.kind === 'AccessPolicy' && policyRestricts(old.resource.spec)) withheld.set(key, targetsOf(inForce.config, old.resource.metadata.name));
  }
  return { resources, secrets, withheld };
}

function targetsOf(config: ProxyConfig, policy: string): readonly string[] {
  return config.policies.find((each) => each.name === policy)?.targets ?? [];
}
