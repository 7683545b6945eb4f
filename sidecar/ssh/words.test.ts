import { expect, test } from '@jest/globals';
import { deny } from '../core/errors.ts';
import { denialLines, holdLines } from './words.ts';

test('a refusal says what, by which policy and rule, its code, and what to do', () => {
  expect(denialLines(deny('COMMAND_DENIED', { detail: 'policy "oncall", rule "no-root"' }))).toEqual(['sallyport: command denied by policy "oncall", rule "no-root" [COMMAND_DENIED]', 'hint: ask the owners of the policy, or run a command that a rule allows']);
  expect(denialLines(deny('COMMAND_UNKNOWN', { message: 'no', detail: 'a reason', hint: 'h' }))[0]).toBe('sallyport: no: a reason [COMMAND_UNKNOWN]');
  expect(denialLines(deny('COMMAND_DENIED', { message: 'no by policy "a"', detail: 'policy "a"', hint: 'h' }))[0]).toBe('sallyport: no by policy "a" [COMMAND_DENIED]');
});

test('what a person or a target wrote cannot act on the terminal', () => {
  expect(denialLines(deny('APPROVAL_DENIED', { detail: 'no\u001b[2J\n\u202eoff', hint: 'h' }))[0]).toBe('sallyport: the approver said no: no\\u{1b}[2J\\n\\u{202e}off [APPROVAL_DENIED]');
});

test('a hold says rule, number, groups, request, deadline and how to take it back; then that it still waits, then that it goes on', () => {
  const by = { policy: 'oncall', policyUid: 'u', policyGeneration: 1, policyDigest: 'd', rule: 'privileged-shell' };
  const notice = { kind: 'held', request: 'areq-7f3k', groups: ['sre-leads', 'dba'], required: 2, by, decideByMs: 900_000, howToDecide: 'kubectl sallyport approve areq-7f3k -n payments', locksKept: false } as const;
  expect(holdLines(notice, 0)).toEqual(['sallyport: held: rule "privileged-shell" needs 2 of sre-leads, dba; areq-7f3k; decide within 15m; Ctrl-C cancels', 'hint: kubectl sallyport approve areq-7f3k -n payments']);
  expect(holdLines({ ...notice, kind: 'waiting' }, 870_000)).toEqual(['sallyport: still waiting for areq-7f3k; 30s left']);
  expect(holdLines({ ...notice, kind: 'released' }, 0)).toEqual(['sallyport: approved: areq-7f3k']);
  expect(holdLines({ ...notice, by: { ...by, rule: null }, decideByMs: 86_400_000 }, 0, 'session held')[0]).toBe('sallyport: session held: policy "oncall" needs 2 of sre-leads, dba; areq-7f3k; decide within 24h; Ctrl-C cancels');
});
