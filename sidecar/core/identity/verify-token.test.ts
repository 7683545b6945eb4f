import { describe, expect, test } from '@jest/globals';
import { createLocalJWKSet, exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK, type JWTHeaderParameters } from 'jose';
import { aConfig, aProvider } from '../../../tools/testkit/policies.ts';
import type { IdentityProvider, ProxyConfig } from '../../../contract/proxy-config.ts';
import { SallyportError } from '../errors.ts';
import type { KeySource } from '../ports.ts';
import { verifyToken } from './verify-token.ts';

const nowMs = Date.parse('2025-06-02T12:00:00Z');
const now = nowMs / 1000;
const issuer = 'https://idp.bank.example';
const first = await signer('RS256', 'k1');
const second = await signer('ES256', 'k2');
const stranger = await signer('RS256', 'k1');
const published = keySource([first.jwk, second.jwk]);
const claims = { iss: issuer, aud: 'sallyport', sub: 'u-1', email: 'ann@bank.example', groups: ['sre'], iat: now - 10, exp: now + 300 };

interface Signer { readonly privateKey: CryptoKey; readonly jwk: JWK; readonly alg: string }

async function signer(alg: string, kid: string): Promise<Signer> {
  const pair = await generateKeyPair(alg, { extractable: true });
  return { privateKey: pair.privateKey, jwk: { ...(await exportJWK(pair.publicKey)), kid, alg, use: 'sig' }, alg };
}

function keySource(keys: readonly JWK[]): KeySource {
  return { keysOf: () => createLocalJWKSet({ keys: [...keys] }) };
}

function sign(payload: Readonly<Record<string, unknown>>, by: Signer = first, header: Partial<JWTHeaderParameters> = {}): Promise<string> {
  return new SignJWT(payload).setProtectedHeader({ alg: by.alg, kid: by.jwk.kid, typ: 'JWT', ...header } as JWTHeaderParameters).sign(by.privateKey);
}

/** Header and payload as written, any signature: for what no honest library would sign. */
function raw(header: unknown, payload: unknown, signature = 'AAAA'): string {
  const part = (value: unknown): string => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
  return `${part(header)}.${part(payload)}.${signature}`;
}

function configOf(...providers: readonly Partial<IdentityProvider>[]): ProxyConfig {
  return { ...aConfig([]), identityProviders: providers.map((over) => aProvider(over)) };
}

async function codeOf(token: string, config = configOf({}), keys = published): Promise<string> {
  const outcome = await verifyToken(token, config, keys, nowMs);
  return outcome.outcome === 'verified' ? 'verified' : outcome.denial.code;
}

function without(name: string): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name));
}

test('a good token gives the identity that the provider maps', async () => {
  const outcome = await verifyToken(await sign({ ...claims, jti: 'j1', acr: 'aal2', amr: ['otp'], auth_time: now - 60 }), configOf({}), published, nowMs);
  expect(outcome).toMatchObject({
    outcome: 'verified',
    identity: {
      provider: 'okta', issuer, subject: 'u-1', username: 'oidc:ann@bank.example', groups: ['sre'], uid: null, email: 'ann@bank.example', serviceAccount: null, actors: [],
      tokenId: 'j1', acr: 'aal2', amr: ['otp'], authTimeMs: nowMs - 60_000, issuedAtMs: nowMs - 10_000, expiresAtMs: nowMs + 330_000,
    },
  });
});

