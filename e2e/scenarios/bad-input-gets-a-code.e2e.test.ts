import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { generateKeyPair, SignJWT } from 'jose';
import type pg from 'pg';
import { errorTable } from '../../sidecar/core/errors.ts';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { findAsset } from '../../tools/e2e-assets.ts';
import { connectPg, conninfo, eventually, libpqEnv, runClient } from '../hosts/clients.ts';
import { startWorld, type World } from '../hosts/gateway.ts';
import { nextRequest } from '../hosts/people.ts';
import { policyFile, usualStatements } from '../hosts/policy-files.ts';
import { sallyport } from '../hosts/sallyport.ts';
import { refusedLogin, watchedSession } from '../hosts/session-watch.ts';
import { connectRaw, connectSocket, cstring, int32, message, openRaw, readFields } from '../leaks/raw-client.ts';

const psql = findAsset('psql');
const documented = new Set([...readFileSync('docs/errors.md', 'utf8').matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1]));
const person = { sub: 'engineer', email: 'engineer@bank.example', groups: ['sre'] };
const policies = policyFile({ rules: [
  { name: 'usual', action: 'Allow', postgres: { statements: usualStatements.filter((name) => name !== 'Delete') } },
  { name: 'deletes', action: 'RequireApproval', postgres: { statements: ['Delete'] }, approval: { groups: ['dba'], decideWithin: '10m' } },
] });
let world: World;
let control: pg.Client;
let engineer: string;

