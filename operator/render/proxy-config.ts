import { canonicalJson } from '../../contract/canonical-json.ts';
import { formatPath } from '../../contract/api/validate-schema.ts';
import type { AccessPolicyResource, IdentityProviderResource, TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import type { ProxyConfig, Target } from '../../contract/proxy-config.ts';
import { compileIdentityProviders } from './compile-identity-provider.ts';
import { compilePolicy } from './compile-policy.ts';
import type { CompiledPolicy } from './compile-policy.ts';
import { compileTargets } from './compile-target.ts';
import { findingsOf } from './problem.ts';
import type { RenderProblem } from './problem.ts';

/** What one namespace's proxy is compiled from. Resources come from `readResource` or the API server: valid and with defaults. */
export interface RenderInput {
  readonly namespace: string;
  /** Of this namespace only; no two of one name. */
  readonly targets: readonly TargetResource[];
  readonly policies: readonly AccessPolicyResource[];
  readonly identityProviders: readonly IdentityProviderResource[];
  /** Port of a Target's listener by its name, where the operator assigned it. */
  readonly listenPorts?: ReadonlyMap<string, number>;
  /** Names of Targets that must not be served, whatever their spec says: a policy that restricted them is missing for a reason that nobody confirmed. */
  readonly withheld?: ReadonlySet<string>;
}

/** A config that is safe to serve, and what had to be left out of it. */
export interface RenderOutcome {
  readonly config: ProxyConfig;
  readonly problems: readonly RenderProblem[];
}

/**
 * The compile step (D8): resources -> the config of one namespace's proxy. Pure; the order of resources, keys, sets and list-map entries has no influence.
 *
 * The config is always safe to serve. An object with a `rejected` problem is left out as a whole; if it is a policy that does more than allow, the Targets that it
 * selects are left out too (with a broken selector: all), because serving them without its Deny, limit or mask would be wider than what was written.
 * A caller that has an older, accepted version of the object passes that instead and renders again, or keeps the last good config.
 */
export function renderProxyConfig(input: RenderInput): RenderOutcome {
  const resources = [...input.targets].sort(byName);
  const compiledTargets = compileTargets(resources, input.listenPorts ?? new Map());
  const providers = compileIdentityProviders(input.identityProviders);
  const compiled = [...input.policies].sort(byName).map((resource) => compilePolicy(resource, resources));
  const withheld = new Set([...(input.withheld ?? []), ...compiled.flatMap(({ policy, restricts, selected }) => (policy === null && restricts ? selected : []))]);
  const targets = compiledTargets.targets.filter((target) => !withheld.has(target.name));
  const config: ProxyConfig = {
    schemaVersion: 1,
    namespace: input.namespace,
    identityProviders: [...providers.identityProviders],
    targets,
    policies: servedPolicies(compiled, targets),
  };
  const problems = [...compiledTargets.problems, ...providers.problems, ...compiled.flatMap(policyProblems), ...sizeProblems(config)];
  return { config, problems: problems.sort(byPlace) };
}

const maxConfigBytes = 786_432;
const maxTargets = 512;
const maxObjects = 1_024;

function byName(a: { readonly metadata: { readonly name: string } }, b: { readonly metadata: { readonly name: string } }): number {
  return a.metadata.name < b.metadata.name ? -1 : a.metadata.name > b.metadata.name ? 1 : 0;
}

/** Policies name Targets that are served, and nothing else. */
function servedPolicies(compiled: readonly CompiledPolicy[], targets: readonly Target[]): ProxyConfig['policies'] {
  const served = new Set(targets.map((target) => target.name));
  return compiled.flatMap(({ policy }) => (policy === null ? [] : [{ ...policy, targets: policy.targets.filter((name) => served.has(name)) }]));
}

function policyProblems({ policy, restricts, selected, problems }: CompiledPolicy): readonly RenderProblem[] {
  if (policy !== null || !restricts || selected.length === 0) return problems;
  return problems.map((problem) => (problem.severity === 'rejected' ? { ...problem, withholds: selected } : problem));
}

/** Above the limits the caller keeps the last config; nothing is cut (architecture 6). */
function sizeProblems(config: ProxyConfig): readonly RenderProblem[] {
  const findings = findingsOf('ProxyConfig', config.namespace);
  const bytes = Buffer.byteLength(canonicalJson(config));
  const objects = config.targets.length + config.policies.length + config.identityProviders.length;
  if (bytes > maxConfigBytes) findings.reject([], 'ConfigTooLarge', `the compiled config has ${bytes} bytes, more than ${maxConfigBytes}`);
  if (config.targets.length > maxTargets) findings.reject([], 'ConfigTooLarge', `${config.targets.length} Targets in one namespace, more than ${maxTargets}`);
  if (objects > maxObjects) findings.reject([], 'ConfigTooLarge', `${objects} objects in one namespace, more than ${maxObjects}`);
  return findings.problems;
}

function byPlace(a: RenderProblem, b: RenderProblem): number {
  const [left, right] = [a, b].map((problem) => `${problem.kind} ${problem.name} ${formatPath(problem.path)} ${problem.message}`) as [string, string];
  return left < right ? -1 : left > right ? 1 : 0;
}
