import { canonicalJson } from '../../contract/canonical-json.ts';
import { formatPath } from '../../contract/api/validate-schema.ts';
import type { AccessPolicyResource, IdentityProviderResource, TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import type { ProxyConfig, Target } from '../../contract/proxy-config.ts';
import { carryPolicy, carryTargets } from './carry-over.ts';
import type { InForcePolicy } from './carry-over.ts';
import { compileIdentityProviders } from './compile-identity-provider.ts';
import { compilePolicy } from './compile-policy.ts';
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
  /** The config in force: objects that are broken now stay as they were in it, where that widens nothing. */
  readonly lastGood?: ProxyConfig | null;
}

/** An object that is broken now and stays in force as it was. */
export interface CarriedObject {
  readonly kind: 'Target' | 'AccessPolicy' | 'IdentityProvider';
  readonly name: string;
  /** The generation that stays in force. */
  readonly generation: number;
}

/** A config that is safe to serve, and what had to be left out of it. */
export interface RenderOutcome {
  readonly config: ProxyConfig;
  readonly problems: readonly RenderProblem[];
  /** Broken objects that stay in force at an older generation; their problems are listed all the same. */
  readonly carried: readonly CarriedObject[];
  /** Names of the Targets that a policy selects, served or not, by the policy's name. */
  readonly selected: ReadonlyMap<string, readonly string[]>;
}

/**
 * The compile step (D8): resources -> the config of one namespace's proxy. Pure; the order of resources, keys, sets and list-map entries has no influence.
 *
 * The config is always safe to serve. An object with a `rejected` problem stays as it is in `lastGood`, and is left out as a whole where it is not in there. A policy that does more than
 * allow takes Targets with it: never accepted, those that it selects (with a broken selector: all); carried over, those of which nobody knows whether its older version would
 * select them. Serving them without its Deny, limit or mask would be wider than what was written.
 */
export function renderProxyConfig(input: RenderInput): RenderOutcome {
  const lastGood = input.lastGood ?? null;
  const resources = [...input.targets].sort(byName);
  const compiledTargets = compileTargets(resources, input.listenPorts ?? new Map());
  const providers = compileIdentityProviders(input.identityProviders, lastGood?.identityProviders ?? []);
  const carriedTargets = carryTargets(resources, compiledTargets.targets, input.listenPorts ?? new Map(), lastGood);
  const compiledPolicies = [...input.policies].sort(byName).map((resource) => ({ resource, compiled: compilePolicy(resource, resources) }));
  const policies = compiledPolicies.map(({ resource, compiled }) => carryPolicy(compiled, resource, resources, lastGood));
  const withheld = new Set([...(input.withheld ?? []), ...policies.flatMap(({ withholds }) => withholds)]);
  const targets = [...compiledTargets.targets, ...carriedTargets].filter((target) => !withheld.has(target.name)).sort((a, b) => (a.name < b.name ? -1 : 1));
  const config: ProxyConfig = { schemaVersion: 1, namespace: input.namespace, identityProviders: [...providers.identityProviders], targets, policies: servedPolicies(policies, targets) };
  const problems = [...compiledTargets.problems, ...providers.problems, ...policies.flatMap(policyProblems), ...sizeProblems(config)];
  const carried = [
    ...carriedTargets.map((target) => carriedObject('Target', target)), ...providers.carried.map((provider) => carriedObject('IdentityProvider', provider)),
    ...policies.flatMap(({ policy, isCarried }) => (policy !== null && isCarried ? [carriedObject('AccessPolicy', policy)] : [])),
  ];
  return { config, problems: problems.sort(byPlace), carried, selected: new Map(compiledPolicies.map(({ resource, compiled }) => [resource.metadata.name, compiled.selected])) };
}

const maxConfigBytes = 786_432;
/** etcd takes 1.5 MiB; listeners, acknowledgements and the rest of the object need their part. */
const maxStoredBytes = 1_300_000;
/** What the API server keeps beside the text for each object: its entry in `compiled` and who manages the fields of it. */
const storedPerObject = 300;
const maxTargets = 512;
const maxObjects = 1_024;

function byName(a: { readonly metadata: { readonly name: string } }, b: { readonly metadata: { readonly name: string } }): number {
  return a.metadata.name < b.metadata.name ? -1 : a.metadata.name > b.metadata.name ? 1 : 0;
}

function carriedObject(kind: CarriedObject['kind'], { name, generation }: { readonly name: string; readonly generation: number }): CarriedObject {
  return { kind, name, generation };
}

/** Policies name Targets that are served, and nothing else. */
function servedPolicies(compiled: readonly InForcePolicy[], targets: readonly Target[]): ProxyConfig['policies'] {
  const served = new Set(targets.map((target) => target.name));
  return compiled.flatMap(({ policy }) => (policy === null ? [] : [{ ...policy, targets: policy.targets.filter((name) => served.has(name)) }]));
}

function policyProblems({ withholds, problems }: InForcePolicy): readonly RenderProblem[] {
  if (withholds.length === 0) return problems;
  return problems.map((problem) => (problem.severity === 'rejected' ? { ...problem, withholds } : problem));
}

/** Above the limits the caller keeps the last config; nothing is cut (architecture 6). */
function sizeProblems(config: ProxyConfig): readonly RenderProblem[] {
  const findings = findingsOf('ProxyConfig', config.namespace);
  const text = canonicalJson(config);
  const bytes = Buffer.byteLength(text);
  const objects = config.targets.length + config.policies.length + config.identityProviders.length;
  const stored = storedBytes(text) + objects * storedPerObject;
  if (bytes > maxConfigBytes) findings.reject([], 'ConfigTooLarge', `the compiled config has ${bytes} bytes, more than ${maxConfigBytes}`);
  else if (stored > maxStoredBytes) findings.reject([], 'ConfigTooLarge', `the compiled config takes ${stored} bytes where the API server stores it, more than ${maxStoredBytes}`);
  if (config.targets.length > maxTargets) findings.reject([], 'ConfigTooLarge', `${config.targets.length} Targets in one namespace, more than ${maxTargets}`);
  if (objects > maxObjects) findings.reject([], 'ConfigTooLarge', `${objects} objects in one namespace, more than ${maxObjects}`);
  return findings.problems;
}

/** Of a text as a string in an object: quotes and backslashes are escaped once more, and Go writes `<`, `>`, `&` and two separators as six bytes each. */
function storedBytes(text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) + 5 * (text.match(/[<>&\u2028\u2029]/g)?.length ?? 0);
}

function byPlace(a: RenderProblem, b: RenderProblem): number {
  const [left, right] = [a, b].map((problem) => `${problem.kind} ${problem.name} ${formatPath(problem.path)} ${problem.message}`) as [string, string];
  return left < right ? -1 : left > right ? 1 : 0;
}
