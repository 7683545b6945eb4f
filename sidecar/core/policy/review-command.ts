import { deny } from '../errors.ts';
import { byStrictness, decidedBy } from './combine.ts';
import type { CommandFacts, CommandPair, DecidedBy, Decision, Grant } from './decision.ts';
import { matchesRule } from './match-rule.ts';
import type { Permit } from './permit.ts';
import { demandOf, isSatisfied, nameRules, permits, rulesOf, stops, wordStop } from './permit-rules.ts';
import { reviewSshCommand } from './review-ssh-command.ts';

/** What a decision depends on beside the command and the permit. */
export interface ReviewInput {
  /** Unix time, ms. */
  readonly nowMs: number;
  /** Grants that may concern this session; others are ignored. */
  readonly grants: readonly Grant[];
  readonly sessionId: string;
  /** Rules that approvers of this very statement have already answered with yes: ask again with each answer, until the decision is no longer RequireApproval. */
  readonly approved?: readonly ApprovedRule[];
}

/** A rule for which this statement was approved. `DecidedBy` of the decision that asked has this shape. */
export type ApprovedRule = Pick<DecidedBy, 'policyUid' | 'policyGeneration' | 'rule'>;

/**
 * Decides on one command (D1). Pure; the order of policies, rules and pairs has no meaning.
 *
 * 1. Deny when a Deny rule matches any pair; a RequireApproval rule that names no approvers counts as one (P7).
 * 2. Deny, `STATEMENT_NOT_ALLOWED`, when some pair is permitted by no Allow and no RequireApproval rule of an open policy: an approval never
 *    covers what no rule names.
 * 3. RequireApproval when a RequireApproval rule that matches any pair is not covered by a grant or by `approved`. Every such rule must be satisfied; the
 *    strictest is asked for first (ADR 0011).
 * 4. Allow, naming the rule that permits each pair. A command without pairs needs no rule.
 */
export function reviewCommand(facts: CommandFacts, permit: Permit, input: ReviewInput): Decision {
  if ('items' in facts) return reviewSshCommand(facts, permit, input);
  const rules = rulesOf(permit);
  const denial = rules.find((entry) => stops(entry) && facts.pairs.some((pair) => matchesRule(entry.rule, pair, facts.database, 'restricts')));
  if (denial !== undefined) return { effect: 'Deny', by: decidedBy(denial.policy, denial.rule.name), denial: deny('STATEMENT_DENIED', wordStop(denial, 'statement')) };

  const permitting = rules.filter((entry) => permits(entry, permit, input.nowMs));
  const basis = facts.pairs.map((pair) => permitting.find((entry) => matchesRule(entry.rule, pair, facts.database, 'permits')));
  const uncovered = facts.pairs.find((_, index) => basis[index] === undefined);
  if (uncovered !== undefined) return { effect: 'Deny', by: null, denial: deny('STATEMENT_NOT_ALLOWED', { message: `no rule allows ${wordPair(uncovered)}` }) };

  const holding = rules.filter((entry) => entry.rule.action === 'RequireApproval' && facts.pairs.some((pair) => matchesRule(entry.rule, pair, facts.database, 'restricts')));
  const first = holding.flatMap(demandOf).filter((demand) => !isSatisfied(demand, permit, input)).sort(byStrictness)[0];
  if (first !== undefined) return { effect: 'RequireApproval', by: decidedBy(first.policy, first.rule), approval: first.approval, message: first.message };
  return { effect: 'Allow', by: nameRules(basis.filter((entry) => entry !== undefined)) };
}

function wordPair({ class: statementClass, object, where }: CommandPair): string {
  const kind = where === 'Missing' && (statementClass === 'Delete' || statementClass === 'Update') ? `${statementClass} without WHERE` : statementClass;
  if (object === null) return kind;
  return object === '*' ? `${kind} whose objects cannot be known` : `${kind} on ${object.schema}.${object.name}`;
}
