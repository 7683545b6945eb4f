import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { configDirectory, type LoginFiles, writeLogin } from './login-files.ts';

const root = mkdtempSync(join(tmpdir(), 'sp-login-files-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const login: LoginFiles = { privateKey: 'private', publicKey: 'public', certificate: 'certificate', expiresAt: '2026-11-24T12:00:00.000Z', namespace: 'payments', hosts: ['web-1.payments', '*.payments'] };

test('key and certificate are the user\'s alone, and the block ends with the certificate', async () => {
  const config = await writeLogin(root, login);
  expect(readFileSync(config, 'utf8')).toBe(`# Written by sallyport login; ends 2026-11-24T12:00:00.000Z.
Match host web-1.payments,*.payments exec "test $(date +%%s) -lt 1795521600"
  IdentityFile "${join(root, 'ssh', 'id_payments')}"
  CertificateFile "${join(root, 'ssh', 'id_payments-cert.pub')}"
  IdentitiesOnly yes
Match all
`);
  expect(['', '/id_payments', '/id_payments-cert.pub'].map((name) => statSync(join(root, `ssh${name}`)).mode & 0o777)).toEqual([0o700, 0o600, 0o600]);
});

test('a second login replaces the first', async () => {
  await writeLogin(root, { ...login, privateKey: 'second' });
  expect(readFileSync(join(root, 'ssh', 'id_payments'), 'utf8')).toBe('second');
});

test.each(['', '../x', 'a/b', 'UPPER', 'a'.repeat(64)])('%j is no namespace of a gateway, and names no file', async (namespace) => {
  await expect(writeLogin(root, { ...login, namespace })).rejects.toMatchObject({ code: 'GATEWAY_ANSWER_INVALID' });
});

test.each(['web 1', 'x"\nProxyCommand y', '', 'a;b'])('the host %j is not written into a configuration', async (host) => {
  await expect(writeLogin(root, { ...login, hosts: [host] })).rejects.toMatchObject({ code: 'USAGE' });
});

test.each([[{ SALLYPORT_CONFIG_DIR: '/x' }, '/x'], [{ XDG_CONFIG_HOME: '/y', HOME: '/home/a' }, '/y/sallyport'], [{ HOME: '/home/a' }, '/home/a/.config/sallyport']])('with %j logins are in %s', (env, expected) => {
  expect(configDirectory(env)).toBe(expected);
});
