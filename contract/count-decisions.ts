import { accessRequestStatus, type IgnoredReason, isSameParty, type Party, type RequestEnding, type RequestPhase, type RequestStatus } from './access-request-status.ts';
import type { AccessDecisionResource, AccessRequestResource } from './api/v1alpha1.gen.ts';
import { digestOf } from './digest.ts';
import { isMappedPerson, personKeys } from './person-key.ts';
import { type Approval, endpointOf, type ProxyConfig, type Target } from './proxy-config.ts';
import { requestDigest } from './request-digest.ts';

/** What counting rests on beside the objects. */
export interface CountContext {
  /** The namespace's config in force: who approves, and how many, is read here, never in the request. */
  readonly config: ProxyConfig;
  /** Username → username that means the same person. */
  readonly aliases: Readonly<Record<string, string>>;
  readonly nowMs: number;
  /**
   * Since when admission is known to stand unchanged (`integritySince` of the ProxyConfig). A decision of that second or earlier could have been forged while it did not, and does not
   * count. Null: not known, so none counts. Absent only where nobody decides by the count (a client that shows it).
   */
  readonly integritySinceMs?: number | null;
}

/** One decision that names the request, and what became of it. `atMs` is the API server's time of its creation, whole seconds. */
export interface CountedEntry {
  readonly name: string;
  readonly uid: string;
  readonly by: string;
  readonly decision: 'Approve' | 'Deny' | 'Revoke';
  readonly atMs: number;
  readonly counted: boolean;
  readonly ignoredReason: IgnoredReason | null;
}

/** What the decisions on an AccessRequest come to at one moment. */
export interface DecisionCount extends RequestStatus {
  readonly ignored: readonly { readonly uid: string; readonly name: string; readonly reason: IgnoredReason }[];
  /** Every decision that names the request, by time and name. */
  readonly entries: readonly CountedEntry[];
  /** Why nothing can count: the request's digest is not that of its spec, or what it asks under is no longer in force. */
  readonly problem: 'InvalidDigest' | 'Superseded' | null;
}

/**
 * Counts AccessDecisions on an AccessRequest (kubernetes.md section 7): the one rule of operator, proxies and CLI. Pure; the order of `decisions` does not matter.
 *
 * A decision counts when it repeats the request's name, uid, digest, policy and requester; its author is a known person, not the requester or their agent under any spelling, in an
 * approving group of the policy in force; and the API server created it before `decideWithin` was over. Times have whole seconds, cut off: a decision created in the second of
 * the deadline is too late, a grant ends up to a second early, and a denial or revocation of the same second as the last approval wins.
 *
 * The status as stored only ever ends a request (`use`, a final phase): none written into it makes anything approved.
 * Whether admission is in force (ApprovalIntegrity) is the caller's to check first: without it nothing here is worth anything.
 *
 * @param decisions of the request's namespace; those that name another request are left out.
 */
export function countDecisions(request: AccessRequestResource, decisions: readonly AccessDecisionResource[], context: CountContext): DecisionCount {
  const parties = partiesOf(request, context);
  const about = inOrder(decisions.filter((decision) => isAbout(request, decision)));
  const approval = approvalInForce(request, context.config);
  const problem = request.spec.digest !== requestDigest(request.spec) ? 'InvalidDigest' : approval === null ? 'Superseded' : null;
  const ending = endingOf(request);

  const early = new Map<string, IgnoredReason>();
  for (const decision of about) {
    const reason = whyNotOnThis(request, decision) ?? parties.whyNotBy(decision.spec.by) ?? whyUnproven(decision, context) ?? (problem === null ? null : 'AfterFinal');
    if (reason !== null) early.set(uidOf(decision), reason);
  }
  const createdAtMs = timeOf(request.metadata.creationTimestamp);
  const status = accessRequestStatus(
    {
      uid: uidOf(request), digest: request.spec.digest, scope: request.spec.scope, requester: parties.requester, groups: approval?.groups ?? [],
      required: approval?.required ?? request.spec.approvers.required, createdAtMs, decideByMs: createdAtMs + decideWithinMs(request, approval), grantTtlMs: grantTtlMs(request, approval),
    },
    about.filter((decision) => !early.has(uidOf(decision))).map((decision) => ({
      uid: uidOf(decision), requestUid: decision.spec.requestRef.uid, digest: decision.spec.digest, decision: decision.spec.decision,
      by: { key: parties.keyOf(decision.spec.by), actorKeys: [] }, groups: decision.spec.asGroups ?? [], decidedAtMs: timeOf(decision.metadata.creationTimestamp),
    })),
    ending, context.nowMs,
  );
  return withEntries(about, early, closeBy(request, status, problem), problem);
}

