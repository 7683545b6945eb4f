import 'reflect-metadata';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as x509 from '@peculiar/x509';
import pg from 'pg';
import { webcrypto } from 'node:crypto';

import type { SecretSource } from '../../sidecar/core/ports.ts';
import { cancelUpstream } from '../../sidecar/postgres/cancel-upstream.ts';
import { openSideConnection } from '../../sidecar/postgres/side-connection.ts';
import { connectUpstream, type Upstream, type UpstreamDeps } from '../../sidecar/postgres/upstream.ts';
import { query } from '../../sidecar/postgres/wire/frame-writer.ts';
import { type Authority, createAuthority } from '../hosts/certificates.ts';
import { type PostgresHost, startPostgres } from '../hosts/postgres.ts';
import { aPermit, aTarget, readBytes, secretsOf } from '../hosts/wire.ts';

const oddDatabase = `a?&@/%' "b`;
const hba = [
  'hostssl all scram_user 127.0.0.1/32 scram-sha-256', 'hostssl all odd_user 127.0.0.1/32 scram-sha-256', 'hostssl all md5_user 127.0.0.1/32 md5', 'hostssl all clear_user 127.0.0.1/32 password',
  'hostssl all cert_user 127.0.0.1/32 cert', 'hostnossl all plain_scram 127.0.0.1/32 scram-sha-256', 'hostnossl all plain_md5 127.0.0.1/32 md5', 'hostnossl all plain_clear 127.0.0.1/32 password',
  'host all trusted 127.0.0.1/32 trust', 'host all unsound 127.0.0.1/32 trust',
];
const passwords: Readonly<Record<string, string>> = { odd_user: 'pä\u00a0ss\u00adw\u2168' };
const passwordOf = (role: string): string => passwords[role] ?? `secret-of-${role}`;

let authority: Authority;
let client: { certificate: string; key: string };
const hosts = new Map<string, PostgresHost>();

beforeAll(async () => {
  authority = await createAuthority();
  client = await authority.issue({ commonName: 'cert_user', client: true });
  const tls = { ...(await authority.issue({ commonName: 'db', dnsNames: ['localhost', 'db.internal'], algorithm: 'RS256' })), clientCa: authority.ca };
  await Promise.all((['embedded', 'system'] as const).map(async (version) => {
    const host = await startPostgres({ version, tls, hba });
    hosts.set(version, host);
    await createRoles(host);
  }));
}, 120_000);

afterAll(async () => {
  await Promise.all([...hosts.values()].map((host) => host.stop()));
}, 60_000);

async function createRoles(host: PostgresHost): Promise<void> {
  const admin = new pg.Client({ host: host.socketDirectory, port: host.port, user: 'postgres', database: 'postgres' });
  await admin.connect();
  for (const role of ['scram_user', 'odd_user', 'md5_user', 'clear_user', 'cert_user', 'plain_scram', 'plain_md5', 'plain_clear', 'trusted', 'unsound']) {
    await admin.query(`set password_encryption = '${role.includes('md5') ? 'md5' : 'scram-sha-256'}'`);
    await admin.query(`create role ${role} login password ${admin.escapeLiteral(passwordOf(role))}`);
  }
  await admin.query('alter role unsound set standard_conforming_strings = off');
  await admin.query(`create database ${admin.escapeIdentifier(oddDatabase)}`);
  await admin.end();
}

function hostOf(version: string): PostgresHost {
  const host = hosts.get(version);
  if (!host) throw new Error(`no server ${version}`);
  return host;
}

interface Attempt { readonly role?: string; readonly database?: string; readonly ca?: string; readonly secrets?: Record<string, string>; readonly tls?: Parameters<typeof aTarget>[1]; readonly port?: number }

function depsOf(attempt: Attempt): UpstreamDeps & { readonly secrets: SecretSource } {
  const role = attempt.role ?? 'scram_user';
  const secrets = secretsOf({ username: `${role}\n`, password: `${passwordOf(role)}\n`, 'ca.crt': attempt.ca ?? authority.ca, ...attempt.secrets });
  return { secrets, clock: { now: Date.now, monotonicMs: () => performance.now() }, signal: new AbortController().signal, deadlineMs: 10_000 };
}

function open(version: string, attempt: Attempt = {}): Promise<Upstream> {
  const permit = aPermit(aTarget(attempt.port ?? hostOf(version).port, attempt.tls), attempt.database);
  return connectUpstream(permit, { parameters: new Map([['client_encoding', 'UTF8'], ['search_path', 'a, "b c"']]), sessionId: 's1', username: 'oidc:älice' }, depsOf(attempt));
}

