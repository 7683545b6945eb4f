import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { aConfig, anIdentity, aPolicy, aTarget, isAcceptedConfig, type ShortPolicy, type ShortRule } from '../../../tools/testkit/policies.ts';
import type { Policy } from '../../../contract/proxy-config.ts';
import { authorize, type AuthorizeOutcome } from './authorize.ts';
import type { CommandPair, Decision, StatementCommand } from './decision.ts';
import { reviewCommand } from './review-command.ts';

const nowMs = Date.parse('2025-06-02T12:00:00Z');
const classes = ['Select', 'Insert', 'Delete', 'Alter', 'SetRole'] as const;
const tables = ['public.orders', 'public.*', 'hr.salaries', '*.orders'];
const approval = fc.record({ groups: fc.subarray(['dba', 'leads', 'security'], { minLength: 1 }), required: fc.integer({ min: 1, max: 3 }), decideWithin: fc.constantFrom(60, 900) });

const rule: fc.Arbitrary<Omit<ShortRule, 'name'>> = fc.record({
  action: fc.constantFrom('Allow' as const, 'Allow' as const, 'Deny' as const, 'RequireApproval' as const), approval,
  statements: fc.option(fc.subarray([...classes], { minLength: 1 }), { nil: undefined }), tables: fc.option(fc.subarray(tables, { minLength: 1 }), { nil: undefined }),
  where: fc.option(fc.constantFrom('Missing' as const, 'Present' as const), { nil: undefined, freq: 4 }),
}).map(({ action, approval: asked, statements, tables: listed, where }) => ({
  action, ...(action === 'RequireApproval' ? { approval: asked } : {}), ...(statements ? { statements } : {}), ...(listed ? { tables: listed } : {}), ...(where ? { where } : {}),
}));

const policy: fc.Arbitrary<ShortPolicy> = fc.record({
  rules: fc.array(rule, { maxLength: 4 }), group: fc.constantFrom('staff', 'staff', 'contractors'), onRequest: fc.option(approval, { nil: undefined, freq: 3 }),
  rows: fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }),
}).map(({ rules, group, onRequest, rows }) => ({
  subjects: [`group:${group}`], rules: rules.map((short, index) => ({ ...short, name: `r${index}` })), ...(onRequest ? { onRequest } : {}), ...(rows ? { limits: { rowsPerStatement: rows } } : {}),
}));

const policies = fc.array(policy, { minLength: 1, maxLength: 4 }).map((shorts) => shorts.map((short, index) => aPolicy(`p${index}`, short)));
const pair: fc.Arbitrary<CommandPair> = fc.record({
  class: fc.constantFrom(...classes), where: fc.constantFrom('Missing' as const, 'Present' as const, null),
  object: fc.constantFrom({ schema: 'public', name: 'orders' }, { schema: 'hr', name: 'salaries' }, '*' as const, null),
});
const facts: fc.Arbitrary<StatementCommand> = fc.array(pair, { minLength: 1, maxLength: 3 }).map((pairs) => ({ kind: 'Select', pairs, database: 'orders' }));

function decide(given: readonly Policy[], command: StatementCommand, groups: readonly string[] = ['staff']): { session: AuthorizeOutcome; decision: Decision | null } {
  const config = aConfig(given);
  expect(isAcceptedConfig(config)).toBe(true);
  const session = authorize({ identity: anIdentity({ groups }), target: aTarget(), database: 'orders', config, nowMs, grants: [], openSessions: 0 });
  return { session, decision: session.outcome === 'allowed' ? reviewCommand(command, session.permit, { nowMs, grants: [], sessionId: 's1' }) : null };
}

test('a shuffled config and shuffled pairs give the same decision, word for word', () => {
  const shuffled = fc.tuple(policies, facts).chain(([given, command]) => fc.record({
    given: fc.constant(given), command: fc.constant(command), pairs: fc.shuffledSubarray([...command.pairs], { minLength: command.pairs.length }),
    other: fc.shuffledSubarray(given, { minLength: given.length }).chain((order) => fc.tuple(...order.map((one) => fc.shuffledSubarray(one.rules, { minLength: one.rules.length }).map((rules) => ({ ...one, rules }))))),
  }));
  fc.assert(fc.property(shuffled, ({ given, command, pairs, other }) => {
    const first = decide(given, command);
    const second = decide(other, { ...command, pairs });
    expect(second.session.explain).toEqual(first.session.explain);
    expect(second.session.outcome).toBe(first.session.outcome);
    if (first.decision?.effect === 'Deny' && first.decision.by === null) expect(second.decision).toMatchObject({ effect: 'Deny', by: null });
    else expect(second.decision).toEqual(first.decision);
  }), { numRuns: 1_000 });
});

const severity = { Allow: 0, RequireApproval: 1, Deny: 2 } as const;

test('adding a policy that only denies and holds never makes a decision milder', () => {
  fc.assert(fc.property(policies, policy, facts, (given, extra, command) => {
    const restricting = aPolicy('extra', { ...extra, rules: (extra.rules ?? []).filter((short) => short.action !== 'Allow') });
    const before = decide(given, command);
    const after = decide([...given, restricting], command);
    if (before.decision === null || after.decision === null) return;
    // A hold on a class that nothing allowed turns "no rule" into "ask": that is what a RequireApproval rule is for.
    const nothingAllowed = before.decision.effect === 'Deny' && before.decision.by === null;
    if (!nothingAllowed) expect(severity[after.decision.effect]).toBeGreaterThanOrEqual(severity[before.decision.effect]);
  }), { numRuns: 1_000 });
});

test('an Allow never lacks a rule for a pair, and never stands against a Deny', () => {
  fc.assert(fc.property(policies, facts, (given, command) => {
    const { decision } = decide(given, command);
    if (decision?.effect !== 'Allow') return;
    expect(decision.by.length).toBeGreaterThan(0);
    const denies = given.filter((one) => one.subjects[0]?.kind === 'Group' && one.subjects[0].name === 'staff').flatMap((one) => one.rules).filter((one) => 'postgres' in one).filter((one) => one.action === 'Deny' && one.postgres.tables === null && one.postgres.where === null);
    for (const one of denies) for (const asked of command.pairs) expect(one.postgres.statements?.includes(asked.class) ?? true).toBe(false);
  }), { numRuns: 1_000 });
});

test('nothing but the names that policies use decides: other groups, claims and user names change nothing (P8)', () => {
  fc.assert(fc.property(policies, facts, fc.array(fc.constantFrom('admin', 'system:masters', 'cluster-admin', 'root', 'sallyport-admins')), (given, command, extra) => {
    expect(decide(given, command, ['staff', ...extra]).decision).toEqual(decide(given, command).decision);
  }), { numRuns: 300 });
});
