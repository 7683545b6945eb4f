import type { AccessDecisionResource, AccessRequestResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { ConditionReason } from '../../../contract/conditions.ts';
import { withTransitionTimes } from '../../../contract/conditions.ts';
import { type CountedEntry, countDecisions, type DecisionCount } from '../../../contract/count-decisions.ts';
import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import type { IntegrityFacts } from '../integrity/integrity.ts';

type Status = NonNullable<AccessRequestResource['status']>;
type Phase = NonNullable<Status['phase']>;

/** Everything that decides about one request at one moment. */
export interface RequestFacts {
  readonly request: AccessRequestResource;
  readonly decisions: readonly AccessDecisionResource[];
  /** The namespace's config in force; null when there is none that can be read. */
  readonly config: ProxyConfig | null;
  readonly aliases: Readonly<Record<string, string>>;
  readonly integrity: IntegrityFacts;
  /** The pod that holds the statement is gone. */
  readonly holderGone: boolean;
  /** Requests that wait and were there before this one. */
  readonly pending: { readonly ofRequester: number; readonly ofNamespace: number };
  readonly nowMs: number;
}

/** One Event about the request. */
export interface PlannedEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly action: string;
  readonly note: string;
}

/** What to write and when to look again. */
export interface RequestPlan {
  /** The whole status that the operator wants, without `use`; null = leave it. */
  readonly status: Omit<Status, 'use'> | null;
  readonly events: readonly PlannedEvent[];
  /** Unix ms; null = only on a change. */
  readonly requeueAtMs: number | null;
  /** The outcome is final and rests on the config: look at a config that is not from the cache first. */
  readonly restsOnConfig: boolean;
}

/** Pending requests of one person and of one namespace; what comes on top is denied (`TooManyPending`). */
export const pendingLimits = { perRequester: 20, perNamespace: 200 } as const;

const maxListed = 16;

/** Decides what an AccessRequest's status says. Pure. */
export function planRequest(facts: RequestFacts): RequestPlan {
  const { request } = facts;
  if (isFinished(request)) return { status: null, events: [], requeueAtMs: null, restsOnConfig: false };
  const outcome = outcomeOf(facts);
  const stored = request.status ?? {};
  const status = statusOf(facts, outcome);
  return {
    status: isSame(stored, status) ? null : status,
    events: eventsOf(request, outcome, status),
    requeueAtMs: outcome.nextDeadlineMs,
    restsOnConfig: outcome.reason === 'Superseded' || outcome.reason === 'InvalidDigest',
  };
}

/** Whether nothing can change any more: a final phase, or an approved statement that was used. */
export function isFinished(request: AccessRequestResource): boolean {
  const { phase, use } = request.status ?? {};
  if (phase === undefined || phase === 'Pending') return false;
  return phase !== 'Approved' || (request.spec.scope === 'Statement' && use?.state === 'Used');
}

interface Outcome {
  readonly phase: Phase;
  readonly condition: 'True' | 'False' | 'Unknown';
  readonly reason: ConditionReason;
  readonly message: string;
  /** Null: the decisions were not counted; what is stored about them stays. */
  readonly count: DecisionCount | null;
  readonly nextDeadlineMs: number | null;
}

function outcomeOf(facts: RequestFacts): Outcome {
  const { request, config, integrity, nowMs } = facts;
  if (isTooMany(facts)) return ended('Denied', 'TooManyPending', `${request.spec.requester.username} or the namespace has too many pending requests (${pendingLimits.perRequester} and ${pendingLimits.perNamespace})`);
  if (!integrity.holds) return uncounted(facts, integrity.reason, `no decision counts: ${integrity.message}`);
  if (config === null) return uncounted(facts, 'Pending', 'no decision counts: the namespace has no ProxyConfig that can be read');
  const count = countDecisions(request, facts.decisions, { config, aliases: facts.aliases, nowMs, integritySinceMs: integrity.sinceMs });
  // A holder that is gone cannot use an approval; one that was used is used.
  if (facts.holderGone && (count.phase === 'Pending' || count.phase === 'Approved')) {
    return { ...ended(isApproved(request) ? 'Revoked' : 'Withdrawn', 'HolderGone', 'the proxy that held the statement is gone; run it again'), count };
  }
  return counted(request, count);
}

