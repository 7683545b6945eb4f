import type { ApprovalRecord } from '../../../contract/audit.ts';
import { type Denial, deny } from '../../core/errors.ts';
import type { Decision } from '../../core/policy/decision.ts';
import type { PendingApproval } from '../../core/ports.ts';
import { type HoldNotice, ruleDetail, waitForApproval } from '../../core/session/approval-hold.ts';
import type { StatementFacts } from '../../core/sql/statement-facts.ts';
import type { BoundParameter } from '../wire/bind.ts';
import { encodeNotice } from '../wire/error-response.ts';
import type { RelayContext } from './context.ts';
import { attemptOf, type Origin } from './intents.ts';
import { judge } from './judge.ts';

export type HeldOutcome =
  | { readonly outcome: 'approved'; readonly approvals: readonly ApprovalRecord[]; readonly decision: Decision }
  | { readonly outcome: 'refused'; readonly denial: Denial };

/** The statement that waits: its facts, where it came from, and the exact bytes that the approval binds. */
export interface HeldStatement {
  readonly facts: StatementFacts;
  readonly origin: Origin;
  readonly decision: Extract<Decision, { effect: 'RequireApproval' }>;
  readonly exactText: Uint8Array;
  readonly exactParameters: readonly (BoundParameter & { readonly type: number })[];
  /** What the approver sees: the whole query when it has several statements. */
  readonly shownText: string;
  readonly inTransaction: boolean;
}

/**
 * Holds a statement, unforwarded, until it is decided; the client is told at once and every 30 s.
 *
 * Approved means: the policy of now still asks for this approval (or allows), the decision was used once, and the caller records the intent next.
 */
export async function holdStatement(context: RelayContext, held: HeldStatement): Promise<HeldOutcome> {
  const cancel = new AbortController();
  context.held = { cancel: (denial) => cancel.abort(denial) };
  if (context.ended) cancel.abort(context.ended.denial);
  try {
    const { session } = context;
    const outcome = await waitForApproval(
      {
        sessionId: session.id, identity: session.identity, target: session.permit.target.name, namespace: session.permit.namespace, database: session.permit.database,
        by: held.decision.by, approval: held.decision.approval, digestKey: context.digestKey,
        statement: {
          view: {
            text: held.shownText, parameters: held.origin.parameters.map((parameter) => parameter.value ?? parameter.hmac ?? 'NULL'), kind: held.facts.kind, objects: held.facts.objects,
            searchPath: context.inspector.searchPathText(), inTransaction: held.inTransaction,
          },
          exact: { text: held.exactText, parameters: held.exactParameters },
        },
      },
      { approver: context.approver, announce: (notice) => announce(context, notice), cancelled: cancel.signal, onPending: (pending) => recordHeld(context, held, pending) },
    );
    if (outcome.outcome === 'denied') {
      await recordEnded(context, held, outcome.denial, outcome.request);
      return { outcome: 'refused', denial: outcome.denial };
    }
    if (outcome.grant?.scope === 'Session') session.ownGrants.push(outcome.grant);
    if (outcome.grant) session.forgetDecisions();
    return await useApproval(context, held, outcome);
  } finally {
    context.held = null;
  }
}

/** The policy may have changed while the statement waited: it is decided again, and a single-use approval is used before anything is forwarded. */
async function useApproval(context: RelayContext, held: HeldStatement, approved: { readonly request: string; readonly approvals: readonly ApprovalRecord[]; readonly use: () => Promise<boolean> }): Promise<HeldOutcome> {
  const again = judge(context, held.facts);
  if (again.outcome === 'refuse') return refused(context, held, again.denial, approved.request);
  if (again.outcome === 'hold' && !sameRule(again.decision, held.decision)) return refused(context, held, deny('APPROVAL_SUPERSEDED', { detail: ruleDetail(again.decision.by) }), approved.request);
  if (!(await approved.use())) return refused(context, held, deny('APPROVAL_WITHDRAWN', { detail: `request ${approved.request} was used before` }), approved.request);
  return { outcome: 'approved', approvals: approved.approvals, decision: again.decision };
}

async function refused(context: RelayContext, held: HeldStatement, denial: Denial, request: string): Promise<HeldOutcome> {
  await recordEnded(context, held, denial, request);
  return { outcome: 'refused', denial };
}

function sameRule(one: HeldStatement['decision'], other: HeldStatement['decision']): boolean {
  return one.by.policyUid === other.by.policyUid && one.by.policyGeneration === other.by.policyGeneration && one.by.rule === other.by.rule;
}

function recordHeld(context: RelayContext, held: HeldStatement, pending: PendingApproval): Promise<void> {
  return context.recorder.recordAttempt(attemptOf(context, 'statement.held', held.facts, held.origin, { decision: held.decision, denial: null, request: pending.name }));
}

async function recordEnded(context: RelayContext, held: HeldStatement, denial: Denial, request: string | null): Promise<void> {
  const cancelled = denial.code === 'HOLD_CANCELLED' || denial.code === 'CONNECTION_LOST';
  context.totals.denied++;
  await context.recorder.recordAttempt(attemptOf(context, cancelled ? 'statement.cancelled' : 'statement.denied', held.facts, held.origin, { decision: held.decision, denial, request }));
}

const noticeCodes = { held: 'SP001', waiting: 'SP002', released: 'SP003' } as const;

function announce(context: RelayContext, notice: HoldNotice): void {
  context.toClient.add(encodeNotice({ severity: 'NOTICE', sqlstate: noticeCodes[notice.kind], ...holdWords(notice) }));
  context.flushToClient();
}

/** How a hold is worded for the client, at login and in a session. */
export function holdWords(notice: HoldNotice): { readonly message: string; readonly detail: string; readonly hint: string | null } {
  const groups = notice.groups.length === 1 ? `group ${notice.groups[0]}` : `one of the groups ${notice.groups.join(', ')}`;
  const detail = `${ruleDetail(notice.by)}; to be decided by ${new Date(notice.decideByMs).toISOString()}${notice.locksKept ? '; locks of your transaction are kept' : ''}`;
  switch (notice.kind) {
    case 'held':
      return { message: `statement held: waiting for approval by ${groups} (${notice.request})`, detail, hint: `an approver can run: ${notice.howToDecide}` };
    case 'waiting':
      return { message: `still waiting for approval by ${groups} (${notice.request})`, detail, hint: `an approver can run: ${notice.howToDecide}` };
    case 'released':
      return { message: `approved (${notice.request})`, detail: ruleDetail(notice.by), hint: null };
    default:
      return notice.kind satisfies never;
  }
}