/**
 * The approval that a request asks for, as the policy in force has it; null when the policy, its generation, the rule, its scope, the Target or its server is no longer the one asked under.
 * A lost or changed policy thus ends what rests on it.
 *
 * @public for the proxy
 */
export function approvalInForce(request: Pick<AccessRequestResource, 'spec'>, config: ProxyConfig): Approval | null {
  const { policyRef, targetRef, scope } = request.spec;
  const policy = config.policies.find((candidate) => candidate.name === policyRef.name);
  if (policy === undefined || policy.uid !== policyRef.uid || policy.generation !== policyRef.generation || !policy.targets.includes(targetRef.name)) return null;
  const target = config.targets.find((candidate) => candidate.name === targetRef.name && candidate.uid === targetRef.uid);
  const asked = factOf(request, 'target-digest');
  if (target === undefined || (asked !== undefined && asked !== targetDigest(target))) return null;
  const approval = policyRef.rule === undefined
    ? (policy.access.mode === 'OnRequest' ? policy.access.approval : null)
    : policy.rules.find((rule) => rule.name === policyRef.rule && rule.action === 'RequireApproval')?.approval ?? null;
  return approval?.scope === scope ? approval : null;
}

/** Which server a Target means, how it is known, and as whom it is logged in to: the fact `target-digest` of a request. A request made by hand may leave it out. */
export function targetDigest(target: Target): string {
  return digestOf(endpointOf(target));
}

interface Parties {
  readonly requester: Party;
  keyOf(username: string): string;
  whyNotBy(username: string): IgnoredReason | null;
}

function partiesOf(request: AccessRequestResource, context: CountContext): Parties {
  const keyOf = personKeys(context.aliases);
  const { username } = request.spec.requester;
  const agents = agentsOf(request);
  const requester: Party = { key: keyOf(username), actorKeys: agents.map(keyOf) };
  const providers = context.config.identityProviders;
  // A requester whom nobody can place could be any of the approvers, an agent too whose name did not fit. A workload is placed: it never decides.
  const placed = !agents.some((agent) => agent.startsWith('sha256:'))
    && (isMappedPerson(username, providers, context.aliases) || (username.startsWith('system:serviceaccount:') && providers.some((provider) => provider.type === 'ServiceAccount')));
  return {
    requester,
    keyOf,
    whyNotBy: (by) => {
      if (isSameParty(requester, { key: keyOf(by), actorKeys: [] })) return 'SelfApproval';
      return placed && isMappedPerson(by, providers, context.aliases) ? null : 'UnmappedIdentity';
    },
  };
}

/** The agent that acts, and those behind it: the fact `agents` lists all of them where there is more than one (`a < b`), or is a hash where they did not fit. */
function agentsOf({ spec }: AccessRequestResource): readonly string[] {
  const chain = factOf({ spec }, 'agents')?.split(' < ') ?? [];
  return spec.requester.actor === undefined ? chain : [spec.requester.actor, ...chain];
}

function factOf({ spec }: Pick<AccessRequestResource, 'spec'>, name: string): string | undefined {
  return spec.facts?.find((fact) => fact.name === name)?.value;
}

function isAbout(request: AccessRequestResource, decision: AccessDecisionResource): boolean {
  if (decision.metadata.namespace !== request.metadata.namespace) return false;
  return decision.spec.requestRef.name === request.metadata.name || decision.spec.requestRef.uid === uidOf(request);
}

/** Admission asked whether the author may approve under the policy that the decision names, so that must be the request's own. */
function whyNotOnThis(request: AccessRequestResource, { metadata, spec }: AccessDecisionResource): IgnoredReason | null {
  if (spec.requestRef.name !== request.metadata.name || spec.requestRef.uid !== uidOf(request) || spec.requestRef.uid === '') return 'UIDMismatch';
  if (spec.digest !== request.spec.digest) return 'DigestMismatch';
  if (spec.policyRef.name !== request.spec.policyRef.name) return 'PolicyMismatch';
  if (spec.requester.username !== request.spec.requester.username || spec.requester.actor !== request.spec.requester.actor) return 'RequesterMismatch';
  return timeOf(metadata.creationTimestamp) === 0 ? 'TooLate' : null;
}

