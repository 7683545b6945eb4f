import { type Denial, deny } from '../../core/errors.ts';
import type { Decision } from '../../core/policy/decision.ts';
import type { ApprovedRule } from '../../core/policy/review-command.ts';
import { ruleDetail } from '../../core/session/approval-hold.ts';
import type { StatementFacts } from '../../core/sql/statement-facts.ts';
import type { RelayContext } from './context.ts';
import { portalFacts } from './refresh.ts';

/** What becomes of one statement now. */
export type Verdict =
  | { readonly outcome: 'forward'; readonly decision: Decision }
  | { readonly outcome: 'hold'; readonly decision: Extract<Decision, { effect: 'RequireApproval' }> }
  | { readonly outcome: 'refuse'; readonly decision: Decision | null; readonly denial: Denial };

/**
 * Judges one statement: what cannot be read or masked is refused whatever the rules say (D2, D4), then the policies decide (D1).
 */
export function judge(context: RelayContext, facts: StatementFacts): Verdict {
  if (facts.refusal) return { outcome: 'refuse', decision: null, denial: facts.refusal };
  if (context.inspector.masked && facts.masking.outcome === 'refused') return { outcome: 'refuse', decision: null, denial: facts.masking.denial };
  const { session } = context;
  const command = commandFacts(facts, session.permit.database);
  return verdictOf(session.decide(command, context.clock.now(), context.approver.grants(session.subject, session.permit.target.name, session.identity)));
}

/**
 * A statement that compares a masked column with a value spends one of the identity's questions; call it once per execution, before the intent.
 *
 * @returns why it may not run, or null.
 */
export function spendEquality(context: RelayContext, facts: StatementFacts): Denial | null {
  const asks = facts.usesEquality === true || facts.runs?.usesEquality === true;
  if (!asks || context.equalities.take(context.session.subject, context.clock.monotonicMs())) return null;
  return deny('EQUALITY_LIMIT_REACHED');
}

/** The same for a statement that approvers have said yes to under `approved` rules: never cached. */
export function judgeApproved(context: RelayContext, facts: StatementFacts, approved: readonly ApprovedRule[]): Verdict {
  const { session } = context;
  const unapproved = judge(context, facts);
  if (unapproved.outcome !== 'hold') return unapproved;
  return verdictOf(session.decideApproved(commandFacts(facts, session.permit.database), context.clock.now(), context.approver.grants(session.subject, session.permit.target.name, session.identity), approved));
}

function verdictOf(decision: Decision): Verdict {
  switch (decision.effect) {
    case 'Allow':
      return { outcome: 'forward', decision };
    case 'RequireApproval':
      return { outcome: 'hold', decision };
    case 'Deny':
      return { outcome: 'refuse', decision, denial: decision.by ? { ...decision.denial, detail: decision.denial.detail ?? ruleDetail(decision.by) } : decision.denial };
    default:
      return decision satisfies never;
  }
}

/**
 * EXECUTE, FETCH and the like are judged as the statement that they run; nested names are followed once each, so a cycle ends.
 */
export function resolveIndirection(context: RelayContext, facts: StatementFacts): StatementFacts {
  const { effect } = facts;
  if (effect?.kind !== 'execute' && effect?.kind !== 'fetch') return facts;
  const portal = effect.kind === 'fetch' ? context.portals.get(effect.name) : null;
  const statement = effect.kind === 'execute' ? context.statements.get(effect.name) : null;
  const inner = statement ? statement.facts : portal && portalFacts(portal);
  if (inner) return combine(facts, inner);
  // EXECUTE of an empty text runs nothing.
  if (statement) return facts;
  if (effect.kind === 'execute') return { ...facts, refusal: deny('STATEMENT_INVALIDATED', { message: `prepared statement "${effect.name}" is not known to this session` }) };
  if (context.inspector.masked) return { ...facts, refusal: deny('MASKING_UNPROVEN', { message: `cursor "${effect.name}" is not known to this session` }) };
  return { ...facts, kind: 'Select', pairs: [{ class: 'Select', object: '*', where: null }] };
}

const combined = new WeakMap<StatementFacts, WeakMap<StatementFacts, StatementFacts>>();

/** The same pair of facts gives the same object, so that its decision is found again. */
function combine(outer: StatementFacts, inner: StatementFacts): StatementFacts {
  const known = combined.get(outer) ?? new WeakMap<StatementFacts, StatementFacts>();
  combined.set(outer, known);
  const before = known.get(inner);
  if (before) return before;
  // EXPLAIN EXECUTE shows a plan and CREATE TABLE AS EXECUTE writes the rows elsewhere: neither may carry a masked value on.
  const carriesOn = (outer.kind === 'Explain' || outer.kind === 'Create') && inner.masking.outcome !== 'clear';
  const refusal = outer.refusal ?? inner.refusal ?? (carriesOn ? deny('MASKING_UNPROVEN', { message: 'a prepared statement with masked columns may only be executed as it is' }) : null);
  const merged: StatementFacts = {
    ...outer, runs: inner, kind: outer.kind === 'Explain' || outer.kind === 'Create' ? outer.kind : inner.kind, pairs: [...outer.pairs, ...inner.pairs], objects: [...outer.objects, ...inner.objects], calls: [...outer.calls, ...inner.calls], masking: inner.masking, returnsRows: outer.kind === 'Explain' || (outer.kind !== 'Create' && inner.returnsRows), copy: outer.kind === 'Explain' || outer.kind === 'Create' ? null : inner.copy, refusal,
  };
  known.set(inner, merged);
  return merged;
}

const commands = new WeakMap<StatementFacts, { readonly kind: StatementFacts['kind']; readonly pairs: StatementFacts['pairs']; readonly database: string }>();

/** One object per facts, so that decisions are cached by identity. */
function commandFacts(facts: StatementFacts, database: string): { readonly kind: StatementFacts['kind']; readonly pairs: StatementFacts['pairs']; readonly database: string } {
  const known = commands.get(facts);
  if (known?.database === database) return known;
  const made = { kind: facts.kind, pairs: facts.pairs, database };
  commands.set(facts, made);
  return made;
}
