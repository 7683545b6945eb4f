/** Where an AccessRequest stands. All but Pending and Approved are final. */
export type RequestPhase = 'Pending' | 'Approved' | 'Denied' | 'Expired' | 'Withdrawn' | 'Used' | 'Superseded' | 'Revoked';

/** A person or workload that asks or decides: its own key and the keys of the agents that act for it. */
export interface Party {
  readonly key: string;
  readonly actorKeys: readonly string[];
}

/** What counting needs of a request. Times are Unix ms. */
export interface CountedRequest {
  readonly uid: string;
  readonly digest: string;
  readonly scope: 'Statement' | 'Session' | 'Window';
  readonly requester: Party;
  readonly groups: readonly string[];
  readonly required: number;
  readonly createdAtMs: number;
  readonly decideByMs: number;
  /** Null for scope Statement. */
  readonly grantTtlMs: number | null;
}

/** One approver's create-only answer, in the order in which the store took them. `groups` are all groups of the approver at that time. */
export interface CountedDecision {
  readonly uid: string;
  readonly requestUid: string;
  readonly digest: string;
  readonly decision: 'Approve' | 'Deny' | 'Revoke';
  readonly by: Party;
  readonly groups: readonly string[];
  readonly decidedAtMs: number;
}

/** How a request was closed other than by decisions; the first one written stands. */
export interface RequestEnding {
  readonly kind: 'Used' | 'Withdrawn' | 'Superseded' | 'Expired';
  readonly atMs: number;
}

/** Why a stored decision does not count; PolicyMismatch, RequesterMismatch, UnmappedIdentity and BeforeIntegrity are found in a cluster only. */
export type IgnoredReason = 'UIDMismatch' | 'DigestMismatch' | 'PolicyMismatch' | 'RequesterMismatch' | 'SelfApproval' | 'NotInApproverGroup' | 'UnmappedIdentity' | 'BeforeIntegrity' | 'TooLate' | 'Duplicate' | 'AfterFinal';

/** What the decisions on one request come to at one moment. */
export interface RequestStatus {
  readonly phase: RequestPhase;
  /** Distinct people whose approval counts. */
  readonly approvals: number;
  readonly required: number;
  /** When the completing approval or the denial was made; null while open. */
  readonly decidedAtMs: number | null;
  /** When an approval stops to count; null unless approved. */
  readonly expiresAtMs: number | null;
  /** When this status changes by itself; null when it never does. */
  readonly nextDeadlineMs: number | null;
  /** Uids of the decisions that count. */
  readonly counted: readonly string[];
  readonly ignored: readonly { readonly uid: string; readonly reason: IgnoredReason }[];
}

/** An approved statement is released at once; one that is not was lost by its holder. */
export const unusedStatementTtlMs = 60_000;

/**
 * Counts the decisions on a request: the one rule that the gateway, the operator and the CLI share.
 * A decision counts when it names this request (uid and digest), was made in time by a member of an approving group who is neither the requester nor an agent of theirs.
 * One denial ends the request, also against approvals of the same instant; `required` distinct people approve it; a revocation by any eligible approver ends what was approved.
 */
