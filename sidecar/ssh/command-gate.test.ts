import { describe, expect, test } from '@jest/globals';
import type { ShortPolicy } from '../../tools/testkit/policies.ts';
import { anSshBench, anSshPermit, type SshBench } from '../../tools/testkit/ssh-context.ts';
import { deny, SallyportError } from '../core/errors.ts';
import { type GateAsk, gateCommand } from './command-gate.ts';
import type { GateOutcome } from './context.ts';
import { shellItems } from '../core/policy/ssh-items.ts';

const oncall: ShortPolicy = { rules: [
  { name: 'look', action: 'Allow', ssh: { commands: ['uptime', 'cat *'] } },
  { name: 'no-root', action: 'Deny', ssh: { commands: ['rm -rf'] } },
  { name: 'privileged', action: 'RequireApproval', ssh: { commands: ['date'], pty: true }, approval: { groups: ['leads'] } },
  { name: 'fed', action: 'RequireApproval', ssh: { commands: ['tee *'], stdin: 'Attach' }, approval: { groups: ['leads'] } },
  { name: 'opaque', action: 'RequireApproval', ssh: { unknown: true }, approval: { groups: ['owners'] } },
  { name: 'raw', action: 'Allow', ssh: { commands: ['gzip'], output: 'Binary' } },
] };

interface Run {
  readonly outcome: Promise<GateOutcome>;
  readonly told: string[];
  readonly cancel: AbortController;
}

async function gate(bench: SshBench, text: string, more: Partial<GateAsk> = {}, hasInput: boolean | (() => boolean) = false): Promise<Run> {
  const items = shellItems(await bench.context.inspect(text));
  const [told, cancel] = [[] as string[], new AbortController()];
  const ask: GateAsk = { kind: 'Exec', channel: 1, text, items, cwd: null, pty: false, environment: [['LANG', 'C']], stdin: true, wrap: false, byteExact: false, facts: {}, ...more };
  return { outcome: gateCommand(bench.context, ask, { tell: (lines) => told.push(...lines), cancelled: cancel.signal, hasInput: () => (typeof hasInput === 'function' ? hasInput() : hasInput) }), told, cancel };
}

const codes = (bench: SshBench): readonly string[] => bench.recorder.events.map(({ code, reason }) => (reason === null ? code : `${code} ${reason}`));
const words = (outcome: GateOutcome): string => (outcome.outcome === 'permitted' ? `permitted ${outcome.operation}` : `${outcome.exitStatus} ${outcome.denial.code} ${outcome.denial.detail ?? ''}`.trim());

