import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readMountedHostKeys } from './ssh-host-keys.ts';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'sallyport-host-keys-'))));
afterEach(() => rmSync(folder, { recursive: true }));

test.each<[string, Readonly<Record<string, string>>, readonly string[]]>([
  ['the Ed25519 key alone', { host_ed25519: 'e' }, ['e']],
  ['both, the Ed25519 key first', { host_rsa: 'r', host_ed25519: 'e' }, ['e', 'r']],
  ['none: the key that is to come is not shown yet', { 'host_ed25519.next': 'n' }, []],
  ['none: an RSA key alone opens no listener', { host_rsa: 'r' }, []],
])('%s', async (_name, files, keys) => {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  expect((await readMountedHostKeys(folder)).map((key) => Buffer.from(key).toString())).toEqual(keys);
});
