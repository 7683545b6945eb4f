import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { anOffer } from '../../../tools/testkit/cluster-config.ts';
import { snapshotFile } from './snapshot-file.ts';

const key = Buffer.alloc(32, 7);
const now = 1_700_000_000_000;
const offer = anOffer(4);
let directory: string;

beforeEach(() => { directory = mkdtempSync(join(tmpdir(), 'sp-snapshot-')); });
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const path = (): string => join(directory, 'config-snapshot.json');
const problem = async (atMs = now, digestKey: Uint8Array = key, namespace = 'payments'): Promise<string> => {
  const read = await snapshotFile(directory, namespace, digestKey).read(atMs, 900_000);
  return read.outcome === 'usable' ? 'usable' : read.problem;
};

describe('a snapshot', () => {
  test('comes back as it was written, whole, for nobody else to read', async () => {
    await snapshotFile(directory, 'payments', key).write(offer, now);
    expect(await snapshotFile(directory, 'payments', key).read(now + 1, 900_000)).toMatchObject({ outcome: 'usable', snapshot: { lastContactMs: now, accepted: { revision: 4, parsed: { namespace: 'payments' } } } });
    expect([statSync(path()).mode & 0o777, readdirSync(directory)]).toEqual([0o600, ['config-snapshot.json']]);
  });

  test('replaces the one before', async () => {
    const file = snapshotFile(directory, 'payments', key);
    await file.write(offer, now);
    await file.write(anOffer(5), now + 1);
    expect(await file.read(now + 2, 900_000)).toMatchObject({ snapshot: { accepted: { revision: 5 }, lastContactMs: now + 1 } });
  });

  test('serves for a quarter of an hour after the last contact, and not from the future', async () => {
    await snapshotFile(directory, 'payments', key).write(offer, now);
    expect(await Promise.all([problem(now + 900_000), problem(now + 900_001), problem(now - 60_000), problem(now - 60_001)])).toEqual(['usable', 'too old', 'usable', 'from the future']);
  });

  test('that is not there, or is no snapshot, does not serve', async () => {
    expect(await problem()).toBe('missing');
    for (const text of ['', 'null', '{', '[]', '{}', '{"signature":3}']) {
      writeFileSync(path(), text);
      expect(await problem()).toMatch(/^(missing|altered)$/);
    }
  });

  test.each(['revision', 'hash', 'uid', 'config', 'lastContactMs', 'namespace', 'schema', 'signature'])('does not serve when its %s was changed', async (field) => {
    await snapshotFile(directory, 'payments', key).write(offer, now);
    const stored = JSON.parse(readFileSync(path(), 'utf8')) as Record<string, unknown>;
    const changed = typeof stored[field] === 'number' ? Number(stored[field]) + 1 : `${String(stored[field]).slice(0, -2)}00`;
    writeFileSync(path(), JSON.stringify({ ...stored, [field]: changed }));
    expect(await problem()).toBe('altered');
  });

  test('of another key or namespace does not serve', async () => {
    await snapshotFile(directory, 'payments', key).write(offer, now);
    expect(await Promise.all([problem(now, Buffer.alloc(32, 8)), problem(now, key, 'other')])).toEqual(['altered', 'invalid']);
  });
});
