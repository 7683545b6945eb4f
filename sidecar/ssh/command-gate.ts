import type { ApprovalRecord, SshEventCode } from '../../contract/audit.ts';
import { type Denial, deny } from '../core/errors.ts';
import type { Decision, SshCommand, SshItem, SshTerms } from '../core/policy/decision.ts';
import type { ApprovedRule } from '../core/policy/review-command.ts';
import { ruleDetail } from '../core/session/approval-hold.ts';
import { countDenial } from '../core/session/tally.ts';
import type { GateOutcome, SshContext } from './context.ts';
import { decisionRecord } from './decision-record.ts';
import { askFacts } from './gate-facts.ts';
import { type HeldCommand, holdCommand } from './hold-command.ts';
import { masksText } from './masks-text.ts';

/** What is asked for. All of it is shown to an approver, and bound exactly. */
export interface GateAsk {
  readonly kind: SshCommand['kind'];
  /** 0 where the request belongs to no channel. */
  readonly channel: number;
  /** The command text, or a sentence that names the operation. Exactly this string is inspected, digested, shown (redacted), recorded (redacted) and sent. */
  readonly text: string;
  readonly items: readonly SshItem[];
  /** Null: the account's home. */
  readonly cwd: string | null;
  /** A terminal is asked for; whether the command gets it is in the terms. */
  readonly pty: boolean;
  readonly environment: readonly (readonly [name: string, value: string])[];
  /** Whether the client can send input at all. */
  readonly stdin: boolean;
  /** What is sent is `wrapForBash(text)`. */
  readonly wrap: boolean;
  /** Nothing of it is masked: refused with MASKING_CONFLICT where the policies mask, unless the terms say `unmasked`. */
  readonly byteExact: boolean;
  /** More for the record, snake_case. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** The client's side of a gate. */
export interface GateIo {
  /** Shows lines to the user, each without its line end. */
  readonly tell: (lines: readonly string[]) => void;
  /** Aborted when the client cancels or goes away; the reason is a Denial, `HOLD_CANCELLED` if it is none. */
  readonly cancelled: AbortSignal;
  /** Whether input came so far: refused with STDIN_NOT_APPROVED after a hold, unless the terms attach it. */
  readonly hasInput: () => boolean;
}

/**
 * Decides on one command, shell, file operation or forward; holds it where a rule asks for approval; records the intent. The only way to the target.
 *
 * `permitted` means that the intent is on record as durably as the policy asks: what was asked may be sent now, once. Refusals are recorded and counted here; the caller tells the user (`words.ts`).
 *
 * @throws SallyportError when the record cannot be written: then the session ends.
 */
export async function gateCommand(context: SshContext, ask: GateAsk, io: GateIo): Promise<GateOutcome> {
  const gate = new Gate(context, ask, io);
  const verdict = gate.judge([]);
  switch (verdict.outcome) {
    case 'forward': return gate.permit(verdict, [], false);
    case 'hold': return gate.hold(verdict.decision);
    case 'refuse': return gate.refuse(verdict.decision, verdict.denial, null);
    default: return verdict satisfies never;
  }
}

/** Refuses what no policy was asked about (a text that is none, a limit): recorded and counted like a denial. */
export async function refuseCommand(context: SshContext, ask: GateAsk, denial: Denial): Promise<GateOutcome> {
  return new Gate(context, ask, { tell: () => undefined, cancelled: context.ended, hasInput: () => false }).refuse(null, denial, null);
}

type Verdict =
  | { readonly outcome: 'forward'; readonly decision: Decision; readonly terms: SshTerms }
  | { readonly outcome: 'hold'; readonly decision: Extract<Decision, { effect: 'RequireApproval' }> }
  | { readonly outcome: 'refuse'; readonly decision: Decision; readonly denial: Denial };

const noTerms: SshTerms = { pty: false, stdin: 'Closed', output: 'Text', unmasked: false, maxBytes: null };

/** One request on its way through the gate. State, because its decision is made anew while it waits. */
class Gate {
  readonly #context: SshContext;
  readonly #ask: GateAsk;
  readonly #io: GateIo;
  /** One object, so that its decision is found again. */
  readonly #command: SshCommand;

