import { describe, expect, test } from '@jest/globals';
import { aConfig } from '../../../tools/testkit/policies.ts';
import { SallyportError } from '../../core/errors.ts';
import type { AuthMethod, Identity } from '../../core/identity/identity.ts';
import { createUserCaKey, readUserCa } from '../../core/identity/ssh-user-ca.ts';
import { sshString } from '../../core/identity/ssh-wire.ts';
import { certificateTimes, mintCredential, type CredentialAnswer, type MintingDeps } from './mint-credential.ts';
import { TicketDesk } from './tickets.ts';

const nowMs = Date.parse('2026-11-24T12:00:00Z');
const clock = { now: () => nowMs, monotonicMs: () => 0 };
const publicKey = `ssh-ed25519 ${Buffer.concat([sshString('ssh-ed25519'), sshString(Buffer.alloc(32, 1))]).toString('base64')}`;
const certificate = JSON.stringify({ want: 'certificate', publicKey });
const ask = { target: 'web-1', remote: { ip: '10.0.0.1', port: 50_000 } };

function identityBy(authMethod: AuthMethod, expSeconds = nowMs / 1000 + 3_600): Identity {
  return {
    provider: 'corp', issuer: 'https://id.example', subject: 'ada', username: 'oidc:ada', groups: [], uid: null, email: null, serviceAccount: null, actors: [], tokenId: null, authTimeMs: null, acr: null, amr: [], issuedAtMs: null,
    expiresAtMs: expSeconds * 1000 + 30_000, authMethod, claims: { exp: expSeconds },
  };
}

async function mint(line: string | null, identity: Identity = identityBy('Token'), over: Partial<MintingDeps> = {}): Promise<{ readonly answer: CredentialAnswer; readonly events: readonly Readonly<Record<string, unknown>>[] }> {
  const events: Readonly<Record<string, unknown>>[] = [];
  const answer = await mintCredential(line, { identity, credentialId: null }, ask, {
    config: { current: () => ({ config: aConfig([]), revision: 1 }), subscribe: () => () => undefined }, clock, log: { error: () => undefined, info: () => undefined, debug: () => undefined }, tickets: new TicketDesk(clock, null),
    userCa: readUserCa(createUserCaKey(), null), recorders: { event: async (code, facts) => void events.push({ code, ...facts }) }, ...over,
  });
  return { answer, events };
}

function codeOf(answer: CredentialAnswer): string | null {
  return 'error' in answer ? answer.error.code : null;
}

describe('who gets one', () => {
  test.each(['Token', 'DeviceLogin'] as const)('whoever came by %s, and it is on record without the credential', async (method) => {
    const { answer, events } = await mint('{"want":"ticket","target":"web-1","account":"deploy"}', identityBy(method));
    if (!('ticket' in answer)) throw new Error(JSON.stringify(answer));
    expect(events).toEqual([expect.objectContaining({ code: 'credential.minted', kind: 'ticket', target: 'web-1', account: 'deploy', method })]);
    expect(JSON.stringify(events)).not.toContain(answer.ticket.slice(-20));
  });

  test.each(['Ticket', 'Certificate'] as const)('nobody who came by %s', async (method) => {
    for (const line of ['{"want":"ticket","account":"deploy"}', certificate]) {
      const { answer, events } = await mint(line, identityBy(method));
      expect([codeOf(answer), events]).toEqual(['AUTH_METHOD_REFUSED', []]);
    }
  });

  test('nobody while it cannot be recorded', async () => {
    const failing = { event: async () => { throw new SallyportError('STORAGE_FULL'); } };
    expect(codeOf((await mint(certificate, identityBy('Token'), { recorders: failing })).answer)).toBe('STORAGE_FULL');
    expect(codeOf((await mint(certificate, identityBy('Token'), { recorders: { event: async () => { throw new Error('x'); } } })).answer)).toBe('INTERNAL');
  });
});

describe('a certificate', () => {
  test.each([[3_600, certificateTimes.lifeSeconds], [120, 120]])('of a token that lives %i s lives %i s', async (tokenSeconds, lifeSeconds) => {
    const { answer } = await mint(certificate, identityBy('Token', nowMs / 1000 + tokenSeconds));
    expect('certificate' in answer && Date.parse(answer.expiresAt) - nowMs).toBe(lifeSeconds * 1000);
  });

  test('is not given for a token that is over, also within the leeway of its reader', async () => {
    expect(codeOf((await mint(certificate, identityBy('Token', nowMs / 1000 - 1))).answer)).toBe('TOKEN_EXPIRED');
    expect(codeOf((await mint(certificate, { ...identityBy('Token'), claims: {} })).answer)).toBe('TOKEN_EXPIRED');
  });

  test.each([
    ['no authority', certificate, { userCa: null }, 'CERTIFICATE_INVALID'], ['no config', certificate, { config: { current: () => null, subscribe: () => () => undefined } }, 'CONFIG_NOT_LOADED'],
    ['a key of another kind', JSON.stringify({ want: 'certificate', publicKey: 'ssh-dss AAAA' }), {}, 'CERTIFICATE_INVALID'],
  ])('is not given with %s', async (_name, line, over, code) => {
    expect(codeOf((await mint(line, identityBy('Token'), over)).answer)).toBe(code);
  });

  test('is not given for claims that are too long for it', async () => {
    expect(codeOf((await mint(certificate, { ...identityBy('Token'), claims: { exp: nowMs / 1000 + 60, note: 'x'.repeat(30_000) } })).answer)).toBe('TOKEN_TOO_LONG');
  });
});

test.each([
  [null], [''], ['x'], ['[]'], ['null'], ['{}'], ['{"want":"shell"}'], ['{"want":"ticket"}'], ['{"want":"ticket","account":"a b"}'], ['{"want":"ticket","account":"-oProxyCommand=x"}'], ['{"want":"ticket","account":"deploy","bindAddress":"yes"}'],
  ['{"want":"ticket","account":"deploy","target":"web-2"}'], ['{"want":"certificate"}'], ['{"want":"certificate","publicKey":7}'], ['{"want":"certificate","publicKey":"AAAA"}'], [JSON.stringify({ want: 'certificate', publicKey: `${publicKey}\n${publicKey}` })],
])('%j is no request', async (line) => {
  const { answer, events } = await mint(line);
  expect([codeOf(answer), events]).toEqual(['HTTP_BAD_REQUEST', []]);
});
