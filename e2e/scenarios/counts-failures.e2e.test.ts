import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

/** A small repository with the real .ci/run, Makefile rules for tests only, and these test files. */
function aRepository(files: Readonly<Record<string, string>>, makeTest: string): string {
  const root = mkdtempSync(join(tmpdir(), 'sallyport-ci-'));
  directories.push(root);
  mkdirSync(join(root, '.ci'));
  mkdirSync(join(root, 'tools'));
  cpSync('.ci/run', join(root, '.ci/run'));
  cpSync('tools/totals-reporter.ts', join(root, 'tools/totals-reporter.ts'));
  symlinkSync(join(process.cwd(), 'node_modules'), join(root, 'node_modules'));
  writeFileSync(join(root, 'package.json'), '{"type": "module"}');
  writeFileSync(join(root, 'jest.config.js'), "export default { transform: {}, extensionsToTreatAsEsm: ['.ts'], reporters: ['default', '<rootDir>/tools/totals-reporter.ts'], testMatch: ['<rootDir>/*.test.ts'] };\n");
  writeFileSync(join(root, 'Makefile'), `test:\n\t${makeTest}\n`);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
  return root;
}

function runCi(root: string): { readonly status: number | null; readonly lastLine: string } {
  const ran = spawnSync('bash', ['.ci/run'], { cwd: root, encoding: 'utf8', timeout: 55_000, env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/', SALLYPORT_CI_INSTALL: 'no' } });
  return { status: ran.status, lastLine: ran.stdout.trimEnd().split('\n').at(-1) ?? '' };
}

const jest = 'node_modules/.bin/node --experimental-vm-modules --disable-warning=ExperimentalWarning node_modules/jest/bin/jest.js';
const passing = "import { expect, test } from '@jest/globals';\ntest('one', () => expect(1).toBe(1));\ntest.skip('two', () => {});\n";

describe('.ci/run', () => {
  test('closes with the counts and exits 0 when everything passed', () => {
    expect(runCi(aRepository({ 'a.test.ts': passing }, jest))).toEqual({ status: 0, lastLine: '1 passed, 0 failed, 1 skipped' });
  });

  test('counts a test file with a broken import as failed', () => {
    const ran = runCi(aRepository({ 'a.test.ts': passing, 'broken.test.ts': "import './no-such-file.ts';\n" }, jest));
    expect(ran.status).not.toBe(0);
    expect(ran.lastLine).toBe('1 passed, 1 failed, 1 skipped');
  });

  test('fails when the run fails before any test, and keeps that exit status', () => {
    expect(runCi(aRepository({}, '@exit 3'))).toEqual({ status: 2, lastLine: '0 passed, 1 failed, 0 skipped' });
  });

  test('fails when no test ran although all went well', () => {
    expect(runCi(aRepository({}, '@true'))).toEqual({ status: 1, lastLine: '0 passed, 1 failed, 0 skipped' });
  });
});
