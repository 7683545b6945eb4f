import { describe, expect, test } from '@jest/globals';
import { aProvider } from '../../tools/testkit/policies.ts';
import { createDeviceLogin, deviceLoginLimits } from './device-login.ts';

const provider = { ...aProvider({}), issuer: 'https://id.example', deviceLogin: { clientId: 'cli', scopes: ['openid', 'groups'] } };
const discovery = { issuer: 'https://id.example', device_authorization_endpoint: 'https://id.example/device/auth', token_endpoint: 'https://id.example/token' };
const started = { device_code: 'secret-device-code', user_code: 'WDJB-MJHT', verification_uri: 'https://id.example/device' };
const never = new AbortController().signal;

interface Answer { readonly status: number; readonly json: unknown }

function issuer(over: { readonly discovery?: unknown; readonly start?: Answer; readonly polls?: readonly (Answer | Error)[] } = {}): { readonly login: ReturnType<typeof createDeviceLogin>; readonly posted: { readonly address: string; readonly form: Readonly<Record<string, string>> }[]; readonly logged: string[] } {
  const posted: { readonly address: string; readonly form: Readonly<Record<string, string>> }[] = [];
  const logged: string[] = [];
  const polls = [...(over.polls ?? [])];
  const log = { error: (message: string, fields?: unknown) => void logged.push(message + JSON.stringify(fields)), info: () => undefined, debug: () => undefined };
  const login = createDeviceLogin({
    clock: { now: () => 0, monotonicMs: () => 0 }, log, fetch: async () => over.discovery ?? discovery,
    post: async (address, form) => {
      posted.push({ address, form });
      if (address === discovery.device_authorization_endpoint) return over.start ?? { status: 200, json: started };
      const answer = polls.shift() ?? { status: 400, json: { error: 'authorization_pending' } };
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  return { login, posted, logged };
}

describe('the start', () => {
  test('it asks as a public client for the scopes of the provider, and takes what the issuer leaves out from RFC 8628', async () => {
    const { login, posted } = issuer();
    expect(await login.start(provider, never)).toMatchObject({ userCode: 'WDJB-MJHT', verificationUri: 'https://id.example/device', verificationUriComplete: null, expiresInMs: 300_000, intervalMs: 5_000 });
    expect(posted).toEqual([{ address: discovery.device_authorization_endpoint, form: { client_id: 'cli', scope: 'openid groups' } }]);
  });

  test('times out of bounds are brought within them', async () => {
    const { login } = issuer({ start: { status: 200, json: { ...started, interval: 0, expires_in: 1e9 } } });
    expect(await login.start(provider, never)).toMatchObject({ expiresInMs: deviceLoginLimits.life.max * 1000, intervalMs: deviceLoginLimits.interval.min * 1000 });
  });

  test.each([
    ['the document is of another issuer', { discovery: { ...discovery, issuer: 'https://other.example' } }], ['the document names no endpoint', { discovery: { issuer: provider.issuer } }], ['the document is no object', { discovery: [] }],
    ['the issuer refuses', { start: { status: 400, json: { error: 'unauthorized_client' } } }], ['there is no code', { start: { status: 200, json: { ...started, user_code: undefined } } }],
    ['the code would move a cursor', { start: { status: 200, json: { ...started, user_code: '\u001b[2J' } } }], ['the address has a line break', { start: { status: 200, json: { ...started, verification_uri: 'https://id.example/\nnext line' } } }],
    ['the address is a script', { start: { status: 200, json: { ...started, verification_uri: 'javascript:alert(1)' } } }], ['the whole address is no address', { start: { status: 200, json: { ...started, verification_uri_complete: 7 } } }],
  ])('it fails when %s, and the log holds no secret', async (_name, over) => {
    const { login, logged } = issuer(over);
    await expect(login.start(provider, never)).rejects.toMatchObject({ code: 'ISSUER_UNREACHABLE' });
    expect([logged.length, logged.join('').includes('secret-device-code')]).toEqual([1, false]);
  });

  test('a provider without a client, and the eleventh start of a second, ask nobody', async () => {
    const { login, posted } = issuer();
    const { deviceLogin: _none, ...without } = provider;
    await expect(login.start(without, never)).rejects.toMatchObject({ code: 'ISSUER_UNREACHABLE' });
    for (let i = 0; i < deviceLoginLimits.startsPerSecond; i += 1) await login.start(provider, never);
    await expect(login.start(provider, never)).rejects.toMatchObject({ code: 'ISSUER_UNREACHABLE' });
    expect(posted.length).toBe(deviceLoginLimits.startsPerSecond);
  });

  test('who goes away meanwhile is told so, and not that the issuer failed', async () => {
    await expect(issuer({ discovery: [] }).login.start(provider, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  });
});

describe('a poll', () => {
  test.each([
    ['authorization_pending', { status: 400, json: { error: 'authorization_pending' } }, { outcome: 'pending' }], ['slow_down', { status: 400, json: { error: 'slow_down' } }, { outcome: 'slower' }],
    ['a busy issuer', { status: 503, json: {} }, { outcome: 'slower' }], ['too many requests', { status: 429, json: {} }, { outcome: 'slower' }], ['a broken network', new Error('reset'), { outcome: 'slower' }],
    ['expired_token', { status: 400, json: { error: 'expired_token' } }, { outcome: 'expired' }], ['access_denied', { status: 400, json: { error: 'access_denied' } }, { outcome: 'refused' }], ['an error nobody knows', { status: 400, json: {} }, { outcome: 'refused' }],
    ['no ID token', { status: 200, json: { access_token: 'x' } }, { outcome: 'refused' }], ['an ID token', { status: 200, json: { id_token: 'a.b.c', access_token: 'x' } }, { outcome: 'token', token: 'a.b.c' }],
  ])('%s', async (_name, answer, expected) => {
    const { login, posted } = issuer({ polls: [answer] });
    expect(await (await login.start(provider, never)).poll(never)).toEqual(expected);
    expect(posted[1]).toEqual({ address: discovery.token_endpoint, form: { grant_type: 'urn:ietf:params:oauth:grant-type:device_code', device_code: 'secret-device-code', client_id: 'cli' } });
  });

  test('an aborted one says why', async () => {
    const grant = await issuer({ polls: [new Error('aborted')] }).login.start(provider, never);
    await expect(grant.poll(AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  });
});
