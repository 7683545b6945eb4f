import type { SshRule } from '../../../contract/proxy-config.ts';
import { deny, type Denial, type ErrorCode } from '../errors.ts';
import type { ShellCommand } from '../shell/shell-facts.ts';
import { byStrictness, decidedBy } from './combine.ts';
import type { Decision, SshCommand, SshItem } from './decision.ts';
import { coversItem, matchesSshRule } from './match-ssh-rule.ts';
import type { Permit } from './permit.ts';
import { demandOf, isSatisfied, nameRules, permits, rulesOf, stops, wordStop, type RuleEntry } from './permit-rules.ts';
import type { ReviewInput } from './review-command.ts';
import { combineTerms } from './ssh-terms.ts';

/**
 * Decides on one SSH command, shell, file operation or forward (D1, ssh.md 8). Pure; the order of policies, rules and items has no meaning. Worst first:
 *
 * 1. Deny when the account or a level is beyond what the Target has, or a Deny rule surely matches any item; a RequireApproval rule that names no approvers counts as one (P7).
 * 2. Deny, `COMMAND_NOT_ALLOWED` (or the code of the item's kind), when some item is permitted by no rule of an open policy.
 * 3. Deny, `COMMAND_UNKNOWN`, when something cannot be known (an unknown item, a file written under a name that is not known, a Deny or RequireApproval rule that may match) and
 *    no RequireApproval rule says `unknown: true`.
 * 4. RequireApproval when a RequireApproval rule that matches, or may, is satisfied neither by a grant nor by `approved`; the strictest first (ADR 0011).
 * 5. Allow, naming every rule that permits an item, with the terms that all of them give.
 */
export function reviewSshCommand(facts: SshCommand, permit: Permit, input: ReviewInput): Decision {
  const beyond = whatIsBeyond(facts, permit);
  if (beyond !== null) return { effect: 'Deny', by: null, denial: beyond };
  const rules = rulesOf(permit).flatMap((entry) => speakingRule(entry, facts.account));
  const doubts = facts.items.flatMap((item) => doubtsAbout(item, rules));

  const stop = rules.filter(({ entry }) => stops(entry)).flatMap(({ entry, rule }) => [...facts.items, ...doubts].filter((item) => matchesSshRule(rule, item) === 'yes').map((item) => ({ entry, item })))[0];
  if (stop !== undefined) return { effect: 'Deny', by: decidedBy(stop.entry.policy, stop.entry.rule.name), denial: deny(codes[stop.item.kind].denied, wordStop(stop.entry, 'command')) };

  const permitting = rules.filter(({ entry }) => !stops(entry) && permits(entry, permit, input.nowMs));
  const needing = facts.items.filter((item) => item.kind !== 'unknown' && needsRule(item, facts.items));
  const bases = needing.map((item) => permitting.filter(({ rule }) => matchesSshRule(rule, item) !== 'no' && coversItem(rule, item)));
  const uncovered = needing.find((_, index) => bases[index]?.length === 0);
  if (uncovered !== undefined) return { effect: 'Deny', by: null, denial: deny(codes[uncovered.kind].unmatched, { message: `no rule allows ${wordItem(uncovered)}` }) };

  const opaque = doubts.length === 0 ? [] : permitting.filter(({ rule }) => rule.action === 'RequireApproval' && rule.ssh.match.kind === 'Unknown');
  if (doubts[0] !== undefined && opaque.length === 0) return { effect: 'Deny', by: null, denial: deny('COMMAND_UNKNOWN', { detail: doubts[0].reason }) };

  const holding = rules.filter(({ rule }) => rule.action === 'RequireApproval' && [...facts.items, ...doubts].some((item) => matchesSshRule(rule, item) !== 'no'));
  const first = holding.flatMap(({ entry }) => demandOf(entry)).filter((demand) => !isSatisfied(demand, permit, input)).sort(byStrictness)[0];
  if (first !== undefined) return { effect: 'RequireApproval', by: decidedBy(first.policy, first.rule), approval: first.approval, message: first.message };
  const basis = [...bases.flat(), ...opaque];
  return { effect: 'Allow', by: nameRules(basis.map(({ entry }) => entry)), terms: combineTerms(basis.map(({ rule }) => rule)) };
}