beforeAll(async () => {
  world = await startWorld({ policies });
  engineer = await world.token('engineer');
  control = await connectPg(world, engineer);
}, 60_000);
afterAll(async () => {
  await control?.end();
  await world?.[Symbol.asyncDispose]();
});
// Whatever somebody sent: a session that was there before goes on, and a new one opens.
afterEach(async () => {
  expect((await control.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  expect(await refusedLogin(world, engineer)).toBeNull();
});

/** `SQLSTATE CODE`; the code must have a row in docs/errors.md. */
function coded(sqlstate: string | undefined, text: string): string {
  const code = /\[([A-Z_]+)\]/.exec(text)?.[1] ?? text;
  expect(documented).toContain(code);
  return `${sqlstate} ${code}`;
}

test('every code that exists has a row in docs/errors.md', () => {
  expect(Object.keys(errorTable).filter((code) => !documented.has(code))).toEqual([]);
});

describe('a token (I1, I6, I9, I12) that is', () => {
  const cases: readonly (readonly [what: string, expected: string, make: () => Promise<string> | string])[] = [
    ['for another audience', '28000 TOKEN_AUDIENCE_WRONG', () => world.issuer.sign({ ...person, aud: 'billing' })],
    ['without an audience', '28000 TOKEN_AUDIENCE_WRONG', () => world.issuer.sign({ ...person, aud: undefined })],
    ['of an unknown issuer', '28000 TOKEN_ISSUER_UNKNOWN', () => world.issuer.sign({ ...person, iss: 'https://elsewhere.example' })],
    ['signed with a shared secret', '28000 TOKEN_ALGORITHM_REFUSED', () => new SignJWT(person).setProtectedHeader({ alg: 'HS256' }).setIssuer(world.issuer.issuer).setAudience('sallyport').setExpirationTime('5m').sign(new Uint8Array(32))],
    ['not signed at all', '28000 TOKEN_ALGORITHM_REFUSED', () => `${encoded({ alg: 'none' })}.${encoded({ ...person, iss: world.issuer.issuer, aud: 'sallyport', exp: 4e9 })}.`],
    ['signed by somebody else', '28000 TOKEN_SIGNATURE_INVALID', async () => new SignJWT(person).setProtectedHeader({ alg: 'ES256', kid: 'issuer-1' }).setIssuer(world.issuer.issuer).setAudience('sallyport').setExpirationTime('5m').sign((await generateKeyPair('ES256')).privateKey)],
    ['changed after it was signed', '28000 TOKEN_SIGNATURE_INVALID', () => engineer.replace(/\.[^.]+\./, (body: string): string => `.${encoded({ ...(JSON.parse(Buffer.from(body.slice(1, -1), 'base64url').toString()) as object), groups: ['dba'] })}.`)],
    ['expired', '28000 TOKEN_EXPIRED', () => world.issuer.sign(person, { expiresInSeconds: -120 })],
    ['not valid yet', '28000 TOKEN_NOT_YET_VALID', () => world.issuer.sign({ ...person, nbf: Math.floor(Date.now() / 1000) + 600 })],
    ['issued in the future', '28000 TOKEN_NOT_YET_VALID', () => world.issuer.sign({ ...person, iat: Math.floor(Date.now() / 1000) + 600 })],
    ['valid for ever', '28000 TOKEN_CLAIM_MISSING', () => world.issuer.sign({ ...person, exp: undefined })],
    ['without the claim that names the user', '28000 TOKEN_CLAIM_MISSING', () => world.issuer.sign({ sub: 'engineer', groups: ['sre'] })],
    ['with a claim of another form', '28000 TOKEN_CLAIM_INVALID', () => world.issuer.sign({ ...person, exp: 'tomorrow' })],
    ['of another type', '28000 TOKEN_TYPE_WRONG', () => world.issuer.sign(person, { header: { typ: 'logout+jwt' } })],
    ['bringing a key of its own', '28000 TOKEN_HEADER_REFUSED', () => world.issuer.sign(person, { header: { jku: 'https://elsewhere.example/keys' } })],
    ['with an unreadable chain of actors', '28000 TOKEN_ACTOR_INVALID', () => world.issuer.sign({ ...person, act: { act: {} } })],
    ['of an unverified address', '28000 TOKEN_EMAIL_UNVERIFIED', () => world.issuer.sign({ ...person, email_verified: false })],
    ['cut at 4,095 bytes by the prompt', '28000 TOKEN_TRUNCATED', async () => (await world.issuer.sign({ ...person, padding: 'x'.repeat(6_000) })).slice(0, 4_095)],
    ['of 17 KiB', '28000 TOKEN_TOO_LONG', () => world.issuer.sign({ ...person, padding: 'x'.repeat(13_000) })],
    ['a password', '28000 TOKEN_MALFORMED', () => 'hunter2'],
    ['blank', '28000 TOKEN_MALFORMED', () => ' '],
    ['empty', '28000 TOKEN_MISSING', () => ''],
  ];
  test.each(cases)('%s is refused with %s, and the error holds nothing of it', async (_what, expected, make) => {
    const token = await make();
    const { client, login } = await openRaw({ port: world.port, ca: world.ca, user: 'me', database: 'postgres', password: token });
    const error = readFields(login.frames.find((frame) => frame.type === 'E')?.body ?? Buffer.alloc(0));
    expect([error.get('S'), coded(error.get('C'), error.get('M') ?? ''), error.get('H')?.length]).toEqual(['FATAL', expected, expect.any(Number)]);
    if (token.length > 8) expect(client.received.toString('latin1')).not.toContain(token.slice(-8));
    await client.close();
  });

  (psql ? test : test.skip)('refused tells psql why and what to do', async () => {
    const ran = await runClient(psql?.path ?? '', ['-X', '-c', 'select 1', conninfo(world)], libpqEnv(await world.issuer.sign(person, { expiresInSeconds: -120 })));
    expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(/FATAL: {2}the token has expired \[TOKEN_EXPIRED\]\nHINT: {2}fetch a new token and connect again/) });
  });

  test.each<[string, string, () => Promise<string>]>([
    ['expired, in an HTTP request', '401 TOKEN_EXPIRED', () => world.issuer.sign(person, { expiresInSeconds: -120 })],
    ['missing, in an HTTP request', '401 HTTP_UNAUTHORIZED', () => Promise.resolve('')],
  ])('%s is refused with %s', async (_what, expected, make) => {
    const token = await make();
    expect(await http('GET', '/v1/requests', { headers: token === '' ? {} : { authorization: `Bearer ${token}` } })).toBe(expected);
  });
});

