import { hash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { aBackend, aDecision, anIntent, aResult, aSubject } from '../../../tools/testkit/audit.ts';
import type { StatementIntent } from '../../../contract/audit.ts';
import { createSigner } from './checkpoint.ts';
import { LogEncoder, newChain } from './encode.ts';
import { Findings } from './findings.ts';
import { SessionEvents } from './ocsf.ts';
import { factsBody, lifecycleBody } from './ocsf-process.ts';
import { LogCheck } from './verify-log.ts';
import { SessionLedger } from './verify-session.ts';

const startMs = Date.UTC(2026, 8, 21, 14, 15, 23);
const origin = 'local/payments/01LOG';
const signer = createSigner(origin);
const place = { file: 'log/01LOG/0.ndjson', line: 1 };

/** A log of one session, line by line as it is stored. */
function aLog(intent: StatementIntent = anIntent(), { log = origin, gapMs = 0, decided = null as Readonly<Record<string, unknown>> | null } = {}): readonly string[] {
  const encoder = new LogEncoder({ origin: log, logId: '01LOG', namespace: 'payments', version: '0.1.0' });
  const chain = newChain('01SESSION');
  const events = new SessionEvents(aSubject(), aBackend());
  const made = events.intent(startMs + gapMs, 1, decided ? 3 : 2, intent);
  return [
    encoder.next('log.opened', lifecycleBody('log.opened', startMs, { log: { vkey: signer.vkey } }), null), encoder.next('session.start', events.sessionStart(startMs), chain),
    ...(decided ? [encoder.next('request.decided', factsBody('request.decided', startMs, decided), null)] : []), encoder.next('statement.intent', made.body, chain),
    encoder.next('statement.result', events.result(startMs + gapMs, made.mark, aResult(1)), chain),
    encoder.next('session.end', events.sessionEnd(startMs + gapMs, 'ClientClosed', { durationMs: 5, statements: 1, denied: 0, rows: 50, bytes: 4_120 }, null), chain),
  ].map((line) => line.replace(/\n$/, ''));
}

/** What a check of these lines finds; a `null` is a file that is missing. */
function findings(lines: readonly (string | null)[], gapBefore = false, vkey: string | null = signer.vkey): readonly (readonly [string, string])[] {
  const found = new Findings();
  const ledger = new SessionLedger(found);
  const leaves = Buffer.concat(aLog().map((line) => hash('sha256', Buffer.from(line), 'buffer')));
  const check = new LogCheck({ path: 'log/01LOG', logId: '01LOG', notes: '', leaves: lines.includes(null) ? null : leaves.subarray(0, 0), vkey, trusted: null }, ledger, found, gapBefore);
  for (const line of lines) {
    if (line === null) check.missingFile('log/01LOG/1.ndjson');
    else check.line(Buffer.from(line), place);
  }
  check.finish();
  ledger.finish(new Set());
  return found.list.map(({ kind, code }) => [kind, code] as const);
}

const ignored = new Set(['key-own', 'log-unsigned', 'leaves-missing', 'checkpoints-missing', 'no-checkpoint', 'leaves-short', 'records-unsigned']);
const notable = (lines: readonly (string | null)[], gapBefore = false): readonly (readonly [string, string])[] => findings(lines, gapBefore).filter(([, code]) => !ignored.has(code) && !code.includes('checkpoint') && !code.includes('leaves'));

describe('a log', () => {
  test('that is whole has nothing to find', () => {
    expect(notable(aLog())).toEqual([]);
  });

  test('with a record of another log is tampered with', () => {
    const [opened, ...rest] = aLog();
    const [foreign] = aLog(anIntent(), { log: 'local/payments/01OTHER' });
    expect(notable([opened ?? '', foreign ?? '', ...rest]).map(([, code]) => code)).toContain('foreign-record');
  });

  test('in which nothing stands for minutes is noted: the process was stopped, or its clock was set', () => {
    expect(notable(aLog(anIntent(), { gapMs: 600_000 }))).toEqual([['note', 'silence']]);
  });

  test('that lost a file is incomplete, and what follows is not called tampering', () => {
    const lines = aLog();
    const found = notable([lines[0] ?? '', lines[1] ?? '', null, lines[4] ?? '']);
    expect(found).toContainEqual(['incomplete', 'file-missing']);
    expect(found).toContainEqual(['incomplete', 'chain-gap']);
    expect(found.filter(([kind]) => kind === 'tampering')).toEqual([]);
  });

  test('that goes on from one that is not here may hold sessions without their start', () => {
    const lines = aLog();
    expect(notable([lines[0] ?? '', null, lines[4] ?? ''], true)).toContainEqual(['incomplete', 'session-without-start']);
    expect(notable([lines[0] ?? '', lines[4] ?? '']).map(([, code]) => code)).toContain('session-without-start');
  });

  test('whose statement needed an approval that the intent does not name is tampered with', () => {
    expect(notable(aLog(anIntent({ decision: aDecision({ effect: 'RequireApproval' }), approvals: [] })))).toContainEqual(['tampering', 'approval-missing']);
  });

  test('without its key says so', () => {
    expect(findings(aLog(), false, null)).toContainEqual(['key', 'key-missing']);
  });

  test.each<[string, Readonly<Record<string, unknown>>]>([
    ['a denial', { decision: 'Deny', digest: 'sha256:aa', approver: { key: '["https://idp.bank.example","00u1a90"]' } }], ['of something else', { decision: 'Approve', digest: 'sha256:bb', approver: { key: '["https://idp.bank.example","00u1a90"]' } }],
    ['of somebody else', { decision: 'Approve', digest: 'sha256:aa', approver: { key: '["https://idp.bank.example","other"]' } }],
  ])('whose intent rests on a decision that was %s is tampered with', (_what, decided) => {
    const approval = { request: 'areq-1', requestUid: 'r1', scope: 'Statement', approver: { key: '["https://idp.bank.example","00u1a90"]', username: 'oidc:bjones' }, decisionUid: 'd1', timeMs: startMs - 1_000, method: 'oidc', boundDigest: 'sha256:aa' };
    expect(notable(aLog(anIntent({ approvals: [approval] }), { decided: { decisionUid: 'd1', ...decided } }))).toEqual([['tampering', 'approval-differs']]);
  });
});
