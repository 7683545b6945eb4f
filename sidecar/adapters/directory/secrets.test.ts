import { expect, test } from '@jest/globals';
import { createDirectorySecrets } from './secrets.ts';

const values = (text: string): ReadonlyMap<string, ReadonlyMap<string, Uint8Array>> => new Map([['orders', new Map([['password', Buffer.from(text)]])]]);

test('a replaced Secret serves the next read', async () => {
  const secrets = createDirectorySecrets();
  secrets.replace(values('old'));
  secrets.replace(values('new'));
  expect(Buffer.from(await secrets.read('orders', 'password')).toString()).toBe('new');
});

test('a caller may wipe what it got without harm to the next', async () => {
  const secrets = createDirectorySecrets();
  secrets.replace(values('kept'));
  (await secrets.read('orders', 'password')).fill(0);
  expect(Buffer.from(await secrets.read('orders', 'password')).toString()).toBe('kept');
});

test.each([['other', 'password'], ['orders', 'username']])('what is missing (%s, %s) is an error for read and null for readOptional', async (name, key) => {
  const secrets = createDirectorySecrets();
  secrets.replace(values('x'));
  expect(await secrets.readOptional(name, key)).toBeNull();
  await expect(secrets.read(name, key)).rejects.toMatchObject({ code: 'SECRET_UNAVAILABLE' });
});