describe('what is refused', () => {
  const attack = (header: Partial<JWTHeaderParameters> & Readonly<Record<string, unknown>>): Promise<string> => sign(claims, first, header);
  test.each<readonly [string, string, () => string | Promise<string>]>([
    ['nothing', 'TOKEN_MISSING', () => ''],
    ['a blank', 'TOKEN_MALFORMED', () => ' '],
    ['one byte', 'TOKEN_MALFORMED', () => 'x'],
    ['a NUL byte', 'TOKEN_MALFORMED', () => '\0'],
    ['a password', 'TOKEN_MALFORMED', () => 'correct horse battery staple'],
    ['a token with a NUL byte at its end', 'TOKEN_MALFORMED', async () => `${await sign(claims)}\0`],
    ['a token with a line end', 'TOKEN_MALFORMED', async () => `${await sign(claims)}\n`],
    ['the JSON form', 'TOKEN_MALFORMED', async () => { const [header, payload, signature] = (await sign(claims)).split('.'); return JSON.stringify({ protected: header, payload, signature }); }],
    ['an encrypted token of five parts', 'TOKEN_MALFORMED', () => 'aa.bb.cc.dd.ee'],
    ['two parts', 'TOKEN_MALFORMED', async () => (await sign(claims)).split('.').slice(0, 2).join('.')],
    ['a payload that is a list', 'TOKEN_MALFORMED', () => raw({ alg: 'RS256' }, [])],
    ['bytes that are no UTF-8', 'TOKEN_MALFORMED', () => `${Buffer.from('{"alg":"RS256"}').toString('base64url')}.${Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url')}.AAAA`],
    ['over 16 KiB', 'TOKEN_TOO_LONG', () => sign({ ...claims, padding: 'x'.repeat(13_000) })],
    ['alg none', 'TOKEN_ALGORITHM_REFUSED', () => raw({ alg: 'none' }, claims, '')],
    ['alg None', 'TOKEN_ALGORITHM_REFUSED', () => raw({ alg: 'None' }, claims, '')],
    ['an HMAC made with the public key', 'TOKEN_ALGORITHM_REFUSED', () => new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(new TextEncoder().encode(JSON.stringify(first.jwk)))],
    ['an unknown algorithm', 'TOKEN_ALGORITHM_REFUSED', () => raw({ alg: 'XX999' }, claims)],
    ['an algorithm that the provider does not list', 'TOKEN_ALGORITHM_REFUSED', () => raw({ alg: 'PS512' }, claims)],
    ['no algorithm', 'TOKEN_MALFORMED', () => raw({}, claims)],
    ['crit', 'TOKEN_HEADER_REFUSED', () => raw({ alg: 'RS256', crit: ['exp'], exp: 1 }, claims)],
    ['b64', 'TOKEN_HEADER_REFUSED', () => raw({ alg: 'RS256', b64: false }, claims)],
    ['an embedded key', 'TOKEN_HEADER_REFUSED', () => sign(claims, stranger, { jwk: stranger.jwk })],
    ['a key address', 'TOKEN_HEADER_REFUSED', () => attack({ jku: 'https://evil.example/keys' })],
    ['a certificate address', 'TOKEN_HEADER_REFUSED', () => attack({ x5u: 'https://evil.example/cert' })],
    ['a certificate chain', 'TOKEN_HEADER_REFUSED', () => attack({ x5c: ['MIIB'] })],
    ['a key id that is a number', 'TOKEN_HEADER_REFUSED', () => raw({ alg: 'RS256', kid: 7 }, claims)],
    ['a key id with a line end', 'TOKEN_HEADER_REFUSED', () => raw({ alg: 'RS256', kid: 'k1\n' }, claims)],
    ['a key id of 10,000 characters', 'TOKEN_HEADER_REFUSED', () => raw({ alg: 'RS256', kid: 'k'.repeat(10_000) }, {})],
    ['a key id that is a path', 'TOKEN_SIGNATURE_INVALID', () => attack({ kid: '../../etc/passwd' })],
    ['a header name that occurs twice', 'TOKEN_MALFORMED', () => raw('{"alg":"none","alg":"RS256"}', claims)],
    ['a header name that occurs twice, once escaped', 'TOKEN_MALFORMED', () => raw('{"alg":"none","\\u0061lg":"RS256"}', claims)],
    ['a claim that occurs twice', 'TOKEN_MALFORMED', () => raw({ alg: 'RS256' }, `{"iss":"${issuer}","sub":"a","sub" : "b"}`)],
    ['an inner claim that occurs twice', 'TOKEN_MALFORMED', () => raw({ alg: 'RS256' }, `{"iss":"${issuer}","act":[{"sub":"a","sub":"b"}]}`)],
    ['a logout token', 'TOKEN_TYPE_WRONG', () => attack({ typ: 'logout+jwt' })],
    ['a security event', 'TOKEN_TYPE_WRONG', () => attack({ typ: 'secevent+jwt' })],
    ['a type that is no text', 'TOKEN_TYPE_WRONG', () => raw({ alg: 'RS256', typ: 1 }, claims)],
    ['the key of a stranger', 'TOKEN_SIGNATURE_INVALID', () => sign(claims, stranger)],
    ['an unknown key id', 'TOKEN_SIGNATURE_INVALID', () => attack({ kid: 'k9' })],
    ['a changed payload', 'TOKEN_SIGNATURE_INVALID', async () => { const [header, , signature] = (await sign(claims)).split('.'); return `${header}.${Buffer.from(JSON.stringify({ ...claims, sub: 'root' })).toString('base64url')}.${signature}`; }],
    ['no signature', 'TOKEN_SIGNATURE_INVALID', async () => (await sign(claims)).replace(/[^.]*$/, '')],
    ['an unknown issuer', 'TOKEN_ISSUER_UNKNOWN', () => sign({ ...claims, iss: 'https://evil.example' })],
    ['an issuer with a slash more', 'TOKEN_ISSUER_UNKNOWN', () => sign({ ...claims, iss: `${issuer}/` })],
    ['no issuer', 'TOKEN_ISSUER_UNKNOWN', () => sign(without('iss'))],
    ['another audience', 'TOKEN_AUDIENCE_WRONG', () => sign({ ...claims, aud: 'other' })],
    ['other audiences', 'TOKEN_AUDIENCE_WRONG', () => sign({ ...claims, aud: ['a', 'b'] })],
    ['no audience', 'TOKEN_AUDIENCE_WRONG', () => sign(without('aud'))],
    ['no end', 'TOKEN_CLAIM_MISSING', () => sign(without('exp'))],
    ['an end that is text', 'TOKEN_CLAIM_INVALID', () => sign({ ...claims, exp: '9999999999' })],
    ['no subject', 'TOKEN_CLAIM_MISSING', () => sign(without('sub'))],
    ['an empty subject', 'TOKEN_CLAIM_MISSING', () => sign({ ...claims, sub: '' })],
    ['a blank subject', 'TOKEN_CLAIM_MISSING', () => sign({ ...claims, sub: '  ' })],
    ['a subject that is a number', 'TOKEN_CLAIM_MISSING', () => sign({ ...claims, sub: 7 })],
    ['no user name', 'TOKEN_CLAIM_MISSING', () => sign(without('email'))],
    ['a user name with a line end', 'TOKEN_CLAIM_MISSING', () => sign({ ...claims, email: 'ann@bank.example\nroot' })],
    ['a user name that runs from right to left', 'TOKEN_CLAIM_MISSING', () => sign({ ...claims, email: '\u202Enna@bank.example' })],
    ['an address that is not verified', 'TOKEN_EMAIL_UNVERIFIED', () => sign({ ...claims, email_verified: false })],
    ['an address whose proof is text', 'TOKEN_EMAIL_UNVERIFIED', () => sign({ ...claims, email_verified: 'true' })],
    ['groups that are numbers', 'TOKEN_CLAIM_INVALID', () => sign({ ...claims, groups: [1] })],
    ['groups that are an object', 'TOKEN_CLAIM_INVALID', () => sign({ ...claims, groups: { sre: true } })],
    ['a group of the system', 'TOKEN_CLAIM_INVALID', () => sign({ ...claims, groups: ['system:masters'] })],
    ['an actor without a subject', 'TOKEN_ACTOR_INVALID', () => sign({ ...claims, act: {} })],
    ['an actor that is text', 'TOKEN_ACTOR_INVALID', () => sign({ ...claims, act: 'bot' })],
    ['an actor of null', 'TOKEN_ACTOR_INVALID', () => sign({ ...claims, act: null })],
    ['five actors', 'TOKEN_ACTOR_INVALID', () => sign({ ...claims, act: chainOf(5) })],
  ])('%s: %s', async (_, code, token) => {
    expect(await codeOf(await token())).toBe(code);
  });
});