describe('a startup packet', () => {
  const startup = (pairs: Readonly<Record<string, string>>, version: number = 0x00030000): Buffer => {
    const body = Buffer.concat([int32(version), ...Object.entries(pairs).map(([name, value]) => Buffer.from(`${name}\0${value}\0`)), Buffer.of(0)]);
    return Buffer.concat([int32(body.length + 4), body]);
  };
  const me = { user: 'me', database: 'postgres' };
  test.each<[string, string, Buffer]>([
    ['without a database', '3D000 DATABASE_REQUIRED', startup({ user: 'me' })],
    ['with an empty database', '3D000 DATABASE_REQUIRED', startup({ user: 'me', database: '' })],
    ['without a user', '28000 USER_REQUIRED', startup({ database: 'postgres' })],
    ['with an unknown parameter', '0A000 STARTUP_PARAMETER_REFUSED', startup({ ...me, session_preload_libraries: 'x' })],
    ['that asks for replication', '0A000 REPLICATION_UNSUPPORTED', startup({ ...me, replication: 'database' })],
    ['with an option without a name', '0A000 STARTUP_PARAMETER_REFUSED', startup({ ...me, options: '-c=' })],
    ['with an option that may not be set', '0A000 STARTUP_PARAMETER_REFUSED', startup({ ...me, options: '-c role=postgres' })],
    ['with another encoding', '0A000 ENCODING_REFUSED', startup({ ...me, client_encoding: 'SJIS' })],
    ['of protocol 4.0', '0A000 PROTOCOL_UNSUPPORTED', startup(me, 0x00040000)],
    ['of protocol 2.0', '0A000 PROTOCOL_UNSUPPORTED', startup(me, 0x00020000)],
    ['of length 7', '08P01 PROTOCOL_VIOLATION', Buffer.concat([int32(7), Buffer.alloc(3)])],
    ['of 10,001 bytes', '08P01 PROTOCOL_VIOLATION', startup({ ...me, application_name: 'x'.repeat(10_001) })],
    ['with a name twice', '08P01 PROTOCOL_VIOLATION', Buffer.from('\0\0\0\x24\0\x03\0\0user\0me\0user\0you\0database\0x\0\0')],
  ])('%s is refused with %s', async (_what, expected, bytes) => {
    const socket = await connectSocket({ port: world.port, ca: world.ca });
    const answered = new Promise<Buffer>((resolve) => {
      const chunks: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => chunks.push(chunk)).once('close', () => resolve(Buffer.concat(chunks)));
    });
    socket.write(bytes);
    const error = readFields((await answered).subarray(5));
    expect(coded(error.get('C'), error.get('M') ?? '')).toBe(expected);
  });

  test('to a database that the Target does not serve is refused by name', async () => {
    const seen = await refusedLogin(world, engineer, { database: 'template1' });
    expect(coded(seen?.code, seen?.message ?? '')).toBe('3D000 DATABASE_NOT_SERVED');
  });

  test('without TLS is refused before a password is asked for', async () => {
    const client = await connectRaw({ port: world.port, ca: null, user: 'me', database: 'postgres', password: engineer });
    const { frames } = await client.start({ port: world.port, ca: null, user: 'me', database: 'postgres', password: engineer });
    expect(frames.map((frame) => frame.type)).toEqual(['E']);
    const error = readFields(frames[0]?.body ?? Buffer.alloc(0));
    expect(coded(error.get('C'), error.get('M') ?? '')).toBe('28000 TLS_REQUIRED');
  });
});

