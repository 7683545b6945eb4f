import { beforeEach, describe, expect, test } from '@jest/globals';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import { type FakeClock, fakeClock } from '../../../tools/testkit/fake-clock.ts';
import { aConfig, aGrant, aPolicy, type ShortPolicy } from '../../../tools/testkit/policies.ts';
import { FakeApprover, silentLog } from '../../../tools/testkit/relay-context.ts';
import { deny, SallyportError } from '../errors.ts';
import type { HoldNotice } from './approval-hold.ts';
import { type AdmissionDeps, type AdmissionPort, openSession } from './open-session.ts';
import { SessionRegistry } from './registry.ts';

const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
const jwk = { ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256' };
const issuer = 'https://idp.bank.example';

let clock: FakeClock;
let config: ProxyConfig | null;
let configChanged: () => void;
let approver: FakeApprover;
let registry: SessionRegistry;
let steps: string[];
let sent: Uint8Array | null;
let keysFail: boolean;
let gone: AbortController;
let notices: HoldNotice[];
let holds: boolean[];

beforeEach(() => {
  [clock, approver, gone] = [fakeClock(), new FakeApprover(), new AbortController()];
  [steps, sent, keysFail, notices, holds] = [[], null, false, [], []];
  config = aConfig([aPolicy('oncall', {})]);
  const source = { current: () => (config ? { config, revision: 1 } : null), subscribe: (listener: () => void) => { configChanged = listener; return () => undefined; } };
  registry = new SessionRegistry({ clock, maxSessions: 5, log: silentLog, config: source, approver });
  deps = {
    config: source, registry, approver, clock, log: silentLog, newSessionId: () => 's', digestKey: new Uint8Array(32),
    keys: { keysOf: () => {
      steps.push('keys');
      if (keysFail) throw new SallyportError('ISSUER_UNREACHABLE');
      return (header: { readonly kid?: string }) => Promise.resolve(header.kid === 'k1' ? jwk : {}) as never;
    } },
  };
});
let deps: AdmissionDeps;

async function aToken(claims: JWTPayload = {}): Promise<string> {
  const now = Math.floor(clock.now() / 1000);
  return new SignJWT({ email: 'ann', groups: ['staff'], ...claims }).setProtectedHeader({ alg: 'ES256', kid: 'k1' }).setIssuer(issuer).setSubject('ann').setAudience('sallyport').setIssuedAt(now).setExpirationTime(now + 3_600).sign(privateKey);
}

function port(token: string | null): AdmissionPort {
  return {
    gone: gone.signal, announceHold: (notice) => void notices.push(notice),
    askForToken: () => {
      steps.push('asked');
      if (token === null) return Promise.resolve({ outcome: 'denied', denial: deny('TOKEN_MISSING') });
      sent = new TextEncoder().encode(token);
      return Promise.resolve({ outcome: 'token', token: sent });
    },
  };
}

const login = (token: string | null, id = 's1', signal = new AbortController().signal): ReturnType<typeof openSession> =>
  openSession(port(token), { target: 'orders-db', database: 'orders', sessionId: id, onHold: (held) => void holds.push(held) }, deps, signal);
const codeOf = (opened: Awaited<ReturnType<typeof login>>): string => (opened.outcome === 'denied' ? opened.denial.code : opened.outcome);
const isWiped = (): boolean => sent !== null && sent.every((byte) => byte === 0);
const onRequest: ShortPolicy = { onRequest: { groups: ['dba'], ttl: 60 } };

describe('an admission', () => {
  test('verifies the token, decides, and registers the session', async () => {
    const opened = await login(await aToken());
    if (opened.outcome !== 'opened') throw new Error(opened.denial.code);
    expect([opened.session.id, opened.session.identity.username, registry.list()]).toEqual(['s1', 'oidc:ann', [opened.session]]);
    expect([steps, holds, isWiped()]).toEqual([['asked', 'keys'], [], true]);
  });

  test('without a config asks for nothing', async () => {
    config = null;
    expect([codeOf(await login(await aToken())), steps]).toEqual(['CONFIG_NOT_LOADED', []]);
  });

  test('without a token is refused', async () => {
    expect(await login(null)).toMatchObject({ outcome: 'denied', denial: { code: 'TOKEN_MISSING' }, identity: null });
  });

  test.each<[string, () => Promise<string>, string]>([
    ['is none', () => Promise.resolve('secret'), 'TOKEN_MALFORMED'], ['is for others', async () => new SignJWT({}).setProtectedHeader({ alg: 'ES256', kid: 'k1' }).setIssuer('https://other.example').setSubject('x').setAudience('sallyport').setExpirationTime('1h').sign(privateKey), 'TOKEN_ISSUER_UNKNOWN'],
    ['is signed by nobody known', async () => `${(await aToken()).slice(0, -10)}AAAAAAAAAA`, 'TOKEN_SIGNATURE_INVALID'],
  ])('whose token %s is refused before any policy is asked, and nobody is recognized', async (_what, token, code) => {
    expect(await login(await token())).toMatchObject({ outcome: 'denied', denial: { code }, identity: null });
    expect([isWiped(), registry.size]).toEqual([true, 0]);
  });

  test('wipes the token also when verifying it throws', async () => {
    keysFail = true;
    const outcome = await login(await aToken()).then(codeOf, (error: unknown) => (error as SallyportError).code);
    expect([outcome, isWiped()]).toEqual(['ISSUER_UNREACHABLE', true]);
  });

  test('that a policy refuses names who was refused', async () => {
    config = aConfig([aPolicy('oncall', { subjects: ['group:others'] })]);
    expect(await login(await aToken())).toMatchObject({ outcome: 'denied', denial: { code: 'ACCESS_DENIED' }, identity: { subject: 'ann' } });
  });

  test('to a target that does not exist says no more than that access is denied', async () => {
    config = aConfig([aPolicy('oncall', {})], []);
    expect(codeOf(await login(await aToken()))).toBe('ACCESS_DENIED');
  });

  test('passes no limit when several come at once', async () => {
    config = aConfig([aPolicy('oncall', { limits: { concurrentSessions: 2 } })]);
    const token = await aToken();
    const opened = await Promise.all(['a', 'b', 'c', 'd'].map((id) => login(token, id)));
    expect(opened.map(codeOf).sort()).toEqual(['SESSION_LIMIT_REACHED', 'SESSION_LIMIT_REACHED', 'opened', 'opened']);
  });

  test('passes no limit of the process', async () => {
    const token = await aToken();
    const opened = await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map((id) => login(token, id)));
    expect(opened.map(codeOf).filter((code) => code !== 'opened')).toEqual(['TOO_MANY_CONNECTIONS']);
  });

  test('asks the config of now, not of when the token was asked for', async () => {
    const asking = login(await aToken());
    config = aConfig([]);
    expect(codeOf(await asking)).toBe('ACCESS_DENIED');
  });
});

