import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { boundaries } from './boundaries.ts';

/** The three spellings of an import. */
const spellings = {
  static: (path: string) => `import { x } from '${path}';\nexport const y: unknown = x;\n`,
  'type-only': (path: string) => `import type { X } from '${path}';\nexport const y: X | null = null;\n`,
  dynamic: (path: string) => `export const y = (): Promise<unknown> => import('${path}');\n`,
};

const planted = boundaries.flatMap((row) =>
  row.planted.flatMap((path, at) => Object.keys(spellings).map((spelling) => ({ row: row.files, path, spelling, file: `${row.files.replace(/\/\*+(\.ts)?$/, '')}/planted-${at}-${spelling}.ts` }))),
);

describe('a forbidden import fails the lint', () => {
  const root = mkdtempSync(join(tmpdir(), 'sallyport-boundaries-'));
  let refused: ReadonlySet<string>;

  beforeAll(() => {
    writeFileSync(join(root, 'biome.json'), readFileSync('biome.json'));
    for (const { file, path, spelling } of planted) plant(file, spellings[spelling as keyof typeof spellings](path));
    plant('sidecar/core/permitted.ts', "import { x } from '../../contract/names.ts';\nimport { y } from 'node:crypto';\nimport { z } from './errors.ts';\nexport const all: unknown = [x, y, z];\n");
    plant('sidecar/core/permitted.test.ts', "import { x } from '../../tools/testkit/audit.ts';\nimport { y } from 'fast-check';\nexport const all: unknown = [x, y];\n");
    plant('sidecar/core/planted.test.ts', "import { x } from '../postgres/startup.ts';\nexport const all: unknown = x;\n");
    refused = restricted(root);
  });

  afterAll(() => rmSync(root, { recursive: true, force: true }));

  test.each(planted)('$row: $spelling import of $path', ({ file }) => {
    expect([...refused]).toContain(file);
  });

  test('in a test beside the code, of a module that the code may not import either', () => {
    expect([...refused]).toContain('sidecar/core/planted.test.ts');
  });

  test('and a permitted one does not', () => {
    expect([...refused].filter((file) => file.includes('permitted'))).toEqual([]);
  });

  function plant(file: string, text: string): void {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
});

describe('the import table', () => {
  test('has a row for every folder of product code', () => {
    const folders = execFileSync('git', ['ls-files', '*.ts'], { encoding: 'utf8' }).split('\n').filter((path) => /^(contract|runtime|operator|sidecar|cli|console)\//.test(path));
    const prefixes = boundaries.map((row) => row.files.replace(/\*+(\.ts)?$/, ''));
    expect(folders.filter((path) => !prefixes.some((prefix) => path.startsWith(prefix)))).toEqual([]);
  });

  test('cannot be got round by an import whose path is computed, except for the commands of the CLI', () => {
    const computed = sources('.').filter((path) => /\bimport\(\s*[^'"\s)]/.test(readFileSync(path, 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')));
    expect(computed).toEqual(['cli/main.ts']);
  });
});

/** Files in which Biome reports a restricted import. */
function restricted(root: string): ReadonlySet<string> {
  const run = spawnSync(join(process.cwd(), 'node_modules/.bin/biome'), ['lint', '--only=style/noRestrictedImports', '--reporter=json', '--max-diagnostics=none', '.'], { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20 });
  const report = JSON.parse(run.stdout) as { readonly diagnostics: readonly { readonly category: string; readonly location: { readonly path: string | { readonly file: string } } }[] };
  return new Set(report.diagnostics.filter((each) => each.category === 'lint/style/noRestrictedImports').map(({ location: { path } }) => (typeof path === 'string' ? path : path.file).replace(/^\.\//, '')));
}

function sources(root: string): readonly string[] {
  return ['contract', 'runtime', 'operator', 'sidecar', 'cli']
    .flatMap((folder) => readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((path) => `${folder}/${path}`))
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts') && !path.includes('node_modules'));
}
