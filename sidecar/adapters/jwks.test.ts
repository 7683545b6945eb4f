import { afterEach, describe, expect, test } from '@jest/globals';
import { exportJWK, generateKeyPair, type JWK } from 'jose';
import { fakeClock, type FakeClock } from '../../tools/testkit/fake-clock.ts';
import { aProvider } from '../../tools/testkit/policies.ts';
import { createIssuerKeys, type IssuerKeys, issuerKeyLimits } from './jwks.ts';

const issuer = 'https://idp.bank.example';
const discovery = `${issuer}/.well-known/openid-configuration`;
const provider = aProvider();
const k1 = await publicKey('k1');
const k2 = await publicKey('k2');
const open: IssuerKeys[] = [];
afterEach(() => { for (const keys of open.splice(0)) keys[Symbol.dispose](); });

async function publicKey(kid: string): Promise<JWK> {
  return { ...(await exportJWK((await generateKeyPair('ES256', { extractable: true })).publicKey)), kid, alg: 'ES256' };
}

/** An issuer that answers from memory; `answers` may be changed, `down` makes it fail. */
function issuerWith(keys: readonly unknown[], over: Readonly<Record<string, unknown>> = {}): { keys: IssuerKeys; clock: FakeClock; asked: string[]; answers: Record<string, unknown>; logged: unknown[]; state: { down: boolean } } {
  const clock = fakeClock();
  const asked: string[] = [];
  const logged: unknown[] = [];
  const state = { down: false };
  const answers: Record<string, unknown> = { [discovery]: { issuer, jwks_uri: `${issuer}/keys` }, [`${issuer}/keys`]: { keys }, ...over };
  const source = createIssuerKeys({
    clock, log: { error: (message, fields) => logged.push([message, fields]), info: () => {}, debug: () => {} },
    fetch: async (address) => {
      asked.push(address);
      await Promise.resolve();
      if (state.down || answers[address] === undefined) throw new Error('connection refused');
      return answers[address];
    },
  });
  open.push(source);
  return { keys: source, clock, asked, answers, logged, state };
}

