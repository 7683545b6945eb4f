import type { DecisionRecord } from '../../contract/audit.ts';
import type { Denial } from '../core/errors.ts';
import type { Decision } from '../core/policy/decision.ts';

/** What policy said, for a record. `denial` overrides a decision that did not deny: the gateway refused for a reason of its own. */
export function decisionRecord(decision: Decision | null, denial: Denial | null, evaluatedAtMs: number): DecisionRecord {
  const decided = decision?.effect === 'Allow' ? (decision.by[0] ?? null) : (decision?.by ?? null);
  const by = { policy: decided?.policy ?? null, policyUid: decided?.policyUid ?? null, policyGeneration: decided?.policyGeneration ?? null, policyDigest: decided?.policyDigest ?? null, rule: decided?.rule ?? null };
  if (denial !== null || decision === null) return { effect: 'Deny', reason: denial?.code ?? 'Refused', ...by, evaluatedAtMs };
  switch (decision.effect) {
    case 'Allow': return { effect: 'Allow', reason: decision.by.length > 0 ? 'PolicyMatched' : 'NoRuleNeeded', ...by, evaluatedAtMs };
    case 'RequireApproval': return { effect: 'RequireApproval', reason: 'ApprovalRequired', ...by, evaluatedAtMs };
    case 'Deny': return { effect: 'Deny', reason: decision.denial.code, ...by, evaluatedAtMs };
    default: return decision satisfies never;
  }
}