describe('a statement', () => {
  test.each<[string, string, string | null, Buffer]>([
    ['with a mistake', '42601 SYNTAX_ERROR', '13', write.query('select from from nothing')],
    ['with a mistake behind two-byte characters', '42601 SYNTAX_ERROR', '18', write.query("select 'äöü' frm frm x")],
    ['that is not UTF-8', '22021 ENCODING_INVALID', null, message('Q', Buffer.from([0x73, 0xff, 0xfe, 0x00]))],
    ['of 300 KiB', '54000 STATEMENT_TOO_LONG', null, write.query(`select '${'x'.repeat(300 * 1024)}'`)],
    ['that is nested too deeply', '54001 STATEMENT_TOO_DEEP', null, write.query(`select 1${' + 1'.repeat(1_500)}`)],
    ['that sets what must not be set', '42501 SETTING_REFUSED', null, write.query('set standard_conforming_strings = off')],
    ['of a class that no rule allows', '42501 STATEMENT_NOT_ALLOWED', null, write.query("copy (select 1) to program 'true'")],
    ['prepared under a name that does not exist', '26000 STATEMENT_INVALIDATED', null, Buffer.concat([write.bind('', 'nope'), write.sync()])],
    ['executed in a portal that does not exist', '34000 PORTAL_UNKNOWN', null, Buffer.concat([write.execute('nope'), write.sync()])],
    ['of two commands, prepared', '42601 SYNTAX_ERROR', null, Buffer.concat([write.parse('', 'select 1; select 2'), write.sync()])],
    ['called by the fast path', '42501 STATEMENT_NOT_ALLOWED', null, message('F', Buffer.concat([int32(1), Buffer.alloc(6)]))],
  ])('%s is refused with %s, and the session goes on', async (_what, expected, position, bytes) => {
    const { client } = await openRaw({ port: world.port, ca: world.ca, user: 'me', database: 'postgres', password: engineer });
    const { frames } = await client.exchange(bytes);
    const error = readFields(frames.find((frame) => frame.type === 'E')?.body ?? Buffer.alloc(0));
    expect([coded(error.get('C'), error.get('M') ?? ''), error.get('P') ?? null]).toEqual([expected, position]);
    expect((await client.query('select 1')).frames.map((frame) => frame.type)).toEqual(['T', 'D', 'C', 'Z']);
    await client.close();
  });

  test.each<[string, string, Buffer]>([
    ['a NUL inside a text', '08P01 PROTOCOL_VIOLATION', message('Q', Buffer.from('select 1\0; drop table x\0'))],
    ['a message of unknown type', '08P01 PROTOCOL_VIOLATION', message('y', Buffer.alloc(0))],
    ['a message of length 3', '08P01 PROTOCOL_VIOLATION', Buffer.from([0x51, 0, 0, 0, 3])],
    ['a message of 2 GiB', '08P01 FRAME_TOO_LONG', Buffer.from([0x51, 0x7f, 0xff, 0xff, 0xff])],
    ['a Bind that does not fill its message', '08P01 PROTOCOL_VIOLATION', message('B', cstring('p'))],
    ['a second password', '08P01 PROTOCOL_VIOLATION', message('p', cstring('x'))],
  ])('%s ends the session with %s', async (_what, expected, bytes) => {
    const { client } = await openRaw({ port: world.port, ca: world.ca, user: 'me', database: 'postgres', password: engineer });
    const { frames, closed } = await client.exchange(bytes);
    const error = readFields(frames.find((frame) => frame.type === 'E')?.body ?? Buffer.alloc(0));
    expect([error.get('S'), coded(error.get('C'), error.get('M') ?? ''), closed]).toEqual(['FATAL', expected, true]);
  });

  test('that cannot be read is counted', async () => {
    const text = await (await fetch(`${world.gateway.httpUrl}/metrics`)).text();
    for (const code of ['SYNTAX_ERROR', 'STATEMENT_TOO_LONG', 'STATEMENT_TOO_DEEP', 'ENCODING_INVALID']) expect(Number(new RegExp(`^sallyport_parse_failures_total\\{code="${code}"\\} (\\d+)$`, 'm').exec(text)?.[1])).toBeGreaterThan(0);
  });
});

describe('an HTTP request', () => {
  const json = { 'content-type': 'application/json' };
  test.each<[string, string, string, string, RequestInit]>([
    ['to a route that does not exist', '404 HTTP_NOT_FOUND', 'GET', '/v1/nothing', {}],
    ['with another method', '405 HTTP_BAD_REQUEST', 'PUT', '/v1/requests', {}],
    ['about a request that does not exist', '404 APPROVAL_NOT_FOUND', 'GET', '/v1/requests/areq-aaaaaa', {}],
    ['that decides on a request that does not exist', '404 APPROVAL_NOT_FOUND', 'POST', '/v1/requests/areq-aaaaaa/decision', { headers: json, body: '{"decision":"approve"}' }],
    ['with broken JSON', '400 HTTP_BAD_REQUEST', 'POST', '/v1/requests/PENDING/decision', { headers: json, body: '{"decision":' }],
    ['with an unknown field', '400 HTTP_BAD_REQUEST', 'POST', '/v1/requests/PENDING/decision', { headers: json, body: '{"decision":"approve","by":"me"}' }],
    ['with a form', '415 HTTP_BAD_REQUEST', 'POST', '/v1/requests/PENDING/decision', { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'decision=approve' }],
    ['over 1 MiB', '413 HTTP_BAD_REQUEST', 'POST', '/v1/requests/PENDING/decision', { headers: json, body: JSON.stringify({ decision: 'approve', reason: 'x'.repeat(1_100_000) }) }],
    ['from a web page', '403 HTTP_FORBIDDEN', 'POST', '/v1/requests/PENDING/decision', { headers: { ...json, origin: 'https://evil.example' }, body: '{"decision":"approve"}' }],
    ['with another digest', '409 APPROVAL_DIGEST_MISMATCH', 'POST', '/v1/requests/PENDING/decision', { headers: json, body: `{"decision":"approve","digest":"sha256:${'0'.repeat(64)}"}` }],
  ])('%s is refused with %s', async (_what, expected, method, path, init) => {
    const approver = await world.token('approver');
    const held = await watchedSession(world, engineer);
    const answered = path.includes('PENDING') ? held.run('delete from nothing_here') : null;
    const request = answered ? await nextRequest(world, approver, known) : '';
    expect(await http(method, path.replace('PENDING', request), { ...init, headers: { ...(init.headers as Record<string, string>), authorization: `Bearer ${approver}` } })).toBe(expected);
    await http('DELETE', `/v1/requests/${request}`, { headers: { authorization: `Bearer ${approver}` } });
    if (answered) expect(await answered).toMatchObject({ code: '42501' });
    await held.client.end();
  });
});

