import type { ApprovalRecord } from '../../contract/audit.ts';
import { type Denial, deny } from '../core/errors.ts';
import type { Decision, SshTerms } from '../core/policy/decision.ts';
import type { ApprovedRule } from '../core/policy/review-command.ts';
import { waitForApproval } from '../core/session/approval-hold.ts';
import type { GateAsk, GateIo } from './command-gate.ts';
import type { SshContext } from './context.ts';
import { askParameters, shownPrograms } from './gate-facts.ts';
import { holdLines } from './words.ts';

/** A command that waits; `terms` are what it gets once everybody has said yes: they are shown and bound. */
export interface HeldCommand {
  readonly ask: GateAsk;
  readonly decision: Extract<Decision, { effect: 'RequireApproval' }>;
  readonly terms: SshTerms;
}

/** What the hold asks its gate. */
export interface HoldReview {
  /** The decision of now, with these rules approved. */
  readonly review: (approved: readonly ApprovedRule[]) =>
    | { readonly outcome: 'forward'; readonly decision: Decision; readonly terms: SshTerms }
    | { readonly outcome: 'hold'; readonly decision: HeldCommand['decision'] }
    | { readonly outcome: 'refuse'; readonly decision: Decision; readonly denial: Denial };
  /** Rejects when the record cannot be written. */
  readonly recordHeld: (request: string, decision: Decision) => Promise<void>;
}

/** How a hold ended. */
export type HeldOutcome =
  | { readonly outcome: 'approved'; readonly decision: Decision; readonly terms: SshTerms; readonly approvals: readonly ApprovalRecord[]; readonly request: string }
  | { readonly outcome: 'refused'; readonly decision: Decision; readonly denial: Denial; readonly request: string | null };

/** Requests of others that a command shares before it is refused: each time somebody else was first. */
const maxShared = 4;

/**
 * Holds a command, unsent, until it is decided; the user is told at once and every 30 s. Every approval rule that matches must be satisfied, the strictest first (ADR 0011).
 *
 * Approved means: judged anew after each answer, each approval used once, and the terms are still those that the approvers saw; the caller records the intent next.
 */
export async function holdCommand(context: SshContext, asked: HeldCommand, io: GateIo, gate: HoldReview): Promise<HeldOutcome> {
  const approved: ApprovedRule[] = [];
  const approvals: ApprovalRecord[] = [];
  let held = asked;
  let lost = 0;
  for (;;) {
    const refused = (denial: Denial, request: string | null): HeldOutcome => ({ outcome: 'refused', decision: held.decision, denial, request });
    const outcome = await askOnce(context, held, io, gate);
    if (outcome.outcome === 'denied') {
      if (outcome.askAnew === true && ++lost < maxShared) continue;
      return refused(outcome.denial, outcome.request);
    }
    const { request } = outcome;
    let { permitVersion } = context.session;
    let again = gate.review([...approved, held.decision.by]);
    if (again.outcome === 'refuse') return refused(again.denial, request);
    // Before the approval is used up: it is void for a command that nobody would run.
    if (held.terms.stdin === 'Closed' && io.hasInput()) return refused(deny('STDIN_NOT_APPROVED'), request);
    if (!(await outcome.use())) {
      if (outcome.usedElsewhere() && ++lost < maxShared) continue;
      return refused(deny('APPROVAL_WITHDRAWN', { detail: `request ${request} was used before` }), request);
    }
    approved.push(held.decision.by);
    approvals.push(...outcome.approvals);
    // Writing the use takes time: what came into force meanwhile is asked too.
    while (permitVersion !== context.session.permitVersion && context.session.ended === null) {
      ({ permitVersion } = context.session);
      again = gate.review(approved);
    }
    if (context.session.ended !== null) return refused(context.session.ended.denial, request);
    // Ctrl-C between the approval and here: the user does not want it any more.
    if (io.cancelled.aborted) return refused(reasonOf(io.cancelled), request);
    if (again.outcome === 'refuse') return refused(again.denial, request);
    if (again.outcome === 'hold') {
      held = { ...held, decision: again.decision };
      continue;
    }
    if (JSON.stringify(again.terms) !== JSON.stringify(asked.terms)) return refused(deny('APPROVAL_SUPERSEDED', { message: 'how the command may run changed while it waited' }), request);
    return { outcome: 'approved', decision: again.decision, terms: again.terms, approvals, request };
  }
}

async function askOnce(context: SshContext, held: HeldCommand, io: GateIo, gate: HoldReview): ReturnType<typeof waitForApproval> {
  const { session } = context;
  const { ask, decision, terms } = held;
  const parameters = askParameters(context, ask, terms);
  const outcome = await waitForApproval(
    {
      sessionId: session.id, identity: session.identity, target: session.permit.target.name, namespace: session.permit.namespace, database: session.permit.database,
      by: decision.by, approval: decision.approval, digestKey: context.digestKey,
      statement: {
        view: { text: context.redact(ask.text), parameters: parameters.shown, kind: ask.kind, objects: shownPrograms(context, ask.items), searchPath: '', inTransaction: false },
        exact: { text: Buffer.from(ask.text), parameters: parameters.exact.map((parameter) => ({ type: 0, format: 0, value: Buffer.from(parameter) })) },
      },
    },
    {
      approver: context.approver, announce: (notice) => io.tell(holdLines(notice, context.clock.now())), cancelled: AbortSignal.any([context.ended, io.cancelled]),
      onPending: (pending) => gate.recordHeld(pending.name, decision),
    },
  );
  // A grant covers what comes next, too.
  if (outcome.outcome === 'approved' && outcome.grant) session.forgetDecisions();
  return outcome;
}

function reasonOf(cancelled: AbortSignal): Denial {
  const { reason } = cancelled as { readonly reason: unknown };
  return typeof reason === 'object' && reason !== null && 'code' in reason && 'hint' in reason ? (reason as Denial) : deny('HOLD_CANCELLED');
}
