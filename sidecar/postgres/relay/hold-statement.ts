import type { ApprovalRecord, ParameterRecord } from '../../../contract/audit.ts';
import { type Denial, deny } from '../../core/errors.ts';
import type { Decision } from '../../core/policy/decision.ts';
import type { ApprovedRule } from '../../core/policy/review-command.ts';
import type { PendingApproval } from '../../core/ports.ts';
import { type HoldNotice, ruleDetail, waitForApproval } from '../../core/session/approval-hold.ts';
import type { StatementFacts } from '../../core/sql/statement-facts.ts';
import type { BoundParameter } from '../wire/bind.ts';
import { encodeNotice } from '../wire/error-response.ts';
import type { RelayContext } from './context.ts';
import { type Origin, recordAttempt } from './intents.ts';

export type HeldOutcome<T> =
  | { readonly outcome: 'approved'; readonly approvals: readonly ApprovalRecord[]; readonly result: T }
  | { readonly outcome: 'refused'; readonly denial: Denial };

/** Requests of others that a statement shares before it is refused: each time somebody else was first. */
const maxShared = 4;

/** The answer of a review after each approval: it may go on with `result`, waits for one more approval, or is refused. */
export type Reviewed<T> =
  | { readonly outcome: 'forward'; readonly result: T }
  | { readonly outcome: 'hold'; readonly facts: StatementFacts; readonly decision: HeldStatement['decision'] }
  | { readonly outcome: 'refuse'; readonly denial: Denial };

/** An approval covers what was shown, nothing that the same text has come to mean since (D5). */
export function changedMeanwhile(): Denial {
  return deny('APPROVAL_SUPERSEDED', { message: 'what the statement touches changed while it waited' });
}

/** The statement that waits: its facts, where it came from, and the exact bytes that the approval binds. */
export interface HeldStatement {
  readonly facts: StatementFacts;
  readonly origin: Origin;
  readonly decision: Extract<Decision, { effect: 'RequireApproval' }>;
  readonly exactText: Uint8Array;
  readonly exactParameters: readonly (BoundParameter & { readonly type: number })[];
  /** What the approver sees: the whole query when it has several statements. */
  readonly shownText: string;
  /** Whole, unlike in records: what is too long to be shown is refused, not cut. */
  readonly shownParameters: readonly ParameterRecord[];
  readonly inTransaction: boolean;
}

/**
 * Holds a statement, unforwarded, until it is decided; the client is told at once and every 30 s.
 *
 * Every approval rule that matches must be satisfied, the strictest first (ADR 0011). Approved means: `review` read and judged the statement anew after each
 * answer, each approval was used once, and the caller records the intent next.
 */
export async function holdStatement<T>(context: RelayContext, asked: HeldStatement, review: (approved: readonly ApprovedRule[]) => Promise<Reviewed<T>>): Promise<HeldOutcome<T>> {
  const cancel = new AbortController();
  context.held = { cancel: (denial) => cancel.abort(denial) };
  if (context.ended) cancel.abort(context.ended.denial);
  if (context.cancelAsked) cancel.abort(deny('HOLD_CANCELLED'));
  context.cancelAsked = false;
  try {
    const approved: ApprovedRule[] = [];
    const approvals: ApprovalRecord[] = [];
    let held = asked;
    let lost = 0;
    for (;;) {
      const outcome = await askOnce(context, held, cancel.signal);
      if (outcome.outcome === 'denied') {
        if (outcome.askAnew === true && ++lost < maxShared) continue;
        return await refused(context, held, outcome.denial, outcome.request);
      }
      let { permitVersion } = context.session;
      let again = await review([...approved, held.decision.by]);
      if (again.outcome === 'refuse') return await refused(context, held, again.denial, outcome.request);
      if (!(await outcome.use())) {
        if (outcome.usedElsewhere() && ++lost < maxShared) continue;
        return await refused(context, held, deny('APPROVAL_WITHDRAWN', { detail: `request ${outcome.request} was used before` }), outcome.request);
      }
      approved.push(held.decision.by);
      approvals.push(...outcome.approvals);
      // Writing the use takes time: what came into force meanwhile is asked too.
      while (permitVersion !== context.session.permitVersion && !context.ended) {
        ({ permitVersion } = context.session);
        again = await review(approved);
      }
      if (context.ended) return await refused(context, held, context.ended.denial, outcome.request);
      // Ctrl-C between the approval and here: the user does not want it any more.
      if (cancel.signal.aborted) return await refused(context, held, deny('HOLD_CANCELLED'), outcome.request);
      if (again.outcome === 'refuse') return await refused(context, held, again.denial, outcome.request);
      if (again.outcome === 'forward') return { outcome: 'approved', approvals, result: again.result };
      held = { ...held, facts: again.facts, decision: again.decision };
    }
  } finally {
    context.held = null;
    // The idle time begins anew: it stood still while the statement waited.
    context.session.lastActivityMs = context.clock.monotonicMs();
  }
}

async function askOnce(context: RelayContext, held: HeldStatement, cancelled: AbortSignal): Promise<Awaited<ReturnType<typeof waitForApproval>>> {
  const { session } = context;
  const outcome = await waitForApproval(
    {
      sessionId: session.id, identity: session.identity, target: session.permit.target.name, namespace: session.permit.namespace, database: session.permit.database,
      by: held.decision.by, approval: held.decision.approval, digestKey: context.digestKey,
      statement: {
        view: {
          text: held.shownText, parameters: held.shownParameters.map((parameter) => parameter.value ?? parameter.hmac ?? 'NULL'), kind: held.facts.kind, objects: held.facts.objects,
          searchPath: context.inspector.searchPathText(), inTransaction: held.inTransaction,
        },
        exact: { text: held.exactText, parameters: held.exactParameters },
      },
    },
    { approver: context.approver, announce: (notice) => announce(context, notice), cancelled, onPending: (pending) => recordHeld(context, held, pending) },
  );
  // A grant covers what comes next, too.
  if (outcome.outcome === 'approved' && outcome.grant) session.forgetDecisions();
  return outcome;
}

async function refused(context: RelayContext, held: HeldStatement, denial: Denial, request: string | null): Promise<HeldOutcome<never>> {
  await recordEnded(context, held, denial, request);
  return { outcome: 'refused', denial };
}

function recordHeld(context: RelayContext, held: HeldStatement, pending: PendingApproval): Promise<void> {
  return recordAttempt(context, 'statement.held', held.facts, held.origin, { decision: held.decision, denial: null, request: pending.name });
}

async function recordEnded(context: RelayContext, held: HeldStatement, denial: Denial, request: string | null): Promise<void> {
  const cancelled = denial.code === 'HOLD_CANCELLED' || denial.code === 'CONNECTION_LOST';
  context.totals.denied++;
  await recordAttempt(context, cancelled ? 'statement.cancelled' : 'statement.denied', held.facts, held.origin, { decision: held.decision, denial, request });
}

const noticeCodes = { held: 'SP001', waiting: 'SP002', released: 'SP003' } as const;

function announce(context: RelayContext, notice: HoldNotice): void {
  context.tell(encodeNotice({ severity: 'NOTICE', sqlstate: noticeCodes[notice.kind], ...holdWords(notice) }));
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