/** A new request only: what waits already is not taken away by what comes later. */
function isTooMany({ request, pending }: RequestFacts): boolean {
  return request.status?.phase === undefined && request.status?.use?.state !== 'Used' && (pending.ofRequester >= pendingLimits.perRequester || pending.ofNamespace >= pendingLimits.perNamespace);
}

function ended(phase: Phase, reason: ConditionReason, message: string): Outcome {
  return { phase, condition: 'True', reason, message, count: null, nextDeadlineMs: null };
}

function counted(request: AccessRequestResource, count: DecisionCount): Outcome {
  const phase = phaseToStore(request, count);
  const names = (decision: CountedEntry['decision']): string => count.entries.filter((entry) => entry.counted && entry.decision === decision).map((entry) => entry.by).join(', ');
  const base = { phase, count, nextDeadlineMs: count.nextDeadlineMs };
  switch (count.phase) {
    case 'Pending':
      if (phase === 'Revoked') return { ...base, condition: 'True', reason: 'Revoked', message: 'the approval that the status claimed is not borne out by the decisions', nextDeadlineMs: null };
      return { ...base, condition: 'False', reason: 'Pending', message: `${count.approvals} of ${count.required} approvals` };
    case 'Approved':
    case 'Used':
      return { ...base, condition: 'True', reason: 'Decided', message: `approved by ${names('Approve')}` };
    case 'Denied':
      if (count.problem === 'InvalidDigest') return { ...base, condition: 'True', reason: 'InvalidDigest', message: 'spec.digest is not the digest of the spec' };
      return { ...base, condition: 'True', reason: 'Denied', message: `denied by ${names('Deny')}` };
    case 'Revoked':
      return { ...base, condition: 'True', reason: 'Revoked', message: `revoked by ${names('Revoke')}` };
    case 'Superseded':
      return { ...base, condition: 'True', reason: 'Superseded', message: `AccessPolicy ${request.spec.policyRef.name} generation ${request.spec.policyRef.generation} no longer asks for this approval on this Target` };
    case 'Expired':
      return { ...base, condition: 'True', reason: 'Expired', message: count.decidedAtMs === null ? 'nobody decided in time' : 'the approval is over' };
    case 'Withdrawn':
      return { ...base, condition: 'True', reason: 'Withdrawn', message: 'the statement was cancelled, or its session ended' };
  }
}

/** The stored phases form a one-way street (a rule of the schema): what was Approved ends as Expired or Revoked. */
function phaseToStore(request: AccessRequestResource, count: DecisionCount): Phase {
  const phase = count.phase === 'Used' ? 'Approved' : count.phase;
  if (!isApproved(request) || phase === 'Approved' || phase === 'Expired') return phase;
  return 'Revoked';
}

function isApproved(request: AccessRequestResource): boolean {
  return request.status?.phase === 'Approved';
}

/** Time goes on while nothing counts: deadlines of what is stored hold, and nothing is decided. */
function uncounted(facts: RequestFacts, reason: ConditionReason, message: string): Outcome {
  const { request, nowMs } = facts;
  const { phase = 'Pending', expiresAt, use } = request.status ?? {};
  const approved = phase === 'Approved';
  if (facts.holderGone || (use?.state === 'Withdrawn' && !approved)) {
    return ended(approved ? 'Revoked' : 'Withdrawn', facts.holderGone ? 'HolderGone' : 'Withdrawn', 'the session that held the statement is gone');
  }
  // Without a config the time to decide is the request's own word, which can only be shortened by the policy.
  const deadlineMs = approved ? timeOf(expiresAt) : timeOf(request.metadata.creationTimestamp) + secondsOf(request.spec.decideWithin) * 1_000;
  if (nowMs >= deadlineMs) return ended('Expired', 'Expired', approved ? 'the approval is over' : 'nobody decided in time');
  return { phase, condition: 'Unknown', reason, message, count: null, nextDeadlineMs: deadlineMs };
}

