import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { readNamespaceKeys } from './keys.ts';

let directory: string;
beforeEach(() => { directory = mkdtempSync(join(tmpdir(), 'sp-keys-')); });
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test('the mounted keys are read once all are there', async () => {
  for (const [i, name] of ['digest', 'masking', 'peers'].entries()) {
    expect(await readNamespaceKeys(directory)).toBeNull();
    writeFileSync(join(directory, name), Buffer.alloc(32, i));
  }
  expect(await readNamespaceKeys(directory)).toEqual({ digest: Buffer.alloc(32, 0), masking: Buffer.alloc(32, 1), peers: Buffer.alloc(32, 2) });
});

test.each([0, 31, 33, 64])('a key of %d bytes is refused, and not shown', async (length) => {
  for (const name of ['digest', 'masking', 'peers']) writeFileSync(join(directory, name), Buffer.alloc(name === 'masking' ? length : 32, 0x61));
  const refused = await readNamespaceKeys(directory).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: 'CONFIG_INVALID', detail: { file: 'masking' } });
  expect(JSON.stringify(refused)).not.toContain('aaaa');
});
