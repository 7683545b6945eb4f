import { createServer as createHttpServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { fetchJson } from '../../sidecar/adapters/fetch-json.ts';
import { createIssuerKeys, type IssuerKeys } from '../../sidecar/adapters/jwks.ts';
import { verifyToken } from '../../sidecar/core/identity/verify-token.ts';
import type { IdentityProvider } from '../../contract/proxy-config.ts';
import { aConfig, aProvider } from '../../tools/testkit/policies.ts';
import { type Authority, createAuthority } from '../hosts/certificates.ts';
import { type IssuerHost, startIssuer } from '../hosts/issuer.ts';

const log = { error: () => {}, info: () => {}, debug: () => {} };
const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const open: IssuerKeys[] = [];
afterEach(() => { for (const keys of open.splice(0)) keys[Symbol.dispose](); });

function issuerKeys(allowLoopbackHttp = false): IssuerKeys {
  const keys = createIssuerKeys({ clock, log, allowLoopbackHttp });
  open.push(keys);
  return keys;
}

async function verdict(token: string, provider: IdentityProvider, keys: IssuerKeys): Promise<string> {
  const outcome = await verifyToken(token, { ...aConfig([]), identityProviders: [provider] }, keys, Date.now());
  return outcome.outcome === 'verified' ? outcome.identity.username : outcome.denial.code;
}

describe('a real OIDC issuer', () => {
  let host: IssuerHost;
  beforeAll(async () => { host = await startIssuer({ clients: [{ id: 'ann', secret: 's', claims: { email: 'ann@bank.example', groups: ['sre'] } }] }); });
  afterAll(() => host.stop());
  const providerOf = (over: Partial<IdentityProvider> = {}): IdentityProvider => aProvider({ issuer: host.issuer, caBundle: host.ca, audiences: [host.audience], usernameClaim: 'sub', ...over });

  test('a token that it issued is verified with keys found by discovery', async () => {
    expect(await verdict(await host.token('ann'), providerOf(), issuerKeys())).toBe('oidc:ann');
  });

  test('an expired token and one for another audience are told apart', async () => {
    const keys = issuerKeys();
    expect(await verdict(await host.sign({ sub: 'ann' }, { expiresInSeconds: -60 }), providerOf(), keys)).toBe('TOKEN_EXPIRED');
    expect(await verdict(await host.token('ann'), providerOf({ audiences: ['other'] }), keys)).toBe('TOKEN_AUDIENCE_WRONG');
  });

  test('without its own authority, or with another one, its keys are not fetched', async () => {
    const other = await createAuthority('another');
    const token = await host.token('ann');
    expect([await verdict(token, providerOf({ caBundle: null }), issuerKeys()), await verdict(token, providerOf({ caBundle: other.ca }), issuerKeys())]).toEqual(['ISSUER_UNREACHABLE', 'ISSUER_UNREACHABLE']);
  });
});

describe('an issuer that misbehaves', () => {
  let authority: Authority;
  let server: Server;
  let issuer: string;
  let signer: { privateKey: CryptoKey; jwk: JWK };
  let answer: RequestListener;
  let requests: string[];

  beforeAll(async () => { authority = await createAuthority(); });
  beforeEach(async () => {
    signer = await newSigner('k1');
    requests = [];
    answer = serveKeys(() => [signer.jwk]);
    const pair = await authority.issue({ commonName: 'issuer', ips: ['127.0.0.1'] });
    server = createServer({ cert: pair.certificate, key: pair.key }, (request, response) => { requests.push(request.url ?? ''); answer(request, response); });
    issuer = `https://127.0.0.1:${await listen(server)}`;
  });
  afterEach(() => stop(server));

  const serveKeys = (keys: () => readonly JWK[]): RequestListener => (request, response) => {
    response.end(JSON.stringify(request.url === '/keys' ? { keys: keys() } : { issuer, jwks_uri: `${issuer}/keys` }));
  };
  const providerOf = (over: Partial<IdentityProvider> = {}): IdentityProvider => aProvider({ issuer, caBundle: authority.ca, usernameClaim: 'sub', ...over });
  const token = (by = signer): Promise<string> =>
    new SignJWT({ sub: 'ann' }).setProtectedHeader({ alg: 'ES256', kid: by.jwk.kid ?? '' }).setIssuer(issuer).setAudience('sallyport').setExpirationTime('5m').sign(by.privateKey);

  test('after a rotation the new key verifies at once and the old one no longer', async () => {
    const keys = issuerKeys();
    const old = await token();
    expect(await verdict(old, providerOf(), keys)).toBe('oidc:ann');
    signer = await newSigner('k2');
    expect([await verdict(await token(), providerOf(), keys), await verdict(old, providerOf(), keys)]).toEqual(['oidc:ann', 'TOKEN_SIGNATURE_INVALID']);
  });

  test('during an outage known keys verify and nothing else does', async () => {
    const keys = issuerKeys();
    const known = await token();
    await verdict(known, providerOf(), keys);
    await stop(server);
    expect([await verdict(known, providerOf(), keys), await verdict(await token(await newSigner('k2')), providerOf(), keys)]).toEqual(['oidc:ann', 'TOKEN_SIGNATURE_INVALID']);
    expect(await verdict(known, providerOf(), issuerKeys())).toBe('ISSUER_UNREACHABLE');
  });

  test('a redirect is not followed', async () => {
    const good = answer;
    answer = (request, response) => {
      if (request.url === '/moved') return good(Object.assign(request, { url: '/keys' }), response);
      if (request.url === '/keys') response.writeHead(302, { location: `${issuer}/moved` }).end();
      else good(request, response);
    };
    expect(await verdict(await token(), providerOf(), issuerKeys())).toBe('ISSUER_UNREACHABLE');
    expect(requests).toEqual(['/.well-known/openid-configuration', '/keys']);
  });

  test('an answer of more than 1 MiB is cut off while it comes', async () => {
    let sent = 0;
    answer = (_request, response) => {
      const push = (): void => { while (!response.destroyed && response.write(' '.repeat(65_536))) sent += 65_536; };
      response.on('drain', push);
      push();
    };
    expect(await verdict(await token(), providerOf(), issuerKeys())).toBe('ISSUER_UNREACHABLE');
    expect(sent).toBeLessThan(64 * 1_048_576);
  });

  test.each<readonly [string, RequestListener]>([
    ['a connection that closes in the middle', (_request, response) => { response.writeHead(200, { 'content-length': '100' }).write('{'); setImmediate(() => response.destroy()); }],
    ['a status of 500', (_request, response) => { response.writeHead(500).end('{}'); }],
    ['a page instead of JSON', (_request, response) => { response.end('<html></html>'); }],
    ['bytes that are no UTF-8', (_request, response) => { response.end(Buffer.from([0x22, 0xff, 0x22])); }],
    ['headers without end', (_request, response) => { response.writeHead(200, { 'x-long': 'x'.repeat(40_000) }).end('{}'); }],
  ])('%s gives no keys', async (_, listener) => {
    answer = listener;
    expect(await verdict(await token(), providerOf(), issuerKeys())).toBe('ISSUER_UNREACHABLE');
  });

  test('an answer that trickles ends at the time limit', async () => {
    let timer: NodeJS.Timeout | undefined;
    answer = (_request, response) => { timer = setInterval(() => response.write(' '), 10); };
    const begun = performance.now();
    await expect(fetchJson(`${issuer}/slow`, { ca: authority.ca, allowLoopbackHttp: false, limits: { timeoutMs: 200, maxBytes: 1_000 }, signal: new AbortController().signal })).rejects.toThrow('no answer in time');
    clearInterval(timer);
    expect(performance.now() - begun).toBeLessThan(2_000);
  });

  test('its certificate must be for the host that is asked', async () => {
    const one = await token();
    const askedAs = (host: string): Promise<string> => verdict(one, providerOf({ jwksUri: `${issuer.replace('127.0.0.1', host)}/keys` }), issuerKeys());
    expect([await askedAs('127.0.0.1'), await askedAs('localhost')]).toEqual(['oidc:ann', 'ISSUER_UNREACHABLE']);
  });

  test('twenty logins at once cause one fetch', async () => {
    const keys = issuerKeys();
    const one = await token();
    await Promise.all(Array.from({ length: 20 }, () => verdict(one, providerOf(), keys)));
    expect(requests).toEqual(['/.well-known/openid-configuration', '/keys']);
  });
});

describe('an issuer over plain HTTP', () => {
  test('is refused, and on this machine accepted only when it is asked for', async () => {
    const signer = await newSigner('k1');
    const server = createHttpServer((request, response) => response.end(JSON.stringify(request.url === '/keys' ? { keys: [signer.jwk] } : { issuer, jwks_uri: `${issuer}/keys` })));
    const issuer = `http://127.0.0.1:${await listen(server)}`;
    const token = await new SignJWT({ sub: 'ann' }).setProtectedHeader({ alg: 'ES256', kid: 'k1' }).setIssuer(issuer).setAudience('sallyport').setExpirationTime('5m').sign(signer.privateKey);
    const provider = aProvider({ issuer, usernameClaim: 'sub' });
    expect([await verdict(token, provider, issuerKeys()), await verdict(token, provider, issuerKeys(true))]).toEqual(['ISSUER_UNREACHABLE', 'oidc:ann']);
    await stop(server);
  });

  test.each(['http://issuer.example/keys', 'http://127.0.0.1.evil.example/keys', 'http://10.0.0.1/keys', 'file:///etc/passwd', 'https://user:pass@127.0.0.1/keys', 'not a url'])('%s is refused before any connection', async (address) => {
    const options = { ca: null, allowLoopbackHttp: true, limits: { timeoutMs: 200, maxBytes: 1_000 }, signal: new AbortController().signal };
    await expect(fetchJson(address, options)).rejects.toThrow(/the address is not/);
  });
});

async function newSigner(kid: string): Promise<{ privateKey: CryptoKey; jwk: JWK }> {
  const pair = await generateKeyPair('ES256', { extractable: true });
  return { privateKey: pair.privateKey, jwk: { ...(await exportJWK(pair.publicKey)), kid, alg: 'ES256' } };
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

async function stop(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}