describe('access on request', () => {
  beforeEach(() => { config = aConfig([aPolicy('oncall', onRequest)]); });
  const granted = (): void => { approver.activeGrants = [aGrant({ policy: 'oncall', scope: 'Session', session: 's1', until: '2030-01-01T00:00:00Z' })]; };

  test('waits for an approval, is announced, and opens with the grant; the login deadline stands still meanwhile', async () => {
    const asking = login(await aToken());
    await approver.asked();
    expect([approver.asks, notices.map(({ kind }) => kind), holds, isWiped()]).toMatchObject([[{ statement: null, scope: 'Session', by: { policy: 'oncall', rule: null } }], ['held'], [true], true]);
    granted();
    await approver.decide('approved');
    expect([codeOf(await asking), holds, notices.map(({ kind }) => kind)]).toEqual(['opened', [true, false], ['held', 'released']]);
  });

  test.each([['denied', 'APPROVAL_DENIED'], ['expired', 'APPROVAL_EXPIRED'], ['withdrawn', 'APPROVAL_WITHDRAWN']] as const)('that ends %s opens nothing', async (outcome, code) => {
    const asking = login(await aToken());
    await approver.decide(outcome);
    expect(await asking).toMatchObject({ outcome: 'denied', denial: { code }, identity: { subject: 'ann' } });
    expect([holds, registry.size]).toEqual([[true, false], 0]);
  });

  test('of a client that goes away detaches it, and the next login comes in by the grant', async () => {
    const asking = login(await aToken());
    await approver.asked();
    gone.abort(deny('CONNECTION_LOST'));
    expect([codeOf(await asking), approver.withdrawn]).toEqual(['CONNECTION_LOST', ['CONNECTION_LOST']]);
    approver.activeGrants = [aGrant({ policy: 'oncall', scope: 'Session', session: 's2', until: '2030-01-01T00:00:00Z' })];
    gone = new AbortController();
    expect(codeOf(await login(await aToken(), 's2'))).toBe('opened');
  });

  test('whose policy changed while it waited is superseded, one that is denied by now is denied', async () => {
    const asking = login(await aToken());
    await approver.decide('approved');
    expect(codeOf(await asking)).toBe('APPROVAL_SUPERSEDED');
    const again = login(await aToken());
    await approver.asked();
    config = aConfig([]);
    granted();
    await approver.decide('approved');
    expect(codeOf(await again)).toBe('ACCESS_DENIED');
  });

  test('cannot be asked for: refused', async () => {
    approver.refuses = 'APPROVAL_UNAVAILABLE';
    expect(codeOf(await login(await aToken()))).toBe('APPROVAL_UNAVAILABLE');
  });

  test('while the gateway drains is refused without asking anybody', async () => {
    registry.drain(0);
    expect([codeOf(await login(await aToken())), approver.asks]).toEqual(['DRAINING', []]);
  });

  test('without a config by then is refused', async () => {
    const asking = login(await aToken());
    await approver.asked();
    config = null;
    await approver.decide('approved');
    expect(codeOf(await asking)).toBe('CONFIG_NOT_LOADED');
  });
});

test('a change of the config ends the session that it opened', async () => {
  const opened = await login(await aToken());
  config = aConfig([]);
  configChanged();
  expect(opened.outcome === 'opened' && opened.session.ended?.reason).toBe('Revoked');
});
