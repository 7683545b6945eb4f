import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { findStale } from './verify-generated.ts';

// Each test runs all generators: 1.5 s of CPU, which a busy machine gives in more than Jest's 5 s.
jest.setTimeout(60_000);

let copy: string;

beforeEach(() => {
  copy = mkdtempSync(join(tmpdir(), 'sallyport-verify-'));
  for (const path of ['crds', 'helm', 'package.json', 'contract/api', 'docs/reference', 'docs/errors.md', 'docs/install.md', 'sidecar/core/errors.ts', 'biome.json']) cpSync(path, join(copy, path), { recursive: true });
});
afterEach(() => rmSync(copy, { recursive: true, force: true }));

function stale(): Promise<readonly string[]> {
  return findStale(pathToFileURL(`${copy}/`));
}

function edit(path: string, from: string | RegExp, to: string): void {
  const text = readFileSync(join(copy, path), 'utf8');
  writeFileSync(join(copy, path), text.replace(from, to));
  expect(readFileSync(join(copy, path), 'utf8')).not.toBe(text);
}

describe('generated files', () => {
  test('are current in an unchanged copy', async () => {
    expect(await stale()).toEqual([]);
  });

  test('are stale when a CRD changed and they did not', async () => {
    edit('crds/targets.yaml', /maximum: 65535/, 'maximum: 65534');
    expect(await stale()).toEqual(['contract/api/schemas.gen.ts', 'docs/reference/target.md', 'helm/sallyport/templates/crds/targets.yaml', 'helm/sallyport-crds/templates/targets.yaml']);
  });

  test('are stale when somebody edited them', async () => {
    appendFileSync(join(copy, 'docs/errors.md'), '\nA note.\n');
    edit('biome.json', 'node:crypto', 'node:fs');
    expect(await stale()).toEqual(['docs/errors.md', 'biome.json']);
  });

  test('are stale when one is missing', async () => {
    rmSync(join(copy, 'docs/reference/accesspolicy.md'));
    expect(await stale()).toEqual(['docs/reference/accesspolicy.md']);
  });
});