/** The first column of the first row. */
async function ask(upstream: Upstream, sql: string): Promise<string> {
  upstream.socket.write(query(sql));
  for (;;) {
    const header = await readBytes(upstream.socket, 5);
    const body = header.readUInt32BE(1) > 4 ? await readBytes(upstream.socket, header.readUInt32BE(1) - 4) : Buffer.alloc(0);
    if (header[0] === 0x44) {
      const value = body.toString('utf8', 6);
      while ((await readBytes(upstream.socket, 5))[0] !== 0x5a) await readBytes(upstream.socket, 'SELECT 1\0'.length);
      await readBytes(upstream.socket, 1);
      return value;
    }
  }
}

describe.each(['embedded', 'system'])('PostgreSQL (%s)', (version) => {
  test.each([
    ['SCRAM-SHA-256-PLUS, channel binding being required', { tls: { channelBinding: 'Require' } }],
    ['SCRAM with a password that SASLprep changes', { role: 'odd_user', tls: { channelBinding: 'Require' } }],
    ['VerifyFull by another name that the certificate has', { tls: { host: '127.0.0.1', serverName: 'db.internal' } }],
    ['VerifyCA by an address that the certificate does not have', { tls: { host: '127.0.0.1', mode: 'VerifyCA' } }],
    ['md5 over verified TLS', { role: 'md5_user' }],
    ['cleartext over verified TLS', { role: 'clear_user' }],
    ['SCRAM without TLS', { role: 'plain_scram', tls: { mode: 'Disable' } }],
    ['trust without TLS', { role: 'trusted', tls: { mode: 'Disable' } }],
    ['a database whose name is full of syntax', { database: oddDatabase }],
  ] as const)('is logged in to with %s', async (_, attempt) => {
    await using upstream = await open(version, attempt);
    const database = 'database' in attempt ? attempt.database : 'postgres';
    expect(upstream).toMatchObject({ status: 'I', serverVersion: { major: hostOf(version).major }, role: 'role' in attempt ? attempt.role : 'scram_user' });
    expect(upstream.leftover.length).toBe(0);
    expect(await ask(upstream, "select format('%s|%s|%s|%s', current_database(), current_setting('application_name'), current_setting('search_path'), pg_backend_pid())")).toBe(
      `${database}|sallyport/s1/oidc:?lice|a, "b c"|${upstream.processId}`,
    );
  });

  test('is logged in to with a client certificate', async () => {
    await using upstream = await open(version, { role: 'cert_user', secrets: { 'tls.crt': client.certificate, 'tls.key': client.key } });
    expect(await ask(upstream, 'select current_user')).toBe('cert_user');
  });

  test.each([
    ['the certificate is from another authority', { ca: 'other' }, 'TARGET_TLS_FAILED'],
    ['the name is not in the certificate', { tls: { host: '127.0.0.1' } }, 'TARGET_TLS_FAILED'],
    ['the password is wrong', { secrets: { password: 'wrong' } }, 'TARGET_LOGIN_FAILED'],
    ['the database does not exist', { database: 'nowhere' }, 'TARGET_LOGIN_FAILED'],
    ['no client certificate is there', { role: 'cert_user' }, 'TARGET_LOGIN_FAILED'],
    ['md5 is asked without TLS', { role: 'plain_md5', tls: { mode: 'Disable' } }, 'TARGET_LOGIN_FAILED'],
    ['cleartext is asked without TLS', { role: 'plain_clear', tls: { mode: 'Disable' } }, 'TARGET_LOGIN_FAILED'],
    ['the certificate is from an authority that the system does not know, and the target names none', { role: 'clear_user', tls: { mode: 'VerifyCA', caSecret: null } }, 'TARGET_TLS_FAILED'],
    ['channel binding is required and md5 asked', { role: 'md5_user', tls: { channelBinding: 'Require' } }, 'TARGET_LOGIN_FAILED'],
    ['channel binding is required and nothing asked', { role: 'trusted', tls: { channelBinding: 'Require' } }, 'TARGET_LOGIN_FAILED'],
    ['channel binding is required and TLS is off', { role: 'plain_scram', tls: { channelBinding: 'Require', mode: 'Disable' } }, 'TARGET_LOGIN_FAILED'],
    ['a Secret lacks the password', { secrets: { password: '' } }, 'SECRET_UNAVAILABLE'],
    ['the role reads literals in the old way', { role: 'unsound' }, 'TARGET_UNSUPPORTED'],
    ['nobody listens', { port: 1 }, 'TARGET_UNREACHABLE'],
  ] as const)('is not logged in to when %s, and the error names nothing', async (_, attempt, code) => {
    const ca = 'ca' in attempt ? (await createAuthority()).ca : authority.ca;
    const error = await open(version, { ...attempt, ca }).then(() => null, (thrown: unknown) => thrown as Error & { code: string; detail: object });
    expect(error).toMatchObject({ name: 'SallyportError', code });
    expect(`${error?.message}${JSON.stringify(error?.detail)}`).not.toMatch(/127\.0\.0\.1|localhost|db\.internal|_user|secret-of|nowhere/);
  });

  test('stops what runs when it is asked to cancel, over TLS and without', async () => {
    for (const attempt of [{}, { role: 'plain_scram', tls: { mode: 'Disable' } }] as const) {
      await using upstream = await open(version, attempt);
      upstream.socket.write(query('select pg_sleep(30)'));
      const answer = readBytes(upstream.socket, 5).then(async (header) => (header[0] === 0x54 ? (await readBytes(upstream.socket, header.readUInt32BE(1) - 4), readBytes(upstream.socket, 5)) : header));
      // Sent again until the sleep has begun: a cancel that comes too early hits nothing.
      let header: Buffer | null = null;
      void answer.then((bytes) => { header = bytes; });
      for (let i = 0; i < 50 && header === null; i++) await cancelUpstream(upstream);
      expect(String.fromCharCode((await answer)[0] ?? 0)).toBe('E');
    }
  });

  test('gives the catalog a connection that can only read', async () => {
    await using side = await openSideConnection(aPermit(aTarget(hostOf(version).port)), oddDatabase, depsOf({}));
    const answers = await Promise.all([
      side.query("select current_database(), null, pg_catalog.current_setting('application_name'), pg_catalog.current_setting('search_path'), pg_catalog.current_setting('statement_timeout')"),
      side.query("select 1; select '' union all select 'é'"),
      side.query('select 1 where false'),
    ]);
    expect(answers).toEqual([[[oddDatabase, null, 'sallyport-catalog', '', '10s']], [[''], ['é']], []]);
    await expect(side.query('create table t (a int)')).rejects.toMatchObject({ code: 'CATALOG_UNAVAILABLE', detail: { sqlstate: expect.stringMatching(/^25006$|^3F000$|^42501$/) } });
    // An error of the server leaves the connection in order; a lock timeout must not cost a login.
    expect(await side.query('select 1')).toEqual([['1']]);
    await side.close();
    expect(side.isOpen()).toBe(false);
    await expect(side.query('select 1')).rejects.toMatchObject({ code: 'CATALOG_UNAVAILABLE' });
  });

  test('closes the catalog connection on an answer that is too long', async () => {
    await using side = await openSideConnection(aPermit(aTarget(hostOf(version).port)), 'postgres', { ...depsOf({}), limitAnswerBytes: 100_000 });
    await expect(side.query("select repeat('x', 1000) from generate_series(1, 200)")).rejects.toMatchObject({ code: 'CATALOG_UNAVAILABLE' });
  });
});

