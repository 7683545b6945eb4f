import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type CryptoKey, generateKeyPair, jwtVerify, SignJWT } from 'jose';
import { run as approve } from '../../cli/commands/approve.ts';
import { run as deny } from '../../cli/commands/deny.ts';
import { run as requests } from '../../cli/commands/requests.ts';
import { boundDigest, statementHmac } from '../../contract/approval-digest.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { HttpServer } from '../../runtime/http.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { type DirectoryApprovals, openDirectoryApprovals } from '../../sidecar/adapters/directory/access-requests.ts';
import { deny as denial } from '../../sidecar/core/errors.ts';
import { type Identity, subjectKey } from '../../sidecar/core/identity/identity.ts';
import type { PendingApproval } from '../../sidecar/core/ports.ts';
import { apiRoutes, type HttpApiOptions, serveHttpApi } from '../../sidecar/http-api.ts';
import { createAuthority } from '../hosts/certificates.ts';

const clock = systemClock();
const logged: string[] = [];
const log = {
  error: (message: string, fields?: object) => void logged.push(message, JSON.stringify(fields ?? {})),
  info: (message: string, fields?: object) => void logged.push(message, JSON.stringify(fields ?? {})),
  debug: () => {},
};
const keys = await generateKeyPair('ES256');
let directory: string;
let desk: DirectoryApprovals;
let server: HttpServer;
let ready: string | null = null;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sallyport-http-'));
  desk = await openDirectoryApprovals({ dataDirectory: directory, clock, log, onEvent: async () => {}, isPolicyCurrent: () => true });
  server = await serveHttpApi(apiOptions());
});

afterAll(async () => {
  await server.close(1_000);
  await desk.close();
  await rm(directory, { recursive: true, force: true });
});

describe('probes', () => {
  test('answer without a token, and readiness says why not', async () => {
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
    ready = 'CONFIG_NOT_LOADED';
    const answer = await fetch(`${server.url}/readyz`);
    ready = null;
    expect([answer.status, await answer.text()]).toEqual([503, 'not ready: CONFIG_NOT_LOADED\n']);
  });

  test('metrics are served in the exposition format', async () => {
    expect(await (await fetch(`${server.url}/metrics`)).text()).toContain('process_cpu_seconds_total');
  });
});

describe('the authorization of each route (C1)', () => {
  test.each(apiRoutes(apiOptions()).map((route) => [`${route.method} ${route.path}`, route] as const))('%s', async (_name, route) => {
    const answer = await fetch(`${server.url}${route.path.replace(':name', 'areq-aaaaaa')}`, { method: route.method, ...(route.body === 'json' ? json({}) : {}) });
    expect(answer.status === 401).toBe(route.access === 'token');
    expect({ csp: answer.headers.get('content-security-policy'), sniff: answer.headers.get('x-content-type-options'), cache: answer.headers.get('cache-control') })
      .toEqual({ csp: "default-src 'none'; frame-ancestors 'none'", sniff: 'nosniff', cache: 'no-store' });
  });

  test('an unsigned, a foreign and an expired token are refused with their code', async () => {
    const foreign = await generateKeyPair('ES256');
    const bad = [await token('bob', ['dba'], { key: foreign.privateKey }), await token('bob', ['dba'], { expiresIn: '-1h' }), 'eyJhbGciOiJub25lIn0.e30.'];
    const answers = await Promise.all(bad.map(async (one) => (await fetch(`${server.url}/v1/requests`, bearer(one))).json() as Promise<{ code: string }>));
    expect(answers.map((one) => one.code)).toEqual(['TOKEN_SIGNATURE_INVALID', 'TOKEN_EXPIRED', 'TOKEN_SIGNATURE_INVALID']);
  });

  test('a stranger sees no request, and decides on none (C2)', async () => {
    const pending = await ask();
    const eve = await token('eve', ['guests']);
    expect(await (await fetch(`${server.url}/v1/requests`, bearer(eve))).json()).toEqual({ requests: [] });
    expect(await status('GET', `/v1/requests/${pending.name}`, eve)).toEqual([404, 'APPROVAL_NOT_FOUND']);
    expect(await status('DELETE', `/v1/requests/${pending.name}`, eve)).toEqual([404, 'APPROVAL_NOT_FOUND']);
    expect(await status('POST', `/v1/requests/${pending.name}/decision`, eve, { decision: 'approve' })).toEqual([403, 'APPROVAL_NOT_APPROVER']);
    await pending.withdraw('done');
  });
});

