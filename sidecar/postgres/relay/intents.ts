import type { ApprovalRecord, DecisionRecord, ParameterRecord, StatementAttempt, StatementIntent } from '../../../contract/audit.ts';
import type { Denial } from '../../core/errors.ts';
import type { Decision } from '../../core/policy/decision.ts';
import { countDenial } from '../../core/session/tally.ts';
import type { StatementFacts } from '../../core/sql/statement-facts.ts';
import type { RelayContext } from './context.ts';

/** Where a statement came from, for its records. */
export interface Origin {
  readonly protocol: 'simple' | 'extended' | 'function';
  readonly statementName: string;
  readonly portalName: string;
  /** Text as received; only its keyed hash is recorded. */
  readonly text: string;
  readonly parameters: readonly ParameterRecord[];
  readonly continues: number | null;
}

/** The record that must exist before the statement goes on. */
export function intentOf(context: RelayContext, facts: StatementFacts, origin: Origin, decision: Decision, approvals: readonly ApprovalRecord[]): StatementIntent {
  return { ...attempted(context, facts, origin, decisionRecord(context, decision, null)), approvals, continues: origin.continues };
}

/**
 * Records and counts a statement that was denied, held or cancelled.
 *
 * @returns resolves when it is on record. Rejects with RECORDER_FAILED or STORAGE_FULL: then the session must end.
 */
export function recordAttempt(
  context: RelayContext,
  event: StatementAttempt['event'],
  facts: StatementFacts | { readonly redactedText: string },
  origin: Origin,
  outcome: { readonly decision: Decision | null; readonly denial: Denial | null; readonly request: string | null },
): Promise<void> {
  const { decision, denial, request } = outcome;
  context.tally.statements[counted[event]]++;
  if (denial) countDenial(context.tally, denial.code);
  const read = 'kind' in facts ? facts : { ...unread, redactedText: facts.redactedText };
  const attempt = { event, intent: attempted(context, read, origin, decisionRecord(context, decision, denial)), code: denial?.code ?? null, request };
  // What came before it is on record before it.
  const committed = context.commit();
  return committed ? committed.then(() => context.recorder.recordAttempt(attempt)) : context.recorder.recordAttempt(attempt);
}

const counted = { 'statement.denied': 'denied', 'statement.held': 'held', 'statement.cancelled': 'cancelled' } as const;

type ReadFacts = Pick<StatementFacts, 'kind' | 'objects' | 'fingerprint' | 'redactedText' | 'usesEquality' | 'runs'>;

const unread: ReadFacts = { kind: 'Other', objects: [], fingerprint: '', redactedText: '' };

function attempted(context: RelayContext, facts: ReadFacts, origin: Origin, decision: DecisionRecord): StatementAttempt['intent'] {
  return {
    protocol: origin.protocol, statementName: context.inspector.shownName(origin.statementName), portalName: context.inspector.shownName(origin.portalName), kind: facts.kind, objects: facts.objects, fingerprint: facts.fingerprint || null,
    text: facts.redactedText, textRedacted: facts.redactedText !== origin.text, textHmac: context.inspector.textHmac(origin.text), parameters: origin.parameters,
    transactionStatus: context.status, decision, ...(facts.usesEquality === true || facts.runs?.usesEquality === true ? { usesEquality: true } : {}),
  };
}

const plainAllow = { effect: 'Allow', reason: 'NoRuleNeeded', policy: null, policyUid: null, policyGeneration: null, policyDigest: null, rule: null } as const;

function decisionRecord(context: RelayContext, decision: Decision | null, denial: Denial | null): DecisionRecord {
  const evaluatedAtMs = context.clock.now();
  if (decision === null || (denial && decision.effect !== 'Deny')) return { ...plainAllow, effect: 'Deny', reason: denial?.code ?? 'Refused', ...by(decision), evaluatedAtMs };
  switch (decision.effect) {
    case 'Allow':
      return { ...plainAllow, reason: decision.by.length > 0 ? 'PolicyMatched' : 'NoRuleNeeded', ...by(decision), evaluatedAtMs };
    case 'RequireApproval':
      return { ...plainAllow, effect: 'RequireApproval', reason: 'ApprovalRequired', ...by(decision), evaluatedAtMs };
    case 'Deny':
      return { ...plainAllow, effect: 'Deny', reason: decision.denial.code, ...by(decision), evaluatedAtMs };
    default:
      return decision satisfies never;
  }
}

function by(decision: Decision | null): Partial<DecisionRecord> {
  const decided = decision?.effect === 'Allow' ? decision.by[0] : decision?.by;
  if (!decided) return {};
  return { policy: decided.policy, policyUid: decided.policyUid, policyGeneration: decided.policyGeneration, policyDigest: decided.policyDigest, rule: decided.rule };
}
