import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { aConfig, anIdentity, anSshTarget, aPolicy, isAcceptedConfig, readSshCommand, type ShortPolicy, type ShortRule, type ShortSshRule } from '../../../tools/testkit/policies.ts';
import type { Policy } from '../../../contract/proxy-config.ts';
import { authorize, type AuthorizeOutcome } from './authorize.ts';
import type { Decision, SshCommand } from './decision.ts';
import { reviewCommand } from './review-command.ts';

const nowMs = Date.parse('2025-06-02T12:00:00Z');
const approval = fc.record({ groups: fc.subarray(['dba', 'leads', 'security'], { minLength: 1 }), required: fc.integer({ min: 1, max: 3 }), decideWithin: fc.constantFrom(60, 900) });
const terms = fc.record({ pty: fc.boolean(), stdin: fc.constantFrom('Closed' as const, 'Attach' as const), output: fc.constantFrom('Text' as const, 'Binary' as const), unmasked: fc.boolean(), writes: fc.subarray(['/srv/**', '/tmp/*', '/etc/motd']) });
const speaks: fc.Arbitrary<ShortSshRule> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.subarray(['rm -rf', 'rm **', 'ls', 'ls **', 'sudo', 'sudo **', '* **'], { minLength: 1 }), terms).map(([commands, more]) => ({ commands, ...more })) },
  fc.constant({ unknown: true as const }),
  fc.constantFrom('CommandMode' as const, 'RawShell' as const).map((level) => ({ level })),
  fc.record({ operations: fc.subarray(['Read' as const, 'Write' as const, 'List' as const], { minLength: 1 }), paths: fc.subarray(['/srv/**', '/**', '/home/*/.ssh/*'], { minLength: 1 }), maxBytes: fc.constantFrom(10, 1000) }).map((files) => ({ files })),
  fc.constant({ forward: { to: ['127.0.0.1:80'] } }),
);
const rule: fc.Arbitrary<Omit<ShortRule, 'name'>> = fc.record({
  action: fc.constantFrom('Allow' as const, 'Allow' as const, 'Deny' as const, 'RequireApproval' as const), approval, ssh: speaks, accounts: fc.option(fc.subarray(['deploy', 'ops'], { minLength: 1 }), { nil: undefined }),
}).map(({ action, approval: asked, ssh, accounts }) => ({
  action: action === 'Allow' && ssh.unknown === true ? 'RequireApproval' : action, ...(action === 'RequireApproval' || (action === 'Allow' && ssh.unknown === true) ? { approval: asked } : {}),
  ssh: { ...ssh, ...(accounts ? { accounts } : {}) },
}));
const policy: fc.Arbitrary<ShortPolicy> = fc.record({
  rules: fc.array(rule, { maxLength: 4 }), group: fc.constantFrom('staff', 'staff', 'contractors'), onRequest: fc.option(approval, { nil: undefined, freq: 3 }),
  authMethods: fc.option(fc.constantFrom(['Token' as const], ['Certificate' as const]), { nil: undefined, freq: 2 }),
}).map(({ rules, group, onRequest, authMethods }) => ({
  targets: ['web-1'], subjects: [`group:${group}`], rules: rules.map((short, index) => ({ ...short, name: `r${index}` })), ...(onRequest ? { onRequest } : {}), ...(authMethods ? { authMethods } : {}),
}));
const policies = fc.array(policy, { minLength: 1, maxLength: 4 }).map((shorts) => shorts.map((short, index) => aPolicy(`p${index}`, short)));
const texts = ['cmd ls', 'cmd ls -l', 'cmd ls > /srv/x', 'cmd ls > /home/deploy/.bashrc', 'cmd ls > $f', 'cmd rm -rf x', 'cmd rm -fr x', 'cmd rm $x', 'cmd sudo rm x', 'wrap nice ls', 'unknown odd', 'level CommandMode', 'level RawShell',
  'read /srv/a', 'write /srv/a 100', 'write /home/deploy/.ssh/x', 'list /srv/../etc', 'to 127.0.0.1:80', 'to 127.0.0.1:22', 'agent', 'x11'];