const known = new Set<string>();

async function http(method: string, path: string, init: RequestInit): Promise<string> {
  const response = await fetch(`${world.gateway.httpUrl}${path}`, { method, ...init });
  const body = (await response.json().catch(() => ({ code: '' }))) as { readonly code?: string; readonly hint?: string };
  if (response.status >= 400) expect([documented.has(body.code), typeof body.hint]).toEqual([true, 'string']);
  return `${response.status} ${body.code ?? ''}`;
}

describe('a config file', () => {
  const policy = (change: string): string => `apiVersion: sallyport.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: bad}\nspec:\n  subjects: [{kind: Group, name: sre}]\n  targets: {names: [db]}\n${change}\n`;
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['that is no YAML', 'kind: [\n', /bad\.yaml:2:1: /],
    ['with an unknown field', policy('  rule: []'), /bad\.yaml:7:3: spec\.rule: .*unknown field/i],
    ['with a field of the wrong type', policy('  limits: {rowsPerStatement: many}'), /bad\.yaml:7:\d+: spec\.limits\.rowsPerStatement: /],
    ['of an unknown kind', 'apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n', /bad\.yaml:\d+:\d+: .*kind/i],
    ['that says an object again', policy('').replace('name: bad', 'name: everything'), /bad\.yaml:\d+:\d+: .*(duplicate|already|again|twice)/i],
    ['with an expression that is no CEL', policy('').replace('{kind: Group, name: sre}', '{kind: Claims, expression: "claims.repository =="}'), /bad\.yaml:\d+:\d+: spec\.subjects\[0\]\.expression: /],
    ['with a time zone that does not exist', policy('  when: [{timeZone: Mars/Olympus}]'), /bad\.yaml:\d+:\d+: spec\.when\[0\]\.timeZone: /],
    ['with an approval without approvers', policy('  rules: [{name: r, action: RequireApproval, postgres: {statements: [Select]}, approval: {groups: []}}]'), /bad\.yaml:\d+:\d+: spec\.rules\[0\]\.approval\.groups: /],
    ['with a value that YAML reads as no value', policy('  masking: [{columns: [public.t.c], style: Null}]'), /bad\.yaml:\d+:\d+: spec\.masking\[0\]\.style: /],
  ];

  test.each(cases)('%s is rejected by `config check` with its place and CONFIG_INVALID', async (_what, text, place) => {
    const directory = mkdtempSync(join(tmpdir(), 'sallyport-bad-'));
    for (const file of ['target.yaml', 'issuer.yaml', 'policy.yaml']) writeFileSync(join(directory, file), readFileSync(join(world.configDirectory, file)));
    writeFileSync(join(directory, 'bad.yaml'), text);
    const checked = await sallyport(['config', 'check', directory]);
    rmSync(directory, { recursive: true });
    expect(checked).toEqual({ exit: 1, text: expect.stringMatching(place) });
    coded('', checked.text);
  });

  test.each(cases)('%s is logged by a running gateway, which keeps the last good config', async (_what, text, place) => {
    const from = world.gateway.stderr().length;
    world.writeConfig('bad.yaml', text);
    const logged = await eventually('the problem is logged', () => world.gateway.stderr().slice(from).split('\n').find((line) => line.includes('"config file rejected"')));
    const { code, file, line, column, field, problem } = JSON.parse(logged) as Readonly<Record<string, string>>;
    expect(code).toBe('CONFIG_INVALID');
    expect(`${file}:${line}:${column}: ${field === '' ? '' : `${field}: `}${problem}`).toMatch(place);
    expect((await control.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    world.writeConfig('bad.yaml', null);
    await eventually('the directory is as before', async () => (await sallyport(['config', 'check', world.configDirectory])).exit === 0);
  });

  test('that is wrong at the start: the gateway ends with status 1 and says where', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'sallyport-bad-'));
    writeFileSync(join(directory, 'bad.yaml'), 'kind: [\n');
    const started = await sallyport(['serve', '--config', directory, '--data', join(directory, 'data'), '--allow-plaintext-loopback', '--http', '127.0.0.1:0']);
    rmSync(directory, { recursive: true });
    expect(started).toEqual({ exit: 1, text: expect.stringMatching(/bad\.yaml:2:1: /) });
  });
});

function encoded(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}
