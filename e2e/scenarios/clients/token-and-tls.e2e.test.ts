import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { findAsset } from '../../../tools/e2e-assets.ts';
import { conninfo, endClients, libpqEnv, type Ran, runClient, startOnTerminal } from '../../hosts/clients.ts';
import { readDataDirectory, startWorld, type World } from '../../hosts/gateway.ts';

jest.setTimeout(30_000);
const psql = findAsset('psql')?.path ?? '';
const directory = mkdtempSync(join(tmpdir(), 'sp-token-'));
let world: World;
let token = '';
let longToken = '';

beforeAll(async () => {
  world = await startWorld();
  token = await world.token('engineer');
  longToken = await world.issuer.sign({ sub: 'engineer', email: 'engineer@bank.example', groups: ['sre'], roles: 'r'.repeat(8_700) });
}, 60_000);

afterAll(async () => {
  endClients();
  await world[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

function ask(env: NodeJS.ProcessEnv, where = conninfo(world)): Promise<Ran> {
  return runClient(psql, ['-X', '-At', '-c', 'select 1', where], env);
}

/** The connection string with another sslmode. */
function mode(sslmode: string): string {
  return conninfo(world).replace('sslmode=verify-full', `sslmode=${sslmode}`);
}

const whenHere = psql ? describe : describe.skip;

whenHere('a token of 12,000 bytes', () => {
  test('works from PGPASSWORD', async () => {
    expect(longToken.length).toBeGreaterThan(11_900);
    expect(await ask(libpqEnv(longToken))).toEqual({ code: 0, out: '1\n', err: '' });
  });

  test('works from .pgpass', async () => {
    const file = join(directory, 'pgpass');
    writeFileSync(file, `localhost:${world.port}:*:me:${longToken}\n`);
    chmodSync(file, 0o600);
    const { PGPASSWORD: _, ...env } = libpqEnv('', { PGPASSFILE: file });
    expect(await ask(env)).toEqual({ code: 0, out: '1\n', err: '' });
  });

  test('is cut by the prompt at 4,095 bytes, and the refusal says so', async () => {
    const { PGPASSWORD: _, ...env } = libpqEnv('', { PGPASSFILE: '/nonexistent' });
    const session = startOnTerminal(psql, ['-X', '-At', '-c', 'select 1', conninfo(world)], env);
    await session.until(/Password for user me:/);
    session.say(longToken);
    await session.until(/HINT: {2}.*4095 bytes.*PGPASSWORD/s);
    expect((await session.ended).out).toMatch(/FATAL: .*\[TOKEN_/);
  });
});

whenHere('the sslmode of a client', () => {
  test.each(['require', 'prefer', 'allow', 'verify-ca', 'verify-full'])('%s reaches a session over TLS', async (sslmode) => {
    const { out, code } = await runClient(psql, ['-X', '-c', '\\conninfo', mode(sslmode)], libpqEnv(token));
    expect([code, out]).toEqual([0, expect.stringContaining('SSL connection (protocol: TLSv1.3')]);
  });

  test('disable is refused before the token is asked for', async () => {
    expect(await ask(libpqEnv(token), mode('disable'))).toMatchObject({ code: 2, err: expect.stringContaining('[TLS_REQUIRED]') });
  });

  test('verify-full finds a certificate for another name out, and one of another authority', async () => {
    expect((await ask(libpqEnv(token), conninfo(world).replace('host=localhost', 'host=other.example'))).err).toContain('does not match host name "other.example"');
    expect((await ask(libpqEnv(token), conninfo(world).replace(/sslrootcert=\S+/, 'sslrootcert=/etc/ssl/certs/ca-certificates.crt'))).err).toMatch(/certificate verify failed|does not exist/);
  });

  test('channel_binding=require fails at the client, which says why', async () => {
    expect((await ask(libpqEnv(token), `${conninfo(world)} channel_binding=require`)).err).toContain('channel binding required but not supported by server');
  });

  test('prefer with a token that is refused is refused twice, the second time without TLS and before the token', async () => {
    const { err } = await ask(libpqEnv('not-a-token'), mode('prefer'));
    expect(err).toMatch(/\[TOKEN_[A-Z]+\][\s\S]*\[TLS_REQUIRED\]/);
  });
});

whenHere('what is asked for at the start', () => {
  test.each([
    ['dbname=mysql', 'DATABASE_NOT_SERVED'],
    ['dbname=postgres replication=database', 'REPLICATION_UNSUPPORTED'],
    ["dbname=postgres options='-c log_statement=none'", 'STARTUP_PARAMETER_REFUSED'],
    ['dbname=postgres client_encoding=SJIS', 'ENCODING_REFUSED'],
  ])('%s is refused by name', async (asked, code) => {
    expect((await ask(libpqEnv(token), conninfo(world, asked))).err).toContain(`[${code}]`);
  });

  test('options that may be set are set', async () => {
    const { out } = await runClient(psql, ['-X', '-At', '-c', 'show search_path', '-c', 'show datestyle', '-c', 'show statement_timeout', conninfo(world, "dbname=postgres options='-c search_path=pg_catalog -c datestyle=German --statement-timeout=9s'")], libpqEnv(token));
    expect(out).toBe('pg_catalog\nGerman, DMY\n9s\n');
  });
});

whenHere('the token', () => {
  test('stands in no record, no log of the gateway, and not in the log of the server', async () => {
    const all = `${await readDataDirectory(world.dataDirectory)}${world.gateway.stderr()}${world.gateway.stdout()}${world.postgres.log()}`;
    for (const one of [token, longToken]) for (const part of one.split('.').map((piece) => piece.slice(-40))) expect(all.includes(part)).toBe(false);
  });
});
