import { boundDigest, type ExactStatement, statementHmac } from '../../../contract/approval-digest.ts';
import type { ApprovalRecord } from '../../../contract/audit.ts';
import { printableText } from '../../../contract/printable-text.ts';
import type { Approval } from '../../../contract/proxy-config.ts';
import { type Denial, deny } from '../errors.ts';
import { type Identity, subjectKey } from '../identity/identity.ts';
import type { DecidedBy, Grant } from '../policy/decision.ts';
import type { ApprovalAsk, ApprovalOutcome, Approver, PendingApproval } from '../ports.ts';

/** What waits: the statement as the approver sees it, and its exact bytes for the keyed digest. */
export interface HeldFor {
  readonly sessionId: string;
  readonly identity: Identity;
  readonly target: string;
  readonly namespace: string;
  readonly database: string;
  readonly by: DecidedBy;
  readonly approval: Approval;
  /** Null when the session itself waits. `view` is redacted. */
  readonly statement: { readonly view: NonNullable<ApprovalAsk['statement']>; readonly exact: ExactStatement } | null;
  readonly digestKey: Uint8Array;
}

/** What the user is told while a command waits. */
export interface HoldNotice {
  /** `held` once, `waiting` every 30 s, `released` when it goes on. */
  readonly kind: 'held' | 'waiting' | 'released';
  readonly request: string;
  readonly groups: readonly string[];
  /** How many people must say yes. */
  readonly required: number;
  readonly by: DecidedBy;
  readonly decideByMs: number;
  /** The command an approver types. */
  readonly howToDecide: string;
  readonly locksKept: boolean;
}

/** What a hold needs from its session. */
export interface HoldDeps {
  readonly approver: Approver;
  readonly announce: (notice: HoldNotice) => void;
  /** Aborted when the client cancels, goes away, or the session ends; the reason is a Denial. */
  readonly cancelled: AbortSignal;
  /** Called once the request exists, before the wait. */
  readonly onPending?: (pending: PendingApproval) => Promise<void>;
  readonly repeatMs?: number;
}

/** How a hold ended. */
export type HoldOutcome =
  | { readonly outcome: 'approved'; readonly request: string; readonly approvals: readonly ApprovalRecord[]; readonly grant: Grant | null; readonly use: () => Promise<boolean>; /** After `use` said no: another session was first, and asking anew makes a new request. */ readonly usedElsewhere: () => boolean }
  | { readonly outcome: 'denied'; readonly request: string | null; readonly denial: Denial; /** Another session that shared the request used it or took it back. */ readonly askAnew?: boolean };

/** Text and parameters as shown may not be longer: nobody could have seen it all (D5). */
export const maxShownBytes: number = 32 * 1024;

/**
 * Asks for an approval and waits for its end: approved, denied, expired, cancelled or withdrawn.
 *
 * The wait is bounded by the approval's own `decideWithinSeconds`. A statement's request is withdrawn when the wait is cancelled;
 * a request to open a session outlives the connection, so that the user can come back after the approval.
 */
export async function waitForApproval(held: HeldFor, deps: HoldDeps): Promise<HoldOutcome> {
  if (held.statement && shownBytes(held.statement.view) > maxShownBytes) return { outcome: 'denied', request: null, denial: deny('APPROVAL_TOO_LARGE') };
  const ask = toAsk(held);
  const asked = await deps.approver.ask(ask);
  if (asked.outcome === 'refused') return { outcome: 'denied', request: null, denial: deny(asked.code, { detail: ruleDetail(held.by) }) };
  const { pending } = asked;
  await announcePending(pending, deps);
  const notice = (kind: HoldNotice['kind']): void => deps.announce({
    kind, request: pending.name, groups: held.approval.groups, required: held.approval.required, by: held.by, decideByMs: pending.decideByMs, howToDecide: deps.approver.howToDecide(pending.name), locksKept: held.statement?.view.inTransaction ?? false,
  });
  notice('held');
  const repeat = setInterval(() => notice('waiting'), deps.repeatMs ?? 30_000);
  try {
    const outcome = await settledOrCancelled(pending, deps.cancelled);
    if (outcome === 'cancelled') return await cancelHold(pending, deps.cancelled);
    if (outcome.outcome === 'approved') notice('released');
    return toHoldOutcome(outcome, ask.digest, pending, held);
  } finally {
    clearInterval(repeat);
  }
}

