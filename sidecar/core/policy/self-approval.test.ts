import { expect, test } from '@jest/globals';
import { anIdentity, type ShortIdentity } from '../../../tools/testkit/policies.ts';
import { subjectKey } from '../identity/identity.ts';
import { mayDecide } from './self-approval.ts';

const key = (user: string): string => subjectKey(anIdentity({ user }));
const requester = { key: key('ann'), actorKeys: [key('bot')] };

test.each<[string, ShortIdentity, string | null]>([
  ['another person of the group', { user: 'dora', groups: ['dba'] }, null], ['another person', { user: 'dora', groups: ['staff'] }, 'APPROVAL_NOT_APPROVER'], ['the requester', { user: 'ann', groups: ['dba'] }, 'APPROVAL_SELF'],
  ['the agent that asked', { user: 'bot', groups: ['dba'] }, 'APPROVAL_SELF'], ['an agent of the requester', { user: 'ann', groups: ['dba'], actors: ['other-bot'] }, 'APPROVAL_SELF'], ['somebody through the same agent', { user: 'dora', groups: ['dba'], actors: ['bot'] }, 'APPROVAL_SELF'],
  ['an agent of another person', { user: 'dora', groups: ['dba'], actors: ['other-bot'] }, 'APPROVAL_NOT_APPROVER'], ['a workload', { sa: 'ci/migrator', groups: ['dba'] }, 'APPROVAL_NOT_APPROVER'],
])('%s', (_who, identity, code) => {
  expect(mayDecide(requester, anIdentity(identity), ['dba', 'sre'])?.code ?? null).toBe(code);
});
