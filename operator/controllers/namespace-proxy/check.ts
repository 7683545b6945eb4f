import type { AccessPolicyResource, IdentityProviderResource, TargetResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { ConditionReason } from '../../../contract/conditions.ts';
import { targetLabel } from '../../../contract/names.ts';
import { policyRestricts } from '../../render/compile-policy.ts';
import { renderProxyConfig } from '../../render/proxy-config.ts';
import type { RenderOutcome } from '../../render/proxy-config.ts';
import { targetUidAnnotation } from '../../render/services.ts';
import { allocatePorts } from './allocate-ports.ts';
import type { PortPlan } from './allocate-ports.ts';
import { byAge, servableTargets, serviceNameOf } from './facts.ts';
import type { NamespaceFacts } from './facts.ts';

/** Why an object is not accepted, beside what the compile step finds. */
export interface Refusal {
  readonly reason: ConditionReason;
  readonly message: string;
}

/** What is served in a namespace and why the rest is not. */
export interface Verdict {
  readonly render: RenderOutcome;
  readonly ports: PortPlan;
  /** Refused Targets and policies by `Kind/name`. */
  readonly refusals: ReadonlyMap<string, Refusal>;
}

/** Decides, in this order: who may have which name, who gets which port, what compiles, and what fits. Pure. */
export function checkNamespace(facts: NamespaceFacts): Verdict {
  const conflicts = nameConflicts(facts);
  const ports = portsOf(facts, conflicts);
  const withoutPort = new Map(servableTargets(facts).filter(({ metadata }) => !ports.ports.has(metadata.name) && !conflicts.has(metadata.name)).map(({ metadata }) => [metadata.name, noPort]));
  const isUnserved = (name: string): boolean => !ports.ports.has(name) || (conflicts.has(name) && ownService(facts, name) === null);
  const { render, cut } = renderWhatFits(facts, ports, new Set(servableTargets(facts).map(({ metadata }) => metadata.name).filter(isUnserved)));
  const refusals = new Map<string, Refusal>([...withoutPort, ...conflicts].map(([name, refusal]) => [`Target/${name}`, refusal]));
  for (const key of cut) if (!refusals.has(key)) refusals.set(key, tooLarge);
  return { render, ports, refusals };
}

const noPort: Refusal = { reason: 'ConfigTooLarge', message: 'every listen port is in use or rests for 24 h after its Target was deleted' };
const tooLarge: Refusal = { reason: 'ConfigTooLarge', message: 'the namespace has more objects than one ProxyConfig holds (512 Targets, 1,024 objects, 768 KiB): older ones come first' };

/** The Service that was made for exactly this Target. */
export function ownService(facts: NamespaceFacts, name: string): string | null {
  const uid = facts.targets.find((target) => target.metadata.name === name)?.metadata.uid;
  for (const [key, object] of facts.generated) {
    if (key.startsWith('service/') && object.metadata.labels?.[targetLabel] === name && object.metadata.annotations?.[targetUidAnnotation] === uid) return object.metadata.name;
  }
  return null;
}

function nameConflicts(facts: NamespaceFacts): ReadonlyMap<string, Refusal> {
  const targets = servableTargets(facts);
  if (facts.foreignObjects.length > 0) {
    const refusal: Refusal = { reason: 'NameConflict', message: `${facts.foreignObjects.join(' and ')} in this namespace is not Sallyport's: rename or remove it` };
    return new Map(targets.map(({ metadata }) => [metadata.name, refusal]));
  }
  const conflicts = new Map<string, Refusal>();
  const holders = new Map<string, string>();
  // Whoever has the Service keeps it; else the older Target does.
  const holds = (target: TargetResource): number => (ownService(facts, target.metadata.name) === serviceNameOf(target) ? 0 : 1);
  for (const target of [...targets].sort((a, b) => holds(a) - holds(b) || byAge(a, b))) {
    const service = serviceNameOf(target);
    const holder = holders.get(service);
    if (facts.foreignServices.has(service)) conflicts.set(target.metadata.name, { reason: 'NameConflict', message: `Service ${service} exists and is not Sallyport's: rename the Target, or set spec.serviceName` });
    else if (holder !== undefined) conflicts.set(target.metadata.name, { reason: 'NameConflict', message: `Target ${holder} has Service ${service} already: set another spec.serviceName` });
    else holders.set(service, target.metadata.name);
  }
  return conflicts;
}

function portsOf(facts: NamespaceFacts, conflicts: ReadonlyMap<string, Refusal>): PortPlan {
  const before = facts.proxyConfig?.spec.listeners ?? [];
  const known = new Set(before.map((listener) => listener.targetUID));
  const claims = [...servableTargets(facts)].sort(byAge).filter(({ metadata }) => !conflicts.has(metadata.name) || known.has(metadata.uid ?? '')).map((target) => {
    const status = target.status?.listener?.port;
    return { target: target.metadata.name, uid: target.metadata.uid ?? '', hints: [...servicePort(facts, target.metadata.name), ...(status === undefined ? [] : [status])] };
  });
  return allocatePorts(before, claims, facts.settings.proxy.listenPorts, facts.nowMs);
}

function servicePort(facts: NamespaceFacts, target: string): readonly number[] {
  const name = ownService(facts, target);
  const spec = name === null ? undefined : facts.generated.get(`service/${name}`)?.spec as { readonly ports?: readonly { readonly targetPort?: unknown }[] } | undefined;
  return (spec?.ports ?? []).flatMap(({ targetPort }) => (typeof targetPort === 'number' ? [targetPort] : []));
}

type Candidate = TargetResource | AccessPolicyResource | IdentityProviderResource;

/**
 * Compiles everything, or as much as fits: what is in force first, then by age. A policy that is cut and does more than allow takes its Targets with it. So an object too
 * many is refused, and no deletion or narrowing waits for it.
 */
function renderWhatFits(facts: NamespaceFacts, ports: PortPlan, unserved: ReadonlySet<string>): { readonly render: RenderOutcome; readonly cut: ReadonlySet<string> } {
  const inForce = new Set((facts.proxyConfig?.spec.compiled ?? []).map((entry) => entry.uid));
  const isNew = (each: Candidate): number => (inForce.has(each.metadata.uid ?? '') ? 0 : 1);
  const candidates: readonly Candidate[] = [...facts.identityProviders, ...servableTargets(facts), ...facts.policies].sort((a, b) => isNew(a) - isNew(b) || byAge(a, b));
  const attempt = (count: number): { readonly render: RenderOutcome; readonly cut: ReadonlySet<string> } => {
    const cut = candidates.slice(count);
    const cutPolicies = new Set(cut.filter((each) => each.kind === 'AccessPolicy').map((each) => each.metadata.name));
    const cutTargets = cut.filter((each) => each.kind === 'Target').map((each) => each.metadata.name);
    const cutProviders = new Set(cut.filter((each) => each.kind === 'IdentityProvider').map((each) => each.metadata.name));
    const compile = (withheld: ReadonlySet<string>): RenderOutcome => renderProxyConfig({
      namespace: facts.namespace, targets: facts.targets, policies: facts.policies.filter(({ metadata }) => !cutPolicies.has(metadata.name)),
      identityProviders: facts.identityProviders.filter(({ metadata }) => !cutProviders.has(metadata.name)),
      // A Target that is not served must not take a port that another one has.
      listenPorts: new Map(facts.targets.map(({ metadata }) => [metadata.name, ports.ports.get(metadata.name) ?? 0])), withheld, lastGood: facts.lastGood,
    });
    const restricted = facts.policies.filter((policy) => cutPolicies.has(policy.metadata.name) && policyRestricts(policy.spec)).flatMap((policy) => selectedBy(policy, facts));
    return { render: compile(new Set([...unserved, ...cutTargets, ...restricted])), cut: new Set(cut.map((each) => `${each.kind}/${each.metadata.name}`)) };
  };
  const whole = attempt(candidates.length);
  if (fits(whole.render)) return whole;
  let [fitting, failing] = [0, candidates.length];
  while (failing - fitting > 1) {
    const middle = Math.floor((fitting + failing) / 2);
    if (fits(attempt(middle).render)) fitting = middle;
    else failing = middle;
  }
  return attempt(fitting);
}

function fits(render: RenderOutcome): boolean {
  return !render.problems.some((problem) => problem.kind === 'ProxyConfig');
}

function selectedBy(policy: AccessPolicyResource, facts: NamespaceFacts): readonly string[] {
  return renderProxyConfig({ namespace: facts.namespace, targets: facts.targets, policies: [policy], identityProviders: [] }).selected.get(policy.metadata.name) ?? [];
}