  constructor(context: SshContext, ask: GateAsk, io: GateIo) {
    this.#context = context;
    this.#ask = ask;
    this.#io = io;
    this.#command = { kind: ask.kind, account: context.account, items: ask.items };
  }

  /** The decision of now, with what no rule can give: bytes that cannot be masked under policies that mask. */
  judge(approved: readonly ApprovedRule[]): Verdict {
    const { session, clock, approver } = this.#context;
    const grants = approver.grants(session.subject, session.permit.target.name, session.identity);
    const decision = approved.length === 0 ? session.decide(this.#command, clock.now(), grants) : session.decideApproved(this.#command, clock.now(), grants, approved);
    switch (decision.effect) {
      case 'Allow': {
        const terms = decision.terms ?? noTerms;
        if (this.#conflicts(terms)) return { outcome: 'refuse', decision, denial: deny('MASKING_CONFLICT') };
        return { outcome: 'forward', decision, terms };
      }
      case 'RequireApproval': return { outcome: 'hold', decision };
      case 'Deny': return { outcome: 'refuse', decision, denial: decision.by ? { ...decision.denial, detail: decision.denial.detail ?? ruleDetail(decision.by) } : decision.denial };
      default: return decision satisfies never;
    }
  }

  async hold(decision: HeldCommand['decision']): Promise<GateOutcome> {
    const { context, ask, io } = { context: this.#context, ask: this.#ask, io: this.#io };
    // Nobody is asked about what would be refused once it is approved.
    const expected = this.#ifApproved(decision);
    if (expected.outcome === 'refuse') return this.refuse(expected.decision, expected.denial, null);
    context.activity.held += 1;
    try {
      const held = await holdCommand(context, { ask, decision, terms: expected.terms }, io, {
        review: (approved) => this.judge(approved),
        recordHeld: (request, by) => this.#attempt('held', by, null, request).then(() => undefined),
      });
      if (held.outcome === 'refused') return await this.refuse(held.decision, held.denial, held.request);
      if (expected.terms.stdin === 'Closed' && io.hasInput()) return await this.refuse(held.decision, deny('STDIN_NOT_APPROVED'), held.request);
      return await this.permit(held, held.approvals, true);
    } finally {
      context.activity.held -= 1;
      // The idle time begins anew: it stood still while the command waited.
      context.session.lastActivityMs = context.clock.monotonicMs();
    }
  }

  /** Records the intent; what came into force while that was written is asked too. */
  async permit(verdict: { readonly decision: Decision; readonly terms: SshTerms }, approvals: readonly ApprovalRecord[], wasHeld: boolean): Promise<GateOutcome> {
    const { session, recorder, tally, clock, ended } = this.#context;
    if (session.ended !== null || ended.aborted) return this.refuse(verdict.decision, this.#endDenial(), null);
    const { permitVersion } = session;
    const operation = await recorder.record({
      code: codes[this.#ask.kind].intent, channel: this.#ask.channel, operation: null, decision: decisionRecord(verdict.decision, null, clock.now()), approvals, request: approvals[0]?.request ?? null, reason: null,
      facts: askFacts(this.#context, this.#ask, verdict.terms),
    });
    const late = this.#whyNotNow(permitVersion, verdict.terms, wasHeld);
    if (late !== null) {
      recorder.note({ code: codes[this.#ask.kind].result, channel: this.#ask.channel, operation, decision: null, approvals: [], request: null, reason: late.code, facts: { outcome: 'NotForwarded' } });
      return this.refuse(verdict.decision, late, null);
    }
    tally.statements[wasHeld ? 'approved' : 'allowed']++;
    return { outcome: 'permitted', operation, terms: verdict.terms, wasHeld };
  }

  async refuse(decision: Decision | null, denial: Denial, request: string | null): Promise<GateOutcome> {
    const cancelled = denial.code === 'HOLD_CANCELLED' || denial.code === 'CONNECTION_LOST';
    const isOver = this.#context.session.ended !== null || denial.code === 'CONNECTION_LOST';
    this.#context.totals.denied += 1;
    countDenial(this.#context.tally, denial.code);
    // After the end of the session its record may be closed; what the user sees does not wait for it.
    await this.#attempt(cancelled ? 'cancelled' : 'denied', decision, denial, request);
    return { outcome: 'refused', denial, exitStatus: isOver ? 255 : cancelled ? 130 : 126 };
  }

  async #attempt(event: 'denied' | 'held' | 'cancelled', decision: Decision | null, denial: Denial | null, request: string | null): Promise<number> {
    const { recorder, tally, clock } = this.#context;
    tally.statements[event]++;
    return recorder.record({
      code: codes[this.#ask.kind][event], channel: this.#ask.channel, operation: null, decision: decisionRecord(decision, denial, clock.now()), approvals: [], request, reason: denial?.code ?? null,
      facts: askFacts(this.#context, this.#ask, null),
    });
  }

  /** The decision if everybody who is asked says yes. */
  #ifApproved(first: HeldCommand['decision']): Exclude<Verdict, { outcome: 'hold' }> {
    const approved: ApprovedRule[] = [];
    let verdict: Verdict = { outcome: 'hold', decision: first };
    // Each answer satisfies one more rule; more rules than this are in no config.
    for (let count = 0; verdict.outcome === 'hold' && count < 1_000; count += 1) {
      approved.push(verdict.decision.by);
      verdict = this.judge(approved);
    }
    return verdict.outcome === 'hold' ? { outcome: 'refuse', decision: first, denial: deny('INTERNAL') } : verdict;
  }

  #conflicts(terms: SshTerms): boolean {
    return (this.#ask.byteExact || terms.output === 'Binary') && !terms.unmasked && masksText(this.#context.session.permit);
  }

  #whyNotNow(permitVersion: number, terms: SshTerms, wasHeld: boolean): Denial | null {
    const { session, ended } = this.#context;
    if (session.ended !== null || ended.aborted) return this.#endDenial();
    if (session.permitVersion === permitVersion) return null;
    // An approval was used for the decision of before: it is not asked for twice, so a change in this moment needs a new one.
    if (wasHeld) return deny('APPROVAL_SUPERSEDED');
    const again = this.judge([]);
    if (again.outcome === 'refuse') return again.denial;
    return again.outcome === 'forward' && JSON.stringify(again.terms) === JSON.stringify(terms) ? null : deny('APPROVAL_SUPERSEDED');
  }

  #endDenial(): Denial {
    return this.#context.session.ended?.denial ?? deny('CONNECTION_LOST');
  }
}

interface Codes {
  readonly intent: SshEventCode;
  readonly result: SshEventCode;
  readonly denied: SshEventCode;
  readonly held: SshEventCode;
  readonly cancelled: SshEventCode;
}

const waits = { held: 'exec.held', cancelled: 'exec.cancelled' } as const;
const forward: Codes = { intent: 'forward.open', result: 'forward.closed', denied: 'forward.refused', ...waits };

/** The events of each kind. */
const codes: Readonly<Record<SshCommand['kind'], Codes>> = {
  Exec: { intent: 'exec.intent', result: 'exec.result', denied: 'exec.denied', ...waits },
  Shell: { intent: 'shell.start', result: 'shell.end', denied: 'exec.denied', ...waits },
  File: { intent: 'file.intent', result: 'file.result', denied: 'file.denied', ...waits },
  Forward: forward, Agent: forward, X11: forward,
};