/** Only what restricts is believed without proof. */
function whyUnproven({ metadata, spec }: AccessDecisionResource, { integritySinceMs }: CountContext): IgnoredReason | null {
  if (integritySinceMs === undefined || spec.decision !== 'Approve') return null;
  return integritySinceMs !== null && timeOf(metadata.creationTimestamp) > integritySinceMs ? null : 'BeforeIntegrity';
}

const endingPhases: Readonly<Record<string, RequestEnding['kind']>> = { Withdrawn: 'Withdrawn', Superseded: 'Superseded', Expired: 'Expired' };

function endingOf(request: AccessRequestResource): RequestEnding | null {
  const { use, phase } = request.status ?? {};
  if (use?.state === 'Used' || use?.state === 'Withdrawn') return { kind: use.state, atMs: timeOf(use.at) };
  const kind = endingPhases[phase ?? ''];
  if (kind === undefined) return null;
  const decided = request.status?.conditions?.find((condition) => condition.type === 'Decided');
  return { kind, atMs: timeOf(decided?.lastTransitionTime) };
}

/** What ends a request beside its decisions. A statement that was forwarded was used, whoever denied it in the same second. */
function closeBy(request: AccessRequestResource, status: RequestStatus, problem: DecisionCount['problem']): RequestStatus {
  const closed = (phase: RequestPhase): RequestStatus => ({ ...status, phase, expiresAtMs: null, nextDeadlineMs: null });
  if (request.status?.use?.state === 'Used' && request.spec.scope === 'Statement') return closed('Used');
  const stored = request.status?.phase;
  if (stored !== undefined && stored !== 'Pending' && stored !== 'Approved') return closed(stored);
  const isOpen = status.phase === 'Pending' || status.phase === 'Approved' || status.phase === 'Used';
  if (problem === null || !isOpen) return status;
  return closed(problem === 'InvalidDigest' ? 'Denied' : 'Superseded');
}

function withEntries(about: readonly AccessDecisionResource[], early: ReadonlyMap<string, IgnoredReason>, status: RequestStatus, problem: DecisionCount['problem']): DecisionCount {
  const reasons = new Map([...early, ...status.ignored.map(({ uid, reason }) => [uid, reason] as const)]);
  const entries = about.map((decision): CountedEntry => {
    const uid = uidOf(decision);
    const ignoredReason = reasons.get(uid) ?? null;
    return {
      name: decision.metadata.name, uid, by: decision.spec.by, decision: decision.spec.decision, atMs: timeOf(decision.metadata.creationTimestamp), counted: ignoredReason === null, ignoredReason,
    };
  });
  const ignored = entries.flatMap(({ uid, name, ignoredReason }) => (ignoredReason === null ? [] : [{ uid, name, reason: ignoredReason }]));
  return { ...status, ignored, entries, problem };
}

/** Two decisions of one second have no order that anyone saw; their names make it the same everywhere. */
function inOrder(decisions: readonly AccessDecisionResource[]): AccessDecisionResource[] {
  return [...decisions].sort((a, b) => timeOf(a.metadata.creationTimestamp) - timeOf(b.metadata.creationTimestamp) || (a.metadata.name < b.metadata.name ? -1 : a.metadata.name > b.metadata.name ? 1 : 0));
}

/** The shorter of what the policy allows and what was asked: a request made by hand may name any time. */
function decideWithinMs(request: AccessRequestResource, approval: Approval | null): number {
  const asked = durationMs(request.spec.decideWithin);
  return approval === null ? asked : Math.min(asked, approval.decideWithinSeconds * 1_000);
}

function grantTtlMs(request: AccessRequestResource, approval: Approval | null): number | null {
  if (request.spec.scope === 'Statement') return null;
  const asked = request.spec.grantTTL === undefined ? Number.POSITIVE_INFINITY : durationMs(request.spec.grantTTL);
  const allowed = approval?.grantTtlSeconds ?? 0;
  return Math.min(asked, allowed * 1_000);
}

function durationMs(text: string): number {
  const secondsOf: Readonly<Record<string, number>> = { h: 3_600, m: 60, s: 1 };
  let seconds = 0;
  for (const [, digits, unit = 's'] of text.matchAll(/([0-9]{1,5})([hms])/g)) seconds += Number(digits) * (secondsOf[unit] ?? 0);
  return seconds * 1_000;
}

/** 1970 for a time that is missing or unreadable: what has no time is long over. */
function timeOf(text: string | undefined): number {
  const ms = Date.parse(text ?? '');
  return Number.isNaN(ms) ? 0 : ms;
}

function uidOf(object: { readonly metadata: { readonly uid?: string; readonly name: string } }): string {
  return object.metadata.uid ?? '';
}
