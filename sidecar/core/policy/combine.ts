import type { Approval, MaskingRule, Policy } from '../../../contract/proxy-config.ts';
import type { DecidedBy, SessionLimits } from './decision.ts';
import type { Permit } from './permit.ts';

/** The strictest limits of all policies: the smallest number of each kind. */
export function combineLimits(policies: readonly Policy[]): SessionLimits {
  const strictest = (kind: keyof SessionLimits): number | null => {
    const values = policies.flatMap((policy) => policy.limits[kind] ?? []);
    return values.length === 0 ? null : Math.min(...values);
  };
  return {
    sessionSeconds: strictest('sessionSeconds'), idleSeconds: strictest('idleSeconds'), concurrentSessions: strictest('concurrentSessions'),
    rowsPerStatement: strictest('rowsPerStatement'), bytesPerStatement: strictest('bytesPerStatement'),
  };
}

/** Every masking rule of every policy, by policy name, each once. What several rules on one column mean is the masking's affair. */
export function combineMasking(policies: readonly Policy[]): readonly MaskingRule[] {
  const all = [...policies].sort(byName).flatMap((policy) => policy.masking);
  return [...new Map(all.map((rule) => [JSON.stringify(rule), rule])).values()];
}

/** The most that any policy asks for: content before metadata, power-loss safe before process-loss safe. */
export function combineRecording(policies: readonly Policy[]): Permit['recording'] {
  return {
    content: policies.some((policy) => policy.recording.content === 'Full') ? 'Full' : 'Metadata',
    durability: policies.some((policy) => policy.recording.durability === 'Fsync') ? 'Fsync' : 'Write',
  };
}

/** A policy, or a rule of it, that asks for an approval. */
export interface ApprovalDemand {
  readonly policy: Policy;
  readonly rule: string | null;
  readonly approval: Approval;
}

/** Orders demands, strictest first: more approvers, narrower scope, less time to decide, then names, so that no two are equal. */
export function byStrictness(a: ApprovalDemand, b: ApprovalDemand): number {
  return b.approval.required - a.approval.required
    || scopes.indexOf(a.approval.scope) - scopes.indexOf(b.approval.scope)
    || a.approval.decideWithinSeconds - b.approval.decideWithinSeconds
    || compareText(a.policy.name, b.policy.name)
    || compareText(a.rule ?? '', b.rule ?? '');
}

const scopes: readonly Approval['scope'][] = ['Statement', 'Session', 'Window'];

/** Orders by name, by code unit: the same everywhere, whatever the locale. */
export function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return compareText(a.name, b.name);
}

/** Words a policy and one of its rules for records. */
export function decidedBy(policy: Policy, rule: string | null): DecidedBy {
  return { policy: policy.name, policyUid: policy.uid, policyGeneration: policy.generation, policyDigest: policy.digest, rule };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
