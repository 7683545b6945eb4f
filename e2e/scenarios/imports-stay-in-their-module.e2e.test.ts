import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

/** Lines between modules that the compiler's project references draw; tools/boundaries.test.ts tries the rest on the linter. */
const planted = [
  { project: 'contract', file: 'contract/planted.ts', imported: '../runtime/clock.ts' },
  { project: 'runtime', file: 'runtime/planted.ts', imported: '../contract/names.ts' },
  { project: 'operator/render', file: 'operator/render/planted.ts', imported: '../../sidecar/core/errors.ts' },
  { project: 'sidecar/core', file: 'sidecar/core/planted.ts', imported: '../../runtime/clock.ts' },
  { project: 'sidecar', file: 'sidecar/postgres/planted.ts', imported: '../../operator/render/proxy-config.ts' },
] as const;

describe.each(planted)('$file may not import $imported', ({ project, file, imported }) => {
  const root = mkdtempSync(join(tmpdir(), 'sallyport-projects-'));

  beforeAll(() => {
    const sources = execFileSync('git', ['ls-files', 'contract', 'runtime', 'operator', 'sidecar', 'tsconfig.base.json', 'package.json'], { encoding: 'utf8' });
    for (const path of sources.split('\n').filter((name) => /\.(ts|json)$/.test(name) && !name.includes('testdata') && !name.endsWith('.test.ts'))) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      cpSync(path, join(root, path));
    }
    symlinkSync(join(process.cwd(), 'node_modules'), join(root, 'node_modules'));
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  test.each([
    ['as a value', `import * as other from '${imported}';\nexport const names: readonly string[] = Object.keys(other);\n`],
    ['as a type', `import type * as Other from '${imported}';\nexport type Names = keyof typeof Other;\n`],
    ['as a type in passing', `export type Names = keyof typeof import('${imported}');\n`],
    ['later', `export const load = (): Promise<unknown> => import('${imported}');\n`],
  ])('%s', (_how, text) => {
    writeFileSync(join(root, file), text);
    const ran = spawnSync('node_modules/.bin/tsc', ['-b', project], { cwd: root, encoding: 'utf8' });
    expect(ran.status).not.toBe(0);
    expect(ran.stdout).toMatch(new RegExp(`${file.replaceAll('.', '\\.')}.* error TS(?:6059|6307)`));
  });
});