const facts = fc.tuple(fc.constantFrom('deploy', 'ops'), fc.array(fc.constantFrom(...texts), { minLength: 1, maxLength: 3 })).map(([account, items]) => readSshCommand(account, items));

function decide(given: readonly Policy[], command: SshCommand, groups: readonly string[] = ['staff']): { session: AuthorizeOutcome; decision: Decision | null } {
  const target = anSshTarget();
  const config = aConfig(given, [target]);
  expect(isAcceptedConfig(config)).toBe(true);
  const session = authorize({ identity: anIdentity({ groups }), target, database: command.account, config, nowMs, grants: [], openSessions: 0 });
  return { session, decision: session.outcome === 'allowed' ? reviewCommand(command, session.permit, { nowMs, grants: [], sessionId: 's1' }) : null };
}

test('a shuffled config and shuffled items give the same decision, word for word', () => {
  const shuffled = fc.tuple(policies, facts).chain(([given, command]) => fc.record({
    given: fc.constant(given), command: fc.constant(command), items: fc.shuffledSubarray([...command.items], { minLength: command.items.length }),
    other: fc.shuffledSubarray(given, { minLength: given.length }).chain((order) => fc.tuple(...order.map((one) => fc.shuffledSubarray(one.rules, { minLength: one.rules.length }).map((rules) => ({ ...one, rules }))))),
  }));
  const effects = new Set<string>();
  fc.assert(fc.property(shuffled, ({ given, command, items, other }) => {
    const first = decide(given, command);
    const second = decide(other, { ...command, items });
    expect(second.session.explain).toEqual(first.session.explain);
    expect(second.session.outcome).toBe(first.session.outcome);
    effects.add(first.decision?.effect ?? 'none');
    if (first.decision?.effect === 'Deny') expect(second.decision).toMatchObject({ effect: 'Deny', by: first.decision.by });
    else expect(second.decision).toEqual(first.decision);
  }), { numRuns: 3_000 });
  expect(effects).toEqual(new Set(['none', 'Allow', 'Deny', 'RequireApproval']));
});

const severity = { Allow: 0, RequireApproval: 1, Deny: 2 } as const;

test('adding a policy that only denies never makes a decision milder', () => {
  fc.assert(fc.property(policies, policy, facts, (given, extra, command) => {
    const restricting = aPolicy('extra', { ...extra, rules: (extra.rules ?? []).filter((short) => short.action === 'Deny') });
    const before = decide(given, command);
    const after = decide([...given, restricting], command);
    if (before.decision === null || after.decision === null) return;
    expect(severity[after.decision.effect]).toBeGreaterThanOrEqual(severity[before.decision.effect]);
  }), { numRuns: 2_000 });
});

test('an Allow never holds an unknown, a protected path or another account, and its terms are no wider than any rule that it names', () => {
  fc.assert(fc.property(policies, facts, (given, command) => {
    const { decision } = decide(given, command);
    if (decision?.effect !== 'Allow') return;
    expect(command.items.some((item) => item.kind === 'unknown' || (item.kind === 'command' && item.command.writes.some(({ path }) => path === null || path.includes('.bashrc'))))).toBe(false);
    const named = given.flatMap((one) => one.rules.filter((each) => decision.by.some((by) => by.policy === one.name && by.rule === each.name))).filter((each) => 'ssh' in each);
    expect(named.every((each) => each.ssh.accounts === null || each.ssh.accounts.includes(command.account))).toBe(true);
    expect(named.every((each) => each.ssh.match.kind !== 'Commands' || each.ssh.match.pty || decision.terms?.pty === false)).toBe(true);
    expect(named.every((each) => each.ssh.unmasked || decision.terms?.unmasked === false)).toBe(true);
  }), { numRuns: 2_000 });
});

test('nothing but the names that policies use decides: other groups change nothing (P8)', () => {
  fc.assert(fc.property(policies, facts, fc.array(fc.constantFrom('admin', 'system:masters', 'root', 'wheel', 'sudo')), (given, command, extra) => {
    expect(decide(given, command, ['staff', ...extra]).decision).toEqual(decide(given, command).decision);
  }), { numRuns: 300 });
});
