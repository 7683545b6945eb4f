import { createHash } from 'node:crypto';
import type { ProxyConfigResource } from '../../../contract/api/v1alpha1.gen.ts';
import { canonicalJson } from '../../../contract/canonical-json.ts';
import type { Policy, ProxyConfig } from '../../../contract/proxy-config.ts';
import type { Verdict } from './check.ts';
import { servableTargets } from './facts.ts';
import type { NamespaceFacts } from './facts.ts';
import { highestAcknowledged, progressOf } from './progress.ts';

type Spec = ProxyConfigResource['spec'];
type CompiledEntry = NonNullable<Spec['compiled']>[number];

/** What is to be done with the ProxyConfig. */
export type ConfigPlan =
  /** The namespace has no proxy and wants none. */
  | { readonly action: 'none' }
  | { readonly action: 'keep' }
  | { readonly action: 'write'; readonly spec: Spec }
  /** The last Target is gone and so are its sessions: garbage collection takes the rest. */
  | { readonly action: 'delete' };

/** How long proxies that say nothing are waited for before the proxy of a namespace without Targets is removed. */
export const emptyGraceMs = 300_000;

/** Plans the ProxyConfig: revision, hash, listeners, and since which revision each object is in it as it is now. Pure. */
export function planConfig(facts: NamespaceFacts, { render, ports }: Verdict): ConfigPlan {
  const before = facts.proxyConfig;
  const isEmpty = servableTargets(facts).length === 0;
  if (before === null && (isEmpty || render.config.targets.length === 0)) return { action: 'none' };
  const text = canonicalJson(render.config);
  const hash = `sha256:${createHash('sha256').update(text).digest('hex')}`;
  const ahead = highestAcknowledged(before, facts.pods, facts.nowMs) ?? 0;
  const isBehind = before !== null && ahead > before.spec.revision;
  const isSame = before !== null && before.spec.hash === hash && !isBehind;
  if (isSame && isEmpty && mayGo(facts, before)) return { action: 'delete' };
  if (isSame && canonicalJson(before.spec.listeners ?? []) === canonicalJson(ports.listeners)) return { action: 'keep' };
  const revision = isSame ? before.spec.revision : Math.max((before?.spec.revision ?? 0) + 1, ahead + 1, facts.nowMs);
  const compiled = isSame ? (before.spec.compiled ?? []) : compiledEntries(render.config, isBehind ? null : facts.lastGood, isBehind ? [] : (before?.spec.compiled ?? []), revision);
  return { action: 'write', spec: { revision, hash, config: text, compiled: [...compiled], listeners: [...ports.listeners] } };
}

/** When a namespace without Targets is looked at again though nothing changes; null: it has Targets, or no proxy. */
export function emptyUntilMs(facts: NamespaceFacts): number | null {
  return facts.proxyConfig === null || servableTargets(facts).length > 0 ? null : facts.proxyConfig.spec.revision + emptyGraceMs;
}

/** Every proxy has applied the config without Targets, so their sessions have ended; or proxies say nothing for too long. */
function mayGo(facts: NamespaceFacts, config: ProxyConfigResource): boolean {
  const { ready, applied } = progressOf(config, facts.pods, { sinceRevision: config.spec.revision });
  const isSilent = facts.nowMs - config.spec.revision >= emptyGraceMs;
  return isSilent || (ready === applied && facts.pods.every((pod) => pod.isReady));
}

function compiledEntries(config: ProxyConfig, last: ProxyConfig | null, before: readonly CompiledEntry[], revision: number): readonly CompiledEntry[] {
  const served = new Set(config.targets.map((target) => target.name));
  const wasServed = new Set((last?.targets ?? []).map((target) => target.name));
  const stays = (name: string): boolean => served.has(name) && wasServed.has(name);
  // A Target that is new or gone changes nothing in what a policy does on the others; a Target that it begins or ceases to select does.
  const comparable = (policy: Policy): string => canonicalJson({ ...policy, targets: policy.targets.filter(stays) });
  const entry = <T extends { readonly name: string; readonly uid: string; readonly generation: number }>(kind: CompiledEntry['kind'], object: T, old: readonly T[], text: (object: T) => string): CompiledEntry => {
    const earlier = old.find((candidate) => candidate.uid === object.uid && candidate.name === object.name);
    const recorded = before.find((candidate) => candidate.kind === kind && candidate.name === object.name && candidate.uid === object.uid);
    const since = earlier !== undefined && recorded !== undefined && text(earlier) === text(object) ? recorded.revision ?? revision : revision;
    // Generations of the API server begin with 1.
    return { kind, name: object.name, uid: object.uid, generation: Math.max(1, object.generation), revision: since };
  };
  return [
    ...config.policies.map((policy) => entry('AccessPolicy', policy, last?.policies ?? [], comparable)),
    ...config.identityProviders.map((provider) => entry('IdentityProvider', provider, last?.identityProviders ?? [], canonicalJson)),
    ...config.targets.map((target) => entry('Target', target, last?.targets ?? [], canonicalJson)),
  ];
}