describe('a command at the gate', () => {
  test.each([
    ['uptime', 'permitted 1', ['exec.intent']], ['rm -rf /', '126 COMMAND_DENIED policy "oncall", rule "no-root"', ['exec.denied COMMAND_DENIED']], ['shutdown', '126 COMMAND_NOT_ALLOWED', ['exec.denied COMMAND_NOT_ALLOWED']],
  ])('%s: decided, and recorded before the answer', async (text, answer, recorded) => {
    const bench = anSshBench({ oncall });
    const { outcome } = await gate(bench, text);
    expect([words(await outcome), codes(bench)]).toEqual([answer, recorded]);
  });

  test('is not permitted when its intent cannot be recorded', async () => {
    const bench = anSshBench({ oncall });
    bench.recorder.fails = new SallyportError('STORAGE_FULL');
    await expect((await gate(bench, 'uptime')).outcome).rejects.toMatchObject({ code: 'STORAGE_FULL' });
  });

  test('is not permitted when the policy comes to deny it while the intent is written; the record says that nothing was sent', async () => {
    const bench = anSshBench({ oncall });
    bench.recorder.whileRecording = () => bench.session.replacePermit(anSshPermit({ oncall: { rules: [{ name: 'no', action: 'Deny', ssh: { commands: ['uptime'] } }, { name: 'rest', action: 'Allow', ssh: { commands: ['id'] } }] } }, bench.session.permit.target as never, bench.clock.now()));
    expect([words(await (await gate(bench, 'uptime')).outcome), codes(bench)]).toEqual(['126 COMMAND_DENIED policy "oncall", rule "no"', ['exec.intent', 'exec.result COMMAND_DENIED', 'exec.denied COMMAND_DENIED']]);
  });

  test('is not permitted once the session has ended: 255', async () => {
    const bench = anSshBench({ oncall });
    bench.session.end({ reason: 'Revoked', denial: deny('SESSION_REVOKED') });
    expect(words(await (await gate(bench, 'uptime')).outcome)).toBe('255 SESSION_REVOKED');
  });

  test('whose output cannot be masked needs a rule that lets it pass knowingly', async () => {
    const bench = anSshBench({ oncall: { ...oncall, masking: [{ columns: null, detectors: ['us-ssn'], style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' }] } });
    expect([words(await (await gate(bench, 'gzip')).outcome), words(await (await gate(bench, 'uptime', { byteExact: true })).outcome)]).toEqual(['126 MASKING_CONFLICT', '126 MASKING_CONFLICT']);
  });
});

describe('a held command', () => {
  test('shows and records no value that the policies mask, wherever it stands: program, file, directory, facts', async () => {
    const digits = '4539148803436467';
    const bench = anSshBench({ oncall: {
      rules: [{ name: 'any', action: 'RequireApproval', ssh: { commands: ['* **'], writes: ['/tmp/*'] }, approval: { groups: ['leads'] } }],
      masking: [{ columns: null, detectors: ['payment-card'], style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' }],
    } });
    const run = await gate(bench, `/opt/${digits}/run > /tmp/${digits}`, { cwd: `/srv/${digits}`, facts: { path: `/srv/${digits}`, paths: [digits] } });
    await bench.approver.decide('denied');
    expect([words(await run.outcome), JSON.stringify([bench.approver.asks[0]?.statement, bench.recorder.events])]).toEqual([expect.stringContaining('126 APPROVAL_DENIED'), expect.not.stringContaining(digits)]);
    expect(bench.approver.asks[0]?.statement).toMatchObject({ objects: ['run', '> /tmp/********'] });
  });

  test('binds text, account, directory, terminal, input, wrap and environment, and shows them', async () => {
    const bench = anSshBench({ oncall });
    const digests: string[] = [];
    for (const [text, more] of [
      ['date', {}], ['date ', {}], ['date', { cwd: '/srv' }], ['date', { pty: true }], ['date', { wrap: true }], ['date', { environment: [] }], ['date', { environment: [['LANG', 'D']] }], ['tee x', { stdin: false }], ['tee x', {}],
    ] as const) {
      const run = await gate(bench, text, more as Partial<GateAsk>);
      await bench.approver.decide('denied');
      await run.outcome;
      digests.push(bench.approver.asks.at(-1)?.digest ?? '');
    }
    expect(new Set(digests).size).toBe(9);
    expect(bench.approver.asks[3]?.statement).toMatchObject({ text: 'date', kind: 'Exec', objects: ['date'], parameters: ['account=deploy', 'cwd=~', 'pty=yes', 'stdin=terminal', 'wrap=no', 'env LANG=C'] });
    expect(bench.approver.asks[4]?.statement?.parameters).toContain("sent=exec bash --noprofile --norc -c 'date'");
    expect(bench.approver.asks[8]?.statement?.parameters).toContain('stdin=attached');
  });

  test('is told at once, goes on when it is approved, and both stand in the record', async () => {
    const bench = anSshBench({ oncall });
    const run = await gate(bench, 'date');
    await bench.approver.decide('approved');
    expect(await run.outcome).toMatchObject({ outcome: 'permitted', wasHeld: true, terms: { pty: true, stdin: 'Closed' } });
    expect(run.told).toEqual([expect.stringMatching(/^sallyport: held: rule "privileged" needs 1 of leads; areq-1; decide within \d+m; Ctrl-C cancels$/), 'hint: sallyport approve areq-1', 'sallyport: approved: areq-1']);
    expect([codes(bench), bench.recorder.events[1]?.approvals.map(({ request }) => request), bench.context.activity.held]).toEqual([['exec.held', 'exec.intent'], ['areq-1'], 0]);
  });

  test.each([
    ['is denied', 'denied', '126 APPROVAL_DENIED', 'exec.denied APPROVAL_DENIED'], ['expires', 'expired', '126 APPROVAL_EXPIRED', 'exec.denied APPROVAL_EXPIRED'],
  ] as const)('that %s does not run', async (_what, decision, answer, recorded) => {
    const bench = anSshBench({ oncall });
    const run = await gate(bench, 'date');
    await bench.approver.decide(decision);
    expect([words(await run.outcome).split(' ', 2).join(' '), codes(bench)]).toEqual([answer, ['exec.held', recorded]]);
  });

  test('that its user cancels is taken back: 130', async () => {
    const bench = anSshBench({ oncall });
    const run = await gate(bench, 'date');
    await bench.approver.asked();
    run.cancel.abort(deny('HOLD_CANCELLED'));
    expect([words(await run.outcome), bench.approver.withdrawn, codes(bench)]).toEqual(['130 HOLD_CANCELLED', ['HOLD_CANCELLED'], ['exec.held', 'exec.cancelled HOLD_CANCELLED']]);
  });

  test('does not run on input that nobody saw, and keeps the approval unused; a rule that attaches input lets it', async () => {
    const bench = anSshBench({ oncall });
    const run = await gate(bench, 'date', {}, true);
    await bench.approver.decide('approved');
    expect([words(await run.outcome), bench.approver.used]).toEqual(['126 STDIN_NOT_APPROVED', 0]);
    let asked = 0;
    const late = await gate(bench, 'date', {}, () => ++asked > 1);
    await bench.approver.decide('approved');
    expect([words(await late.outcome), codes(bench).includes('exec.intent')]).toEqual(['126 STDIN_NOT_APPROVED', false]);
    const fed = await gate(bench, 'tee x', {}, true);
    await bench.approver.decide('approved');
    expect((await fed.outcome).outcome).toBe('permitted');
  });

  test('runs only once for one approval', async () => {
    const bench = anSshBench({ oncall });
    bench.approver.usable = false;
    const run = await gate(bench, 'date');
    await bench.approver.decide('approved');
    expect(words(await run.outcome)).toMatch(/^126 APPROVAL_WITHDRAWN/);
  });

  test('that cannot be known is asked about with every rule that speaks, and shows why', async () => {
    const bench = anSshBench({ oncall });
    const run = await gate(bench, '$X; date');
    await bench.approver.decide('approved');
    await bench.approver.decide('approved');
    expect([(await run.outcome).outcome, bench.approver.asks.map(({ by }) => by.rule).sort()]).toEqual(['permitted', ['opaque', 'privileged']]);
  });

  test('does not run when what it may do changes while it waits', async () => {
    const bench = anSshBench({ oncall });
    const run = await gate(bench, 'date', { pty: true });
    await bench.approver.asked();
    const rules = (oncall.rules ?? []).map((rule) => (rule.name === 'privileged' ? { ...rule, ssh: { commands: ['date'] } } : rule));
    bench.session.replacePermit(anSshPermit({ oncall: { ...oncall, rules } }, bench.session.permit.target as never, bench.clock.now()));
    await bench.approver.decide('approved');
    expect(words(await run.outcome)).toBe('126 APPROVAL_SUPERSEDED');
  });

  test('that is too long to be seen whole cannot be approved', async () => {
    const bench = anSshBench({ oncall });
    const run = await gate(bench, `tee ${'x'.repeat(33_000)}`);
    expect(words(await run.outcome)).toBe('126 APPROVAL_TOO_LARGE');
  });
});
