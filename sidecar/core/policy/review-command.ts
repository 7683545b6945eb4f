import type { Approval, Policy, Rule } from '../../../contract/proxy-config.ts';
import { deny } from '../errors.ts';
import { byStrictness, decidedBy, type ApprovalDemand } from './combine.ts';
import type { CommandFacts, CommandPair, StatementCommand, DecidedBy, Decision, Grant } from './decision.ts';
import { isGrantOf } from './grants.ts';
import { matchesRule } from './match-rule.ts';
import type { Permit } from './permit.ts';
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
  if (denial !== undefined) return denyBy(denial);

  const permitting = rules.filter((entry) => permits(entry, permit, input.nowMs));
  const basis = facts.pairs.map((pair) => permitting.find((entry) => matchesRule(entry.rule, pair, facts.database, 'permits')));
  const uncovered = facts.pairs.find((_, index) => basis[index] === undefined);
  if (uncovered !== undefined) return { effect: 'Deny', by: null, denial: deny('STATEMENT_NOT_ALLOWED', { message: `no rule allows ${wordPair(uncovered)}` }) };

  const demands = rules.flatMap((entry) => demandOf(entry, facts)).filter((demand) => !isSatisfied(demand, permit, input, rules)).sort(byStrictness);
  const first = demands[0];
  if (first !== undefined) return { effect: 'RequireApproval', by: decidedBy(first.policy, first.rule), approval: first.approval, message: first.message };
  return { effect: 'Allow', by: distinct(basis.filter((entry) => entry !== undefined)) };
}

/** A rule with the policy that it stands in. `open` is false for OnRequest policies that no grant has opened: they restrict only. */
interface RuleEntry {
  readonly policy: Policy;
  readonly rule: Rule;
  readonly open: boolean;
}

/** All rules of a permit by (policy, rule), so that the first match is the same whatever order the config has. Derived once per permit. */
const sortedRules = new WeakMap<Permit, readonly RuleEntry[]>();

function rulesOf(permit: Permit): readonly RuleEntry[] {
  const known = sortedRules.get(permit);
  if (known !== undefined) return known;
  const entries = [...entriesOf(permit.policies, true), ...entriesOf(permit.restrictions ?? [], false)].sort(byPolicyAndRule);
  sortedRules.set(permit, entries);
  return entries;
}

function entriesOf(policies: readonly Policy[], open: boolean): readonly RuleEntry[] {
  return policies.flatMap((policy) => policy.rules.map((rule) => ({ policy, rule, open })));
}

function byPolicyAndRule(a: RuleEntry, b: RuleEntry): number {
  const [left, right] = [[a.policy.name, a.rule.name], [b.policy.name, b.rule.name]].map((names) => names.join('\u0000'));
  return (left ?? '') < (right ?? '') ? -1 : 1;
}

function usableApproval(rule: Rule): Approval | null {
  return rule.action === 'RequireApproval' && rule.approval !== null && rule.approval.groups.length > 0 ? rule.approval : null;
}

function stops({ rule }: RuleEntry): boolean {
  return rule.action === 'Deny' || (rule.action === 'RequireApproval' && usableApproval(rule) === null);
}

function permits({ policy, rule, open }: RuleEntry, permit: Permit, nowMs: number): boolean {
  return open && rule.action !== 'Deny' && nowMs < (permit.openUntilMs?.[policy.name] ?? Infinity);
}

function denyBy({ policy, rule }: RuleEntry): Decision {
  const why = rule.action === 'Deny' ? rule.message : 'the rule requires an approval and names no approvers';
  const message = `statement denied by policy "${policy.name}", rule "${rule.name}"`;
  return { effect: 'Deny', by: decidedBy(policy, rule.name), denial: deny('STATEMENT_DENIED', { message, ...(why === null ? {} : { detail: why }) }) };
}

type RuleDemand = ApprovalDemand & { readonly rule: string; readonly message: string | null };

function demandOf({ policy, rule }: RuleEntry, facts: StatementCommand): readonly RuleDemand[] {
  const approval = usableApproval(rule);
  if (approval === null || !facts.pairs.some((pair) => matchesRule(rule, pair, facts.database, 'restricts'))) return [];
  return [{ policy, rule: rule.name, approval, message: rule.message }];
}

function isSatisfied(demand: RuleDemand, permit: Permit, input: ReviewInput, rules: readonly RuleEntry[]): boolean {
  const holder = { identity: permit.identity, target: permit.target, nowMs: input.nowMs };
  const granted = input.grants.some((grant) => grant.scope === demand.approval.scope && isGrantOf(grant, demand.policy, demand.rule, holder)
    && (grant.scope === 'Window' || grant.sessionId === input.sessionId));
  return granted || (input.approved ?? []).some((answer) => answers(answer, demand, rules));
}

/** The same rule, or one whose approvers could all have approved this one too and were at least as many: asking them twice would show them nothing new. */
function answers(answer: ApprovedRule, demand: RuleDemand, rules: readonly RuleEntry[]): boolean {
  const asked = rules.find(({ policy, rule }) => policy.uid === answer.policyUid && policy.generation === answer.policyGeneration && rule.name === answer.rule);
  const approval = asked === undefined ? null : usableApproval(asked.rule);
  if (asked === undefined || approval === null) return false;
  if (asked.policy === demand.policy && asked.rule.name === demand.rule) return true;
  return approval.required >= demand.approval.required && approval.groups.every((group) => demand.approval.groups.includes(group));
}

function distinct(entries: readonly RuleEntry[]): readonly DecidedBy[] {
  return [...new Set(entries)].sort(byPolicyAndRule).map(({ policy, rule }) => decidedBy(policy, rule.name));
}

function wordPair({ class: statementClass, object, where }: CommandPair): string {
  const kind = where === 'Missing' && (statementClass === 'Delete' || statementClass === 'Update') ? `${statementClass} without WHERE` : statementClass;
  if (object === null) return kind;
  return object === '*' ? `${kind} whose objects cannot be known` : `${kind} on ${object.schema}.${object.name}`;
}