function statusOf(facts: RequestFacts, outcome: Outcome): Omit<Status, 'use'> {
  const { request } = facts;
  const stored = request.status ?? {};
  const { count } = outcome;
  const decidedAt = stored.decidedAt ?? (count?.decidedAtMs === null || count === null ? undefined : rfc3339(count.decidedAtMs));
  const expiresAt = earlier(stored.expiresAt, count?.expiresAtMs ?? null);
  const keepsList = count === null || count.problem !== null;
  const decisions = keepsList && stored.decisions !== undefined ? stored.decisions : listed(count?.entries ?? []);
  const conditions = withTransitionTimes(
    stored.conditions ?? [],
    [{ type: 'Decided', status: outcome.condition, reason: outcome.reason, message: outcome.message, observedGeneration: request.metadata.generation ?? 1 }],
    rfc3339(facts.nowMs),
  ).map((condition) => ({ ...condition }));
  return {
    observedGeneration: request.metadata.generation ?? 1,
    phase: outcome.phase,
    approvals: keepsList && stored.approvals !== undefined ? stored.approvals : `${count?.approvals ?? 0}/${count?.required ?? request.spec.approvers.required}`,
    ...(decidedAt === undefined ? {} : { decidedAt }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    decisions,
    conditions,
  };
}

/** At most 16: what counts before what is ignored, then the earliest; in the order of time. */
function listed(entries: readonly CountedEntry[]): NonNullable<Status['decisions']> {
  const kept = new Set([...entries].sort((a, b) => Number(b.counted) - Number(a.counted)).slice(0, maxListed));
  return entries.filter((entry) => kept.has(entry)).map((entry) => ({
    name: entry.name, uid: entry.uid, by: entry.by, decision: entry.decision, at: rfc3339(entry.atMs), counted: entry.counted,
    ...(entry.ignoredReason === null ? {} : { ignoredReason: entry.ignoredReason }),
  }));
}

function eventsOf(request: AccessRequestResource, outcome: Outcome, status: Omit<Status, 'use'>): PlannedEvent[] {
  const stored = request.status ?? {};
  const events: PlannedEvent[] = [];
  if (stored.phase === undefined) events.push({ type: 'Normal', reason: 'Requested', action: 'Request', note: `${request.spec.requester.username} asks for: ${request.spec.action}` });
  const known = new Set((stored.decisions ?? []).map((decision) => decision.name));
  for (const decision of status.decisions ?? []) {
    if (known.has(decision.name) || decision.counted) continue;
    events.push({ type: 'Warning', reason: 'DecisionIgnored', action: 'Count', note: `${decision.decision} by ${decision.by} does not count: ${decision.ignoredReason ?? 'unknown'}` });
  }
  if (outcome.phase !== (stored.phase ?? 'Pending')) {
    const isWarning = outcome.phase === 'Denied' || outcome.phase === 'Revoked';
    events.push({ type: isWarning ? 'Warning' : 'Normal', reason: outcome.phase, action: 'Decide', note: outcome.message });
  }
  return events;
}

function isSame(stored: Status, wanted: Omit<Status, 'use'>): boolean {
  const { use: _use, ...rest } = stored;
  return canonical(rest) === canonical(wanted);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member) ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1))) : member);
}

/** The earlier of the stored end and the counted one: an end may only come nearer. */
function earlier(stored: string | undefined, countedMs: number | null): string | undefined {
  if (countedMs === null) return stored;
  return stored !== undefined && timeOf(stored) <= countedMs ? stored : rfc3339(countedMs);
}

function secondsOf(duration: string): number {
  const units: Readonly<Record<string, number>> = { h: 3_600, m: 60, s: 1 };
  return [...duration.matchAll(/([0-9]{1,5})([hms])/g)].reduce((sum, [, digits, unit = 's']) => sum + Number(digits) * (units[unit] ?? 0), 0);
}

function timeOf(text: string | undefined): number {
  const ms = Date.parse(text ?? '');
  return Number.isNaN(ms) ? 0 : ms;
}

function rfc3339(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
}
