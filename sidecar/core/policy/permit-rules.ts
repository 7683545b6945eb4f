import type { Approval, Policy, Rule } from '../../../contract/proxy-config.ts';
import { decidedBy, type ApprovalDemand } from './combine.ts';
import type { DecidedBy } from './decision.ts';
import { isGrantOf } from './grants.ts';
import type { Permit } from './permit.ts';
import type { ApprovedRule, ReviewInput } from './review-command.ts';

/** A rule with the policy that it stands in. `open` is false for policies that match but permit nothing now (OnRequest without a grant, another way to log in): they restrict only. */
export interface RuleEntry {
  readonly policy: Policy;
  readonly rule: Rule;
  readonly open: boolean;
}

/** All rules of a permit by (policy, rule), so that the first match is the same whatever order the config has. Derived once per permit. */
const sortedRules = new WeakMap<Permit, readonly RuleEntry[]>();

/** The rules that a session's commands are judged by, sorted by policy and rule. */
export function rulesOf(permit: Permit): readonly RuleEntry[] {
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

/** The approval of a RequireApproval rule; null where it asks for none or names nobody who could give it. */
export function usableApproval(rule: Rule): Approval | null {
  return rule.action === 'RequireApproval' && rule.approval !== null && rule.approval.groups.length > 0 ? rule.approval : null;
}

/** Whether a rule denies what it matches: Deny, and RequireApproval without approvers (P7). */
export function stops({ rule }: RuleEntry): boolean {
  return rule.action === 'Deny' || (rule.action === 'RequireApproval' && usableApproval(rule) === null);
}

/** Whether a rule can let something pass now, by itself or with an approval. */
export function permits({ policy, rule, open }: RuleEntry, permit: Permit, nowMs: number): boolean {
  return open && rule.action !== 'Deny' && nowMs < (permit.openUntilMs?.[policy.name] ?? Infinity);
}

/** The words of a denial by a rule that `stops`; `what` is "statement" or "command". */
export function wordStop({ policy, rule }: RuleEntry, what: string): { readonly message: string; readonly detail?: string } {
  const why = rule.action === 'Deny' ? rule.message : 'the rule requires an approval and names no approvers';
  return { message: `${what} denied by policy "${policy.name}", rule "${rule.name}"`, ...(why === null ? {} : { detail: why }) };
}

/** A rule that must be approved before the command may pass. */
export type RuleDemand = ApprovalDemand & { readonly rule: string; readonly message: string | null };

/** What a RequireApproval rule that matches asks for; nothing for other rules. */
export function demandOf({ policy, rule }: RuleEntry): readonly RuleDemand[] {
  const approval = usableApproval(rule);
  return approval === null ? [] : [{ policy, rule: rule.name, approval, message: rule.message }];
}

/** Whether a demand is met by a grant of its own scope or by an answer to this very command. */
export function isSatisfied(demand: RuleDemand, permit: Permit, input: ReviewInput): boolean {
  const holder = { identity: permit.identity, target: permit.target, nowMs: input.nowMs };
  const granted = input.grants.some((grant) => grant.scope === demand.approval.scope && isGrantOf(grant, demand.policy, demand.rule, holder)
    && (grant.scope === 'Window' || grant.sessionId === input.sessionId));
  return granted || (input.approved ?? []).some((answer) => answers(answer, demand, rulesOf(permit)));
}

/** The same rule, or one whose approvers could all have approved this one too and were at least as many: asking them twice would show them nothing new. */
function answers(answer: ApprovedRule, demand: RuleDemand, rules: readonly RuleEntry[]): boolean {
  const asked = rules.find(({ policy, rule }) => policy.uid === answer.policyUid && policy.generation === answer.policyGeneration && rule.name === answer.rule);
  const approval = asked === undefined ? null : usableApproval(asked.rule);
  if (asked === undefined || approval === null) return false;
  if (asked.policy === demand.policy && asked.rule.name === demand.rule) return true;
  return approval.required >= demand.approval.required && approval.groups.every((group) => demand.approval.groups.includes(group));
}

/** Names each rule once, by policy and rule. */
export function nameRules(entries: readonly RuleEntry[]): readonly DecidedBy[] {
  return [...new Set(entries)].sort(byPolicyAndRule).map(({ policy, rule }) => decidedBy(policy, rule.name));
}
