import type { AccessRequestResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { CountedEntry, DecisionCount } from '../../../contract/count-decisions.ts';
import type { ApproverMark } from '../../core/ports.ts';

/** A request as the audit records name it: who asks for what under which policy; never the statement. */
export function requestFacts(request: AccessRequestResource): Readonly<Record<string, unknown>> {
  const { spec, metadata } = request;
  const fact = (name: string): string | null => spec.facts?.find((entry) => entry.name === name)?.value ?? null;
  const objects = fact('objects');
  return {
    request: metadata.name, requestUid: metadata.uid ?? '', scope: spec.scope, namespace: metadata.namespace ?? '', target: spec.targetRef.name, database: fact('database') ?? '',
    requester: { key: spec.requester.username, username: spec.requester.username, actorKeys: spec.requester.actor === undefined ? [] : [spec.requester.actor] },
    by: { policy: spec.policyRef.name, policyUid: spec.policyRef.uid, policyGeneration: spec.policyRef.generation, policyDigest: fact('policy-digest') ?? '', rule: spec.policyRef.rule ?? null },
    // A grant is shared by asks that differ in what they bind; only a statement's is for one of them.
    digest: spec.scope === 'Statement' ? fact('bound-digest') : null, requestDigest: spec.digest, kind: fact('statement-kind'), objects: objects === null || objects === '' ? [] : objects.split(', '),
  };
}

/** One decision that counted; the comment of the approver stands in the AccessDecision. */
export function decisionFacts(entry: CountedEntry, decision: { readonly asGroups: readonly string[]; readonly comment: string }): Readonly<Record<string, unknown>> {
  return {
    decision: entry.decision, decisionUid: entry.uid, decisionName: entry.name, approver: { key: entry.by, username: entry.by, actorKeys: [], acr: null, amr: [] },
    asGroups: decision.asGroups, reason: decision.comment, method: 'kubernetes', decidedAtMs: entry.atMs,
  };
}

/** The people whose approval counted, as they stand in the intent record of what they released. */
export function approverMarks(count: DecisionCount): readonly ApproverMark[] {
  return count.entries.flatMap((entry) => (entry.counted && entry.decision === 'Approve' ? [{ key: entry.by, username: entry.by, decisionUid: entry.uid, decidedAtMs: entry.atMs, method: 'kubernetes' }] : []));
}
