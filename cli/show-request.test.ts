import { expect, test } from '@jest/globals';
import type { ApprovalRequestView } from '../contract/approval-api.ts';
import { showRequest } from './show-request.ts';

const request: ApprovalRequestView = {
  name: 'areq-7f3k', uid: 'uid', targetUid: 'uid-web', statementHmac: null, phase: 'Pending', scope: 'Statement', namespace: 'payments', target: 'web-1', database: 'deploy', sessionId: '01S', createdAtMs: 0, decideByMs: 900_000, decidedAtMs: null, expiresAtMs: null,
  requester: { key: 'k', username: 'alice', actorKeys: [] }, by: { policy: 'oncall', policyUid: 'u', policyGeneration: 2, policyDigest: 'sha256:x', rule: 'privileged' },
  approval: { groups: ['leads'], required: 1, decideWithinSeconds: 900, grantTtlSeconds: null }, approvals: 0, required: 1, decisions: [], digest: 'sha256:d', whole: true, mayDecide: true, mine: false,
  statement: { text: 'sudo systemctl restart nginx\u001b[2J', parameters: ['account=deploy', 'stdin=closed'], kind: 'Exec', objects: ['sudo', 'systemctl'], searchPath: '', inTransaction: false },
};

test('an SSH command is shown in the words of SSH, whole, its escapes visible', () => {
  expect(showRequest(request, 0).split('\n').slice(2, 10)).toEqual([
    'Target     web-1, account deploy, namespace payments', 'Asks for   running this command once, exactly as shown', 'Rule       policy oncall (generation 2), rule privileged; approvers: leads', 'Runs       sudo, systemctl',
    'Command    Exec', '  | sudo systemctl restart nginx\\u{1b}[2J', '  with account=deploy', '  with stdin=closed',
  ]);
});

test('a statement keeps its own words, and opening a session names both', () => {
  const statement = { text: 'select 1', parameters: ['7'], kind: 'Select', objects: [], searchPath: 'public', inTransaction: false };
  expect(showRequest({ ...request, statement }, 0)).toMatch(/database deploy[\s\S]*Objects {4}none; {2}search_path public\nStatement {2}Select\n {2}\| select 1\n {2}\$1 = 7\n/);
  expect(showRequest({ ...request, statement: null, scope: 'Session' }, 0)).toContain('database or account deploy');
});