function chainOf(length: number): object {
  return length === 1 ? { sub: 'bot1' } : { sub: `bot${length}`, act: chainOf(length - 1) };
}

describe('times at one second of their limit, with 30 s of leeway', () => {
  test.each([
    ['exp', { exp: now - 29 }, 'verified'], ['exp', { exp: now - 30 }, 'TOKEN_EXPIRED'], ['exp', { exp: now - 31 }, 'TOKEN_EXPIRED'],
    ['nbf', { nbf: now + 30 }, 'verified'], ['nbf', { nbf: now + 31 }, 'TOKEN_NOT_YET_VALID'],
    ['iat', { iat: now + 30 }, 'verified'], ['iat', { iat: now + 31 }, 'TOKEN_NOT_YET_VALID'],
  ] as const)('%s %j: %s', async (_, times, code) => {
    expect(await codeOf(await sign({ ...claims, ...times }))).toBe(code);
  });

  test('without leeway the second of expiry is too late', async () => {
    const strict = configOf({ clockSkewSeconds: 0 });
    expect([await codeOf(await sign({ ...claims, exp: now + 1 }), strict), await codeOf(await sign({ ...claims, exp: now }), strict)]).toEqual(['verified', 'TOKEN_EXPIRED']);
  });
});

describe('the prompt of psql', () => {
  test('a token cut at 4,095 bytes is told to be cut', async () => {
    const whole = await sign({ ...claims, padding: 'x'.repeat(5_000) });
    expect(await codeOf(whole.slice(0, 4_095))).toBe('TOKEN_TRUNCATED');
    expect(await codeOf(whole.slice(0, 4_096))).toBe('TOKEN_MALFORMED');
  });

  test('a whole token of 4,095 bytes is verified, and told to be expired when it is', async () => {
    expect([await codeOf(await tokenOfLength(4_095, claims)), await codeOf(await tokenOfLength(4_095, { ...claims, exp: now - 60 }))]).toEqual(['verified', 'TOKEN_EXPIRED']);
  });
});

