import type { AccessPolicyResource, TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import { canonicalJson } from '../../contract/canonical-json.ts';
import type { Policy, ProxyConfig, Target } from '../../contract/proxy-config.ts';
import type { CompiledPolicy } from './compile-policy.ts';
import type { RenderProblem } from './problem.ts';

/** A policy as it is enforced: as written, as it was, or not at all (`policy` null), and the Targets that must not be served because of that. */
export interface InForcePolicy {
  readonly policy: Policy | null;
  readonly isCarried: boolean;
  readonly withholds: readonly string[];
  readonly problems: readonly RenderProblem[];
}

/** Targets that are broken now, as they are in the last good config: same uid, at the port that is theirs now, with the labels of now (labels are in no generation). */
export function carryTargets(resources: readonly TargetResource[], compiled: readonly Target[], listenPorts: ReadonlyMap<string, number>, lastGood: ProxyConfig | null): readonly Target[] {
  const fine = new Set(compiled.map((target) => target.name));
  return resources.filter(({ metadata }) => !fine.has(metadata.name)).flatMap(({ metadata }) => {
    const last = lastGood?.targets.find((target) => target.uid !== '' && target.uid === metadata.uid);
    return last === undefined ? [] : [{ ...last, labels: { ...metadata.labels }, listenPort: listenPorts.get(metadata.name) ?? last.listenPort }];
  });
}

/**
 * A policy as written or, where it is broken, as it is in the last good config.
 *
 * What the older version selects is known for Targets that have the same uid and labels since: it stays for those. Of others nobody knows, so the policy grants nothing
 * there, and if it restricts they are not served until it is repaired.
 */
export function carryPolicy({ policy, selected, restricts, problems }: CompiledPolicy, { metadata }: AccessPolicyResource, targets: readonly TargetResource[], lastGood: ProxyConfig | null): InForcePolicy {
  if (policy !== null) return { policy, isCarried: false, withholds: [], problems };
  const last = lastGood?.policies.find((candidate) => candidate.uid !== '' && candidate.uid === metadata.uid);
  if (!lastGood || last === undefined) return { policy: null, isCarried: false, withholds: restricts ? selected : [], problems };
  const known = new Set(targets.filter((resource) => isUnchanged(resource, lastGood)).map((resource) => resource.metadata.name));
  const doubtful = [...new Set([...selected, ...last.targets])].filter((name) => !known.has(name)).sort();
  return { policy: { ...last, targets: last.targets.filter((name) => known.has(name)) }, isCarried: true, withholds: restricts || doesRestrict(last) ? doubtful : [], problems };
}

function isUnchanged({ metadata }: TargetResource, lastGood: ProxyConfig): boolean {
  const last = lastGood.targets.find((target) => target.name === metadata.name);
  return last !== undefined && last.uid === metadata.uid && canonicalJson(last.labels) === canonicalJson(metadata.labels ?? {});
}

/** `policyRestricts` of a compiled policy; its limits and recording are always present, at their defaults. */
function doesRestrict(policy: Policy): boolean {
  return policy.rules.some((rule) => rule.action !== 'Allow') || policy.masking.length > 0 || Object.values(policy.limits).some((limit) => limit !== null) || policy.recording.durability === 'Fsync';
}