/** What cannot be recorded must not wait: nobody should approve what will never run. */
async function announcePending(pending: PendingApproval, deps: HoldDeps): Promise<void> {
  try {
    await deps.onPending?.(pending);
  } catch (error) {
    await pending.withdraw('RECORDER_FAILED');
    throw error;
  }
}

async function settledOrCancelled(pending: PendingApproval, cancelled: AbortSignal): Promise<ApprovalOutcome | 'cancelled'> {
  if (cancelled.aborted) return 'cancelled';
  const { promise, resolve } = Promise.withResolvers<'cancelled'>();
  const onAbort = (): void => resolve('cancelled');
  cancelled.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([pending.outcome, promise]);
  } finally {
    cancelled.removeEventListener('abort', onAbort);
  }
}

async function cancelHold(pending: PendingApproval, cancelled: AbortSignal): Promise<HoldOutcome> {
  const denial = isDenial(cancelled.reason) ? cancelled.reason : deny('HOLD_CANCELLED');
  // Of a request to open a session this detaches only the waiting client: the request itself stays, so that the user can come back.
  await pending.withdraw(denial.code);
  return { outcome: 'denied', request: pending.name, denial };
}

function toHoldOutcome(outcome: ApprovalOutcome, digest: string, pending: PendingApproval, held: HeldFor): HoldOutcome {
  const { name: request } = pending;
  switch (outcome.outcome) {
    case 'approved':
      return { outcome: 'approved', request, grant: outcome.grant, use: () => pending.use(), usedElsewhere: () => pending.usedElsewhere?.() ?? false, approvals: approvalRecords(outcome, digest, pending, held) };
    case 'denied':
      return { outcome: 'denied', request, denial: deny('APPROVAL_DENIED', { detail: `request ${request} was denied by ${shown(outcome.approver)}: ${shown(outcome.reason)}` }) };
    case 'expired':
      return { outcome: 'denied', request, denial: deny('APPROVAL_EXPIRED', { detail: `request ${request} had to be decided within ${held.approval.decideWithinSeconds} s` }) };
    case 'withdrawn':
      return { outcome: 'denied', request, denial: deny(outcome.code ?? 'APPROVAL_WITHDRAWN', { detail: `request ${request} was withdrawn` }), askAnew: outcome.askAnew === true };
    default:
      return outcome satisfies never;
  }
}

/** What people wrote reaches the terminal of somebody else. */
function shown(text: string): string {
  return printableText(text, { oneLine: true });
}

function approvalRecords(outcome: Extract<ApprovalOutcome, { outcome: 'approved' }>, digest: string, pending: PendingApproval, held: HeldFor): readonly ApprovalRecord[] {
  return outcome.approvers.map((approver) => ({
    request: pending.name, requestUid: pending.uid, scope: held.approval.scope, approver: { key: approver.key, username: approver.username },
    decisionUid: approver.decisionUid, timeMs: approver.decidedAtMs, method: approver.method, boundDigest: digest,
  }));
}

function toAsk(held: HeldFor): ApprovalAsk {
  const view = {
    scope: held.approval.scope, namespace: held.namespace, target: held.target, database: held.database, sessionId: held.sessionId, by: held.by,
    requester: { key: subjectKey(held.identity), username: held.identity.username, actorKeys: held.identity.actors.map(subjectKey) },
    approval: { groups: held.approval.groups, required: held.approval.required, decideWithinSeconds: held.approval.decideWithinSeconds, grantTtlSeconds: held.approval.grantTtlSeconds },
    statement: held.statement?.view ?? null,
  };
  const hmac = held.statement ? statementHmac(held.digestKey, held.statement.exact) : null;
  return { ...view, statementHmac: hmac, digest: boundDigest(view, hmac) };
}

function shownBytes(view: NonNullable<ApprovalAsk['statement']>): number {
  return Buffer.byteLength(view.text) + view.parameters.reduce((sum, parameter) => sum + Buffer.byteLength(parameter), 0);
}

/** Names policy and rule for the user. */
export function ruleDetail(by: DecidedBy): string {
  return by.rule === null ? `policy "${by.policy}"` : `policy "${by.policy}", rule "${by.rule}"`;
}

function isDenial(reason: unknown): reason is Denial {
  return typeof reason === 'object' && reason !== null && 'code' in reason && 'hint' in reason;
}