async function tokenOfLength(length: number, payload: Readonly<Record<string, unknown>>): Promise<string> {
  // Names of claims and of the key id grow by single bytes, base64url by 3 or 4: some combination gives every length.
  for (let padding = 2_000; padding < 2_800; padding++) {
    for (const typ of ['JWT', 'jwt', 'application/jwt', 'at+jwt']) {
      const token = await sign({ ...payload, padding: 'x'.repeat(padding) }, first, { typ });
      if (token.length === length) return token;
      if (token.length < length - 40) break;
    }
  }
  throw new Error('no such length');
}

describe('several providers', () => {
  test('of two with one issuer the one whose audience fits decides, whatever their order', async () => {
    const people = { name: 'people', audiences: ['sallyport'], usernamePrefix: 'p:' };
    const jobs = { name: 'jobs', audiences: ['sallyport-ci', 'ci'], usernameClaim: 'sub', usernamePrefix: 'ci:' };
    for (const config of [configOf(people, jobs), configOf(jobs, people)]) {
      expect(await verifyToken(await sign({ ...claims, aud: ['x', 'ci'] }), config, published, nowMs)).toMatchObject({ identity: { provider: 'jobs', username: 'ci:u-1' } });
      expect(await verifyToken(await sign(claims), config, published, nowMs)).toMatchObject({ identity: { provider: 'people', username: 'p:ann@bank.example' } });
      expect(await codeOf(await sign({ ...claims, aud: 'ci', exp: now - 60 }), config)).toBe('TOKEN_EXPIRED');
    }
  });

  test('the key of one issuer signs nothing for another', async () => {
    const other = 'https://other.example';
    const config = configOf({}, { name: 'other', issuer: other });
    const keys: KeySource = { keysOf: (provider) => createLocalJWKSet({ keys: [provider.issuer === other ? stranger.jwk : first.jwk] }) };
    expect([await codeOf(await sign({ ...claims, iss: other }), config, keys), await codeOf(await sign({ ...claims, iss: other }, stranger), config, keys)]).toEqual(['TOKEN_SIGNATURE_INVALID', 'verified']);
  });
});