describe('what a browser or a broken client sends', () => {
  test.each<[string, { method?: string; headers?: Record<string, string>; body?: string }, number]>([
    ['an Origin header', { headers: { origin: 'https://evil.example' } }, 403],
    ['a form', { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'decision=approve' }, 415],
    ['JSON dressed as text', { method: 'POST', headers: { 'content-type': 'text/plain' }, body: '{"decision":"approve"}' }, 415],
    ['broken JSON', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{' }, 400],
    ['an unknown field', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"decision":"approve","by":"bob"}' }, 400],
    ['a body over 1 MiB', { method: 'POST', headers: { 'content-type': 'application/json' }, body: `"${'x'.repeat(1024 * 1024)}"` }, 413],
    ['another method', { method: 'PUT' }, 405],
  ])('%s is refused and decides nothing', async (_what, init, expected) => {
    const pending = await ask();
    const bob = await token('bob', ['dba']);
    const answer = await fetch(`${server.url}/v1/requests/${pending.name}/decision`, { method: 'POST', ...init, headers: { ...init.headers, authorization: `Bearer ${bob}` } });
    expect(answer.status).toBe(expected);
    expect(Object.keys((await answer.json()) as object)).toEqual(expect.arrayContaining(['code', 'message', 'hint']));
    expect(desk.find(pending.name, identity('bob', ['dba']))?.phase).toBe('Pending');
    await pending.withdraw('done');
  });

  test('headers over 8 KiB are answered with 431', async () => {
    expect((await fetch(`${server.url}/healthz`, { headers: { 'x-long': 'x'.repeat(9_000) } })).status).toBe(431);
  });

  test('a peer that stays silent is cut and does not slow others (C7)', async () => {
    await using quick = await serveHttpApi({ ...apiOptions(), limits: { timeoutMs: 300, connections: 50 } });
    const silent = Array.from({ length: 30 }, () => connect(quick.port, '127.0.0.1'));
    silent.forEach((socket, index) => socket.on('error', () => {}).write(index % 2 === 0 ? 'GET /healthz HTTP/1.1\r\n' : 'POST /v1/requests/a/decision HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\ncontent-type: application/json\r\n\r\n{'));
    const closed = silent.map((socket) => new Promise((resolve) => socket.resume().once('close', resolve)));
    const startedMs = performance.now();
    expect((await fetch(`${quick.url}/healthz`)).status).toBe(200);
    expect(performance.now() - startedMs).toBeLessThan(200);
    await Promise.all(closed);
  });
});

test('after 30 failed logins an address must wait, even with a valid token', async () => {
  await using own = await serveHttpApi(apiOptions());
  const statuses: number[] = [];
  for (let attempt = 0; attempt < 31; attempt++) statuses.push((await fetch(`${own.url}/v1/requests`, bearer('nonsense'))).status);
  expect(statuses.slice(0, 30)).toEqual(Array.from({ length: 30 }, () => 401));
  expect(statuses[30]).toBe(429);
  expect((await fetch(`${own.url}/v1/requests`, bearer(await token('bob', ['dba'])))).status).toBe(429);
});

test('a token is not taken over plain HTTP outside loopback, and is taken over TLS', async () => {
  const bob = await token('bob', ['dba']);
  await using open = await serveHttpApi({ ...apiOptions(), host: '0.0.0.0' });
  expect((await fetch(`http://127.0.0.1:${open.port}/healthz`)).status).toBe(200);
  expect(await (await fetch(`http://127.0.0.1:${open.port}/v1/requests`, bearer(bob))).json()).toMatchObject({ code: 'TLS_REQUIRED' });

  const authority = await createAuthority();
  await using secure = await serveHttpApi({ ...apiOptions(), tls: await authority.issue({ commonName: 'gateway', ips: ['127.0.0.1'] }) });
  const ca = join(directory, 'ca.pem');
  await writeFile(ca, authority.ca);
  expect(await cli(requests, ['--gateway', secure.url, '--ca-file', ca], bob)).toEqual({ exit: 0, out: 'no pending requests\n', err: '' });
  expect(await cli(requests, ['--gateway', secure.url], bob)).toMatchObject({ exit: 1, err: expect.stringContaining('GATEWAY_UNREACHABLE') });
});

describe('the commands', () => {
  test('list, show and approve exactly what was shown', async () => {
    const pending = await ask();
    const bob = await token('bob', ['dba']);
    const listed = await cli(requests, [], bob);
    expect(listed.out).toMatch(new RegExp(`${pending.name} +oidc:alice +orders-db +ALTER TABLE orders .*Pending +0/1 .*you may decide`));

    const approved = await cli(approve, [pending.name, '--yes', '--reason', 'change 42'], bob);

    expect(approved).toMatchObject({ exit: 0, err: '' });
    expect(approved.out).toContain('  | ALTER TABLE orders\n  |   ADD COLUMN note text -- \\u{202e}txen');
    expect(approved.out).toContain('  $1 = \\u{1b}]0;x\\u{7}');
    expect(approved.out).toContain(`${pending.name} is now Approved (1/1)`);
    expect(await pending.outcome).toMatchObject({ outcome: 'approved', approvers: [{ username: 'oidc:bob' }] });
    expect(await pending.use()).toBe(true);
  });

  test('deny with a reason that reaches the requester', async () => {
    const pending = await ask();
    expect(await cli(deny, [pending.name], await token('bob', ['dba']))).toMatchObject({ exit: 2 });
    expect(await cli(deny, [pending.name, '--reason', 'not today'], await token('bob', ['dba']))).toMatchObject({ exit: 0 });
    expect(await pending.outcome).toEqual({ outcome: 'denied', request: pending.name, approver: 'oidc:bob', reason: 'not today' });
  });

  test('refuse the requester, with the code and what to do', async () => {
    const pending = await ask();
    expect(await cli(approve, [pending.name, '--yes'], await token('alice', ['dba']))).toMatchObject({ exit: 1, err: 'error: APPROVAL_SELF: you cannot decide on your own request\nhint: ask another member of the approving groups\n' });
    await pending.withdraw('done');
  });

  test('approve nothing when nobody can be asked or the answer is no', async () => {
    const pending = await ask();
    const bob = await token('bob', ['dba']);
    expect(await cli(approve, [pending.name], bob)).toMatchObject({ exit: 3 });
    expect(await cli(approve, [pending.name], bob, terminal('n\n'))).toMatchObject({ exit: 3, err: 'not approved\n' });
    expect(await cli(approve, [pending.name], bob, terminal(''))).toMatchObject({ exit: 3 });
    expect(desk.find(pending.name, identity('bob', ['dba']))?.phase).toBe('Pending');
    expect(await cli(approve, [pending.name], bob, terminal('y\n'))).toMatchObject({ exit: 0 });
  });

  test('refuse a decision about another request than the one that was shown (D5)', async () => {
    const pending = await ask();
    expect(await status('POST', `/v1/requests/${pending.name}/decision`, await token('bob', ['dba']), { decision: 'approve', digest: `sha256:${'0'.repeat(64)}` })).toEqual([409, 'APPROVAL_DIGEST_MISMATCH']);
    await pending.withdraw('done');
  });

  test('let a requester withdraw their own', async () => {
    const pending = await ask();
    expect(await cli(requests, [pending.name, '--withdraw', '--reason', 'mistake'], await token('alice', []))).toMatchObject({ exit: 0, out: expect.stringContaining('Withdrawn') });
    expect(await pending.outcome).toMatchObject({ outcome: 'withdrawn' });
  });

  test('send a token to no clear-text gateway elsewhere, and none that is missing', async () => {
    expect(await cli(requests, ['--gateway', 'http://gateway.example:8087'], 'x')).toMatchObject({ exit: 1, err: expect.stringContaining('TLS_REQUIRED') });
    expect(await cli(requests, [], '')).toMatchObject({ exit: 1, err: expect.stringContaining('TOKEN_MISSING') });
    expect(await cli(requests, ['--token-command', 'echo secret-output; exit 1'], '')).toMatchObject({ exit: 1, err: expect.not.stringContaining('secret-output') });
    expect(await cli(requests, ['--token-command', `printf %s ${await token('bob', ['dba'])}`], '')).toMatchObject({ exit: 0 });
  });
});

test('no token reaches the log, an answer or a file (C6)', async () => {
  const bob = await token('bob', ['dba'], { canary: 'canary-7f3k' });
  const pending = await ask();
  const bodies = [await (await fetch(`${server.url}/v1/requests/${pending.name}?token=${bob}`, bearer(bob))).text(), await (await fetch(`${server.url}/nothing/${bob}`, bearer(bob))).text(), await (await fetch(`${server.url}/metrics`, bearer(bob))).text()];
  await fetch(`${server.url}/v1/requests`, bearer(`${bob}x`));
  const signature = bob.split('.')[2] ?? 'none';
  expect([...logged, ...bodies].filter((text) => text.includes(signature) || text.includes('canary-7f3k'))).toEqual([]);
  await pending.withdraw('done');
});

// --- arranging

function apiOptions(): HttpApiOptions {
  const metrics = createMetrics({ process: true });
  return { host: '127.0.0.1', port: 0, tls: null, desk, verify, notReady: () => ready, metrics, sessions: null, clock, log };
}

async function verify(jwt: string): ReturnType<HttpApiOptions['verify']> {
  try {
    const { payload } = await jwtVerify(jwt, keys.publicKey, { issuer: 'https://idp', audience: 'sallyport', algorithms: ['ES256'] });
    return { outcome: 'verified', identity: identity(payload.sub ?? '', payload['groups'] as string[]) };
  } catch (error) {
    const isExpired = error instanceof Error && 'code' in error && error.code === 'ERR_JWT_EXPIRED';
    return { outcome: 'denied', denial: denial(isExpired ? 'TOKEN_EXPIRED' : 'TOKEN_SIGNATURE_INVALID') };
  }
}

function token(subject: string, groups: string[], options: { key?: CryptoKey; expiresIn?: string; canary?: string } = {}): Promise<string> {
  return new SignJWT({ groups, canary: options.canary ?? '' }).setProtectedHeader({ alg: 'ES256' }).setSubject(subject).setIssuer('https://idp').setAudience('sallyport').setExpirationTime(options.expiresIn ?? '5m').sign(options.key ?? keys.privateKey);
}

function identity(name: string, groups: readonly string[]): Identity {
  return {
    provider: 'idp', issuer: 'https://idp', subject: name, username: `oidc:${name}`, groups, uid: null, email: null, serviceAccount: null, actors: [], tokenId: null, authTimeMs: null, acr: null,
    amr: [], issuedAtMs: null, expiresAtMs: Date.now() + 60_000, claims: {},
  };
}

async function ask(): Promise<PendingApproval> {
  const hmac = statementHmac(new Uint8Array(32).fill(7), { text: Buffer.from('ALTER TABLE orders ADD COLUMN note text'), parameters: [] });
  const view = {
    scope: 'Statement' as const, target: 'orders-db', namespace: 'payments', database: 'orders', sessionId: 's1', statementHmac: hmac,
    statement: { text: 'ALTER TABLE orders\n  ADD COLUMN note text -- \u202etxen', parameters: ['\u001b]0;x\u0007'], kind: 'Alter', objects: ['public.orders'], searchPath: 'public', inTransaction: false },
    requester: { key: subjectKey(identity('alice', [])), username: 'oidc:alice', actorKeys: [] },
    by: { policy: 'oncall', policyUid: 'uid-1', policyGeneration: 3, policyDigest: 'sha256:p', rule: 'schema-changes' }, approval: { groups: ['dba'], required: 1, decideWithinSeconds: 600, grantTtlSeconds: null },
  };
  const asked = await desk.ask({ ...view, digest: boundDigest(view, hmac) });
  if (asked.outcome !== 'pending') throw new Error(asked.code);
  return asked.pending;
}

async function cli(command: typeof approve, argv: string[], ownToken: string, stdin?: Readable & { isTTY?: boolean }): Promise<{ exit: number; out: string; err: string }> {
  const out: string[] = [];
  const err: string[] = [];
  const env = { SALLYPORT_GATEWAY: server.url, SALLYPORT_TOKEN: ownToken };
  const exit = await command(argv, { stdout: { write: (text) => out.push(text) }, stderr: { write: (text) => err.push(text) }, env, ...(stdin === undefined ? {} : { stdin }) });
  return { exit, out: out.join(''), err: err.join('') };
}

function terminal(typed: string): Readable & { isTTY?: boolean } {
  return Object.assign(Readable.from(typed === '' ? [] : [typed]), { isTTY: true });
}

function bearer(jwt: string): { headers: Record<string, string> } {
  return { headers: { authorization: `Bearer ${jwt}` } };
}

function json(body: unknown): { headers: Record<string, string>; body: string } {
  return { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

async function status(method: string, path: string, jwt: string, body?: unknown): Promise<[number, string]> {
  const sent = body === undefined ? null : json(body);
  const answer = await fetch(`${server.url}${path}`, { method, ...(sent === null ? {} : { body: sent.body }), headers: { ...sent?.headers, ...bearer(jwt).headers } });
  return [answer.status, ((await answer.json()) as { code: string }).code];
}