export function accessRequestStatus(request: CountedRequest, decisions: readonly CountedDecision[], ending: RequestEnding | null, nowMs: number): RequestStatus {
  const ignored: { uid: string; reason: IgnoredReason }[] = [];
  const eligible: CountedDecision[] = [];
  for (const decision of decisions) {
    const reason = whyIgnored(request, decision, ending);
    if (reason === null) eligible.push(decision);
    else ignored.push({ uid: decision.uid, reason });
  }
  const tally = tallyVotes(request, eligible, ignored);
  const base = { approvals: tally.approvals, required: request.required, counted: tally.counted, ignored, decidedAtMs: tally.deniedAtMs ?? tally.approvedAtMs };

  const closed = (phase: RequestPhase): RequestStatus => ({ ...base, phase, expiresAtMs: null, nextDeadlineMs: null });
  if (tally.deniedAtMs !== null) return closed('Denied');
  if (ending !== null && ending.kind !== 'Used') return closed(ending.kind);
  if (ending !== null && request.scope === 'Statement') return closed('Used');
  if (tally.approvedAtMs === null) {
    if (nowMs >= request.decideByMs) return closed('Expired');
    return { ...base, phase: 'Pending', expiresAtMs: null, nextDeadlineMs: request.decideByMs };
  }
  if (tally.revoked) return closed('Revoked');
  const expiresAtMs = tally.approvedAtMs + (request.grantTtlMs ?? unusedStatementTtlMs);
  if (nowMs >= expiresAtMs) return closed('Expired');
  // A used Session or Window grant stays in force until it expires: `Used` marks that its session was opened.
  return { ...base, phase: ending === null ? 'Approved' : 'Used', expiresAtMs, nextDeadlineMs: expiresAtMs };
}

/** Whether a party shares a person or an agent with another: equal keys, or any agent in common. */
export function isSameParty(one: Party, other: Party): boolean {
  const keys = new Set([one.key, ...one.actorKeys]);
  return [other.key, ...other.actorKeys].some((key) => keys.has(key));
}

function whyIgnored(request: CountedRequest, decision: CountedDecision, ending: RequestEnding | null): IgnoredReason | null {
  if (decision.requestUid !== request.uid) return 'UIDMismatch';
  if (decision.digest !== request.digest) return 'DigestMismatch';
  if (isSameParty(request.requester, decision.by)) return 'SelfApproval';
  if (!decision.groups.some((group) => request.groups.includes(group))) return 'NotInApproverGroup';
  if (decision.decision !== 'Revoke' && decision.decidedAtMs >= request.decideByMs) return 'TooLate';
  if (ending !== null && ending.kind !== 'Used' && decision.decidedAtMs > ending.atMs) return 'AfterFinal';
  return null;
}

/** Within one instant: what a revocation ends came before it. */
const rank = { Approve: 0, Deny: 1, Revoke: 2 } as const;

interface Tally {
  readonly approvals: number;
  readonly approvedAtMs: number | null;
  readonly deniedAtMs: number | null;
  readonly revoked: boolean;
  readonly counted: readonly string[];
}

function tallyVotes(request: CountedRequest, eligible: readonly CountedDecision[], ignored: { uid: string; reason: IgnoredReason }[]): Tally {
  const approvers = new Set<string>();
  const counted: string[] = [];
  let approvedAtMs: number | null = null;
  let deniedAtMs: number | null = null;
  let revoked = false;
  for (const decision of [...eligible].sort((a, b) => a.decidedAtMs - b.decidedAtMs || rank[a.decision] - rank[b.decision])) {
    // Deny wins over approvals of the same instant: concurrent decisions have no order that an approver could see.
    const afterFinal = deniedAtMs !== null || revoked || (approvedAtMs !== null && decision.decision !== 'Revoke' && !(decision.decision === 'Deny' && decision.decidedAtMs <= approvedAtMs));
    if (afterFinal) {
      ignored.push({ uid: decision.uid, reason: 'AfterFinal' });
      continue;
    }
    if (decision.decision === 'Approve' && approvers.has(decision.by.key)) {
      ignored.push({ uid: decision.uid, reason: 'Duplicate' });
      continue;
    }
    if (decision.decision === 'Revoke' && approvedAtMs === null) {
      ignored.push({ uid: decision.uid, reason: 'TooLate' });
      continue;
    }
    counted.push(decision.uid);
    if (decision.decision === 'Deny') deniedAtMs = decision.decidedAtMs;
    if (decision.decision === 'Revoke') revoked = true;
    if (decision.decision !== 'Approve') continue;
    approvers.add(decision.by.key);
    if (approvers.size >= request.required) approvedAtMs = decision.decidedAtMs;
  }
  return { approvals: approvers.size, approvedAtMs: deniedAtMs === null ? approvedAtMs : null, deniedAtMs, revoked, counted };
}