test('a token without a key id is tried against every key that fits', async () => {
  const both = keySource([{ ...stranger.jwk, kid: 'a' }, { ...first.jwk, kid: 'b' }]);
  const unnamed = (by: Signer): Promise<string> => new SignJWT(claims).setProtectedHeader({ alg: 'RS256' }).sign(by.privateKey);
  const third = await signer('RS256', 'c');
  expect([await codeOf(await unnamed(first), configOf({}), both), await codeOf(await unnamed(third), configOf({}), both)]).toEqual(['verified', 'TOKEN_SIGNATURE_INVALID']);
});

test('a second algorithm of the provider verifies', async () => {
  expect(await codeOf(await sign(claims, second))).toBe('verified');
});

test('an issuer without keys is told as unreachable, not as a bad token', async () => {
  const keys: KeySource = { keysOf: () => () => Promise.reject(new SallyportError('ISSUER_UNREACHABLE')) };
  expect(await codeOf(await sign(claims), configOf({}), keys)).toBe('ISSUER_UNREACHABLE');
});

test('an issuer whose keys cannot be used is told as unreachable, not as a bad token', async () => {
  const keys: KeySource = { keysOf: () => () => Promise.resolve({ kty: 'RSA', n: '!', e: '!', alg: 'RS256' } as never) };
  expect(await codeOf(await sign(claims), configOf({}), keys)).toBe('ISSUER_UNREACHABLE');
});

test('a token with a forbidden algorithm or of an unknown issuer causes no request for keys', async () => {
  let asked = 0;
  const keys: KeySource = { keysOf: () => { asked += 1; throw new Error('asked'); } };
  await codeOf(raw({ alg: 'none' }, claims), configOf({}), keys);
  await codeOf(await sign({ ...claims, iss: 'https://evil.example' }), configOf({}), keys);
  expect(asked).toBe(0);
});

test('a workload is named by its subject and the groups that Kubernetes derives', async () => {
  const config = configOf({ type: 'ServiceAccount', usernameClaim: 'sub', usernamePrefix: '', groupsClaim: null });
  const token = await sign({ ...claims, sub: 'system:serviceaccount:ci:migrator', groups: ['system:masters'], 'kubernetes.io': { serviceaccount: { uid: 'u-9' } } });
  expect(await verifyToken(token, config, published, nowMs)).toMatchObject({
    identity: { username: 'system:serviceaccount:ci:migrator', groups: ['system:serviceaccounts', 'system:serviceaccounts:ci', 'system:authenticated'], uid: 'u-9', serviceAccount: { namespace: 'ci', name: 'migrator' } },
  });
  expect(await codeOf(await sign({ ...claims, sub: 'system:serviceaccount:ci' }), config)).toBe('TOKEN_CLAIM_INVALID');
  expect(await codeOf(await sign({ ...claims, sub: 'system:serviceaccount:a:b:c' }), config)).toBe('TOKEN_CLAIM_INVALID');
});

test('a person whose name reads like a workload is refused, prefix or not', async () => {
  const config = configOf({ usernameClaim: 'sub', usernamePrefix: '' });
  expect(await codeOf(await sign({ ...claims, sub: 'system:serviceaccount:ci:migrator' }), config)).toBe('TOKEN_CLAIM_INVALID');
});

test('an agent token carries the agents, outermost first, with the issuer when they name one', async () => {
  const token = await sign({ ...claims, act: { sub: 'bot', iss: 'https://agents.example', act: { sub: 'inner' } } });
  expect(await verifyToken(token, configOf({}), published, nowMs)).toMatchObject({ identity: { subject: 'u-1', actors: [{ issuer: 'https://agents.example', subject: 'bot' }, { issuer, subject: 'inner' }] } });
  expect(await codeOf(await sign({ ...claims, act: chainOf(4) }))).toBe('verified');
});

test('no denial holds a part of the token', async () => {
  const token = await sign({ ...claims, sub: 'canary-subject', groups: { canary: 1 } });
  const outcome = await verifyToken(token, configOf({}), published, nowMs);
  expect(JSON.stringify(outcome)).not.toMatch(/canary|eyJ/);
});