async function ask(source: IssuerKeys, kid: string, of = provider): Promise<string> {
  const token = { payload: '', signature: '' };
  try {
    await source.keysOf(of)({ alg: 'ES256', kid }, token);
    return 'key';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test('keys are found by discovery, once for many logins', async () => {
  const { keys, asked } = issuerWith([k1]);
  expect(await Promise.all(Array.from({ length: 20 }, () => ask(keys, 'k1')))).toEqual(Array.from({ length: 20 }, () => 'key'));
  expect(asked).toEqual([discovery, `${issuer}/keys`]);
});

test('jwksUri replaces discovery', async () => {
  const { keys, asked } = issuerWith([], { 'https://keys.example/set': { keys: [k1] } });
  expect(await ask(keys, 'k1', aProvider({ jwksUri: 'https://keys.example/set' }))).toBe('key');
  expect(asked).toEqual(['https://keys.example/set']);
});

test('an issuer that ends in a slash is discovered below it', async () => {
  const { keys } = issuerWith([k1], { [discovery]: { issuer: `${issuer}/`, jwks_uri: `${issuer}/keys` } });
  expect(await ask(keys, 'k1', aProvider({ issuer: `${issuer}/` }))).toBe('key');
});

test('a rotated key is fetched at its first use', async () => {
  const { keys, answers } = issuerWith([k1]);
  await ask(keys, 'k1');
  answers[`${issuer}/keys`] = { keys: [k2] };
  expect([await ask(keys, 'k2'), await ask(keys, 'k1')]).toEqual(['key', 'ERR_JWKS_NO_MATCHING_KEY']);
});

test('invented key ids cause one fetch per 30 s, however many come', async () => {
  const { keys, clock, asked } = issuerWith([k1]);
  await ask(keys, 'k1');
  const flood = (): Promise<string[]> => Promise.all(Array.from({ length: 50 }, (_, index) => ask(keys, `evil-${index}`)));
  await flood();
  await flood();
  expect(asked).toHaveLength(4);
  clock.advance(issuerKeyLimits.unknownKeyIntervalMs - 1);
  await flood();
  expect(asked).toHaveLength(4);
  clock.advance(1);
  await flood();
  expect(asked).toHaveLength(6);
});

describe('while the issuer does not answer', () => {
  test('the last good keys serve until they are 24 h old, and not longer', async () => {
    const { keys, clock, state, logged } = issuerWith([k1]);
    await ask(keys, 'k1');
    state.down = true;
    clock.advance(issuerKeyLimits.maxAgeMs - 1);
    expect(await ask(keys, 'k1')).toBe('key');
    clock.advance(1);
    expect(await ask(keys, 'k1')).toBe('ISSUER_UNREACHABLE');
    expect(logged.length).toBeGreaterThan(0);
    state.down = false;
    clock.advance(issuerKeyLimits.retryMs);
    expect(await ask(keys, 'k1')).toBe('key');
  });

  test('an unknown key id is refused and leaves the known keys', async () => {
    const { keys, state } = issuerWith([k1]);
    await ask(keys, 'k1');
    state.down = true;
    expect([await ask(keys, 'k2'), await ask(keys, 'k1')]).toEqual(['ERR_JWKS_NO_MATCHING_KEY', 'key']);
  });

  test('logins without any keys are refused, with one attempt per 5 s', async () => {
    const { keys, clock, state, asked } = issuerWith([k1]);
    state.down = true;
    for (let login = 0; login < 10; login++) expect(await ask(keys, 'k1')).toBe('ISSUER_UNREACHABLE');
    expect(asked).toHaveLength(1);
    state.down = false;
    expect(await ask(keys, 'k1')).toBe('ISSUER_UNREACHABLE');
    clock.advance(issuerKeyLimits.retryMs);
    expect(await ask(keys, 'k1')).toBe('key');
  });
});

test('keys are fetched again in the background when they are 10 min old', async () => {
  const { keys, clock, answers, asked } = issuerWith([k1]);
  await ask(keys, 'k1');
  answers[`${issuer}/keys`] = { keys: [k2] };
  clock.advance(issuerKeyLimits.refreshMs);
  expect(await ask(keys, 'k1')).toBe('key');
  await keys.prepare([provider]);
  await new Promise((resolve) => setImmediate(resolve));
  expect(asked).toHaveLength(4);
  expect([await ask(keys, 'k1'), keys.ages().get('okta')]).toEqual(['ERR_JWKS_NO_MATCHING_KEY', 0]);
});

describe('an answer that is not accepted', () => {
  test.each([
    ['a document of another issuer', { [discovery]: { issuer: 'https://evil.example', jwks_uri: `${issuer}/keys` } }],
    ['a document without an issuer', { [discovery]: { jwks_uri: `${issuer}/keys` } }],
    ['a document without an address', { [discovery]: { issuer } }],
    ['a document that is no object', { [discovery]: null }],
    ['a set without keys', { [`${issuer}/keys`]: {} }],
    ['a set that is a list', { [`${issuer}/keys`]: [k1] }],
    ['a set of 101 keys', { [`${issuer}/keys`]: { keys: Array.from({ length: 101 }, () => k1) } }],
  ])('%s', async (_, over) => {
    expect(await ask(issuerWith([k1], over).keys, 'k1')).toBe('ISSUER_UNREACHABLE');
  });

  test('a bad answer leaves the last good keys', async () => {
    const { keys, clock, answers } = issuerWith([k1]);
    await ask(keys, 'k1');
    answers[`${issuer}/keys`] = { keys: 'none' };
    clock.advance(issuerKeyLimits.refreshMs);
    await ask(keys, 'k2');
    expect(await ask(keys, 'k1')).toBe('key');
  });
});

test('a set of 100 keys is accepted, and symmetric and broken members are left out', async () => {
  const set = [...Array.from({ length: 97 }, (_, index) => ({ ...k2, kid: `other-${index}` })), { kty: 'oct', k: 'AAAA', kid: 'k1' }, null, k1];
  expect(await ask(issuerWith(set).keys, 'k1')).toBe('key');
});

test('an issuer that withdraws every key is believed', async () => {
  const { keys, answers } = issuerWith([k1]);
  await ask(keys, 'k1');
  answers[`${issuer}/keys`] = { keys: [] };
  await ask(keys, 'k2');
  expect(await ask(keys, 'k1')).toBe('ERR_JWKS_NO_MATCHING_KEY');
});

test('preparing fetches what is new and forgets what is gone', async () => {
  const { keys } = issuerWith([k1], { 'https://b.example/keys': { keys: [k2] } });
  const other = aProvider({ name: 'other', issuer: 'https://b.example', jwksUri: 'https://b.example/keys' });
  await keys.prepare([provider, other]);
  expect([...keys.ages()]).toEqual([['okta', 0], ['other', 0]]);
  await keys.prepare([other]);
  expect([...keys.ages().keys()]).toEqual(['other']);
});

test('preparing an unreachable issuer does not throw', async () => {
  const { keys, state } = issuerWith([k1]);
  state.down = true;
  await keys.prepare([provider]);
  expect(keys.ages().get('okta')).toBeNull();
});
