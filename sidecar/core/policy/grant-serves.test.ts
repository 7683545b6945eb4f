import { expect, test } from '@jest/globals';
import { type Identity, subjectKey } from '../identity/identity.ts';
import type { Grant } from './decision.ts';
import { grantServes } from './grant-serves.ts';

const issuer = 'https://idp';
const alice: Identity = {
  provider: 'idp', issuer, subject: 'alice', username: 'oidc:alice', groups: [], uid: null, email: null, serviceAccount: null, actors: [], tokenId: null, authTimeMs: null, acr: null, amr: [], issuedAtMs: null,
  expiresAtMs: 1, claims: {},
};
const robot = { issuer, subject: 'robot' };
const window: Grant = {
  requestName: 'areq-1', requestUid: 'u', policyUid: 'p', policyGeneration: 1, rule: null, scope: 'Window', sessionId: null, subject: subjectKey(alice), actorKeys: [], target: 't', expiresAtMs: 1, approvers: [],
};

test.each<[string, Grant, Identity, boolean]>([
  ['a window serves any session of the person', window, alice, true],
  ['a window without a word on agents serves the person alone', { ...window, actorKeys: [] }, { ...alice, actors: [robot] }, false],
  ['a window given to an agent of the person does not serve the person alone', { ...window, actorKeys: [subjectKey(robot)] }, alice, false],
  ['a window given to an agent serves that agent for that person', { ...window, actorKeys: [subjectKey(robot)] }, { ...alice, actors: [robot] }, true],
  ['a window does not serve another person', window, { ...alice, subject: 'bob' }, false],
  ['a window does not serve the same name of another issuer', window, { ...alice, issuer: 'https://other' }, false],
  ['a window for a database serves a session on that', { ...window, database: 'orders' }, alice, true],
  ['a window for a database serves no session on another one', { ...window, database: 'payroll' }, alice, false],
  ['a session grant serves its session', { ...window, scope: 'Session', sessionId: 's1' }, alice, true],
  ['a session grant serves no other session', { ...window, scope: 'Session', sessionId: 's2' }, alice, false],
  ['a session grant without a session serves none', { ...window, scope: 'Session', sessionId: null }, alice, false],
])('%s (A1)', (_name, grant, identity, expected) => {
  expect(grantServes(grant, identity, { id: 's1', database: 'orders' })).toBe(expected);
});