test('a server without TLS is refused when TLS is asked for, never spoken to in plaintext', async () => {
  const host = await startPostgres();
  try {
    await expect(open('', { port: host.port })).rejects.toMatchObject({ code: 'TARGET_TLS_FAILED' });
    expect(host.log()).not.toContain('connection authenticated');
  } finally {
    await host.stop();
  }
}, 60_000);

test('a certificate signed with Ed25519 has no channel binding: plain SCRAM, and a failure when binding is required', async () => {
  x509.cryptoProvider.set(webcrypto as unknown as Crypto);
  const keys = (await webcrypto.subtle.generateKey({ name: 'Ed25519' }, true, ['sign', 'verify'])) as unknown as CryptoKeyPair;
  const certificate = (await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=localhost', keys, signingAlgorithm: { name: 'Ed25519' }, notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 86_400_000),
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: 'localhost' }]), new x509.BasicConstraintsExtension(true)],
  })).toString('pem');
  const key = `-----BEGIN PRIVATE KEY-----\n${Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')}\n-----END PRIVATE KEY-----\n`;
  const host = await startPostgres({ tls: { certificate, key } });
  try {
    const attempt = { port: host.port, ca: certificate, role: 'postgres', secrets: { password: host.password } };
    await using upstream = await open('', attempt);
    expect(upstream.role).toBe('postgres');
    await expect(open('', { ...attempt, tls: { channelBinding: 'Require' } })).rejects.toMatchObject({ code: 'TARGET_LOGIN_FAILED' });
  } finally {
    await host.stop();
  }
}, 60_000);