/** By the kind of an item: the code where a rule denies it, and where none permits it. */
const codes: Readonly<Record<SshItem['kind'], { readonly denied: ErrorCode; readonly unmatched: ErrorCode }>> = {
  command: { denied: 'COMMAND_DENIED', unmatched: 'COMMAND_NOT_ALLOWED' },
  unknown: { denied: 'COMMAND_DENIED', unmatched: 'COMMAND_UNKNOWN' },
  level: { denied: 'SHELL_NOT_GRANTED', unmatched: 'SHELL_NOT_GRANTED' },
  file: { denied: 'FILE_DENIED', unmatched: 'FILE_DENIED' },
  forward: { denied: 'FORWARD_DENIED', unmatched: 'FORWARD_DENIED' },
  agent: { denied: 'FORWARD_DENIED', unmatched: 'FORWARD_DENIED' },
  x11: { denied: 'FORWARD_DENIED', unmatched: 'FORWARD_DENIED' },
};

interface SpeakingRule {
  readonly entry: RuleEntry;
  readonly rule: SshRule;
}

function speakingRule(entry: RuleEntry, account: string): readonly SpeakingRule[] {
  const { rule } = entry;
  return 'ssh' in rule && (rule.ssh.accounts === null || rule.ssh.accounts.includes(account)) ? [{ entry, rule }] : [];
}

const levels = ['Exec', 'CommandMode', 'RawShell'] as const;

/** What no rule can give: the session is for one account, and the Target has a ceiling. */
function whatIsBeyond({ account, items }: SshCommand, { target, database }: Permit): Denial | null {
  if (!('ssh' in target) || account !== database || !target.ssh.accounts.includes(account)) return deny('ACCOUNT_NOT_GRANTED');
  const ceiling = levels.indexOf(target.ssh.level);
  const above = items.find((item) => item.kind === 'level' && levels.indexOf(item.level) > ceiling);
  return above === undefined ? null : deny('SHELL_NOT_GRANTED', { detail: `the most that this target has is ${target.ssh.level}` });
}

type Unknown = Extract<SshItem, { kind: 'unknown' }>;

/** What cannot be known about an item, each a sentence. */
function doubtsAbout(item: SshItem, rules: readonly SpeakingRule[]): readonly Unknown[] {
  if (item.kind === 'unknown') return [item];
  if (item.kind !== 'command') return [];
  const unsure = rules.find(({ rule }) => rule.action !== 'Allow' && matchesSshRule(rule, item) === 'maybe');
  return [
    ...(item.command.writes.some(({ path }) => path === null) ? ['a file that it writes is not known'] : []),
    ...(unsure === undefined ? [] : [`policy "${unsure.entry.policy.name}", rule "${unsure.entry.rule.name}" may speak about ${wordItem(item)}`]),
  ].map((reason) => ({ kind: 'unknown', reason }));
}

/** A wrapper needs no rule of its own, but what it alone writes does. */
function needsRule(item: SshItem, items: readonly SshItem[]): boolean {
  if (item.kind !== 'command' || item.command.needsRule) return true;
  const answered = new Set(items.flatMap((other) => (other.kind === 'command' && other.command.needsRule ? other.command.writes.map(({ source }) => source) : [])));
  return item.command.writes.some(({ source }) => !answered.has(source));
}

/** Names the kind and the program, not the words: these may hold a secret, and the user has them before their eyes. */
function wordItem(item: SshItem): string {
  switch (item.kind) {
    case 'command': return wordCommand(item.command);
    case 'unknown': return 'what cannot be known';
    case 'level': return item.level === 'RawShell' ? 'a raw shell' : 'a shell';
    case 'file': return `to ${{ Read: 'read', Write: 'write', List: 'list' }[item.operation]} this path`;
    case 'forward': return item.direction === 'to' ? 'a connection to this destination' : 'to listen at this address';
    case 'agent': return 'agent forwarding';
    case 'x11': return 'X11 forwarding';
    default: return item satisfies never;
  }
}

function wordCommand({ program, writes }: ShellCommand): string {
  const shown = JSON.stringify(program.length > 64 ? `${program.slice(0, 64)}…` : program);
  return writes.length === 0 ? `the command ${shown} with these words` : `the command ${shown} with these words and the files that it writes`;
}
