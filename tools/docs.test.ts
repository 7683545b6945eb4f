import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';

const documents = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], { encoding: 'utf8' }).split('\n').filter((path) => path !== '' && existsSync(path));
const makefile = readFileSync('Makefile', 'utf8');

describe.each(documents)('%s', (path) => {
  const text = readFileSync(path, 'utf8');

  test('links only to files and headings that exist', () => {
    const links = [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '').filter((link) => !/^[a-z]+:/.test(link));
    expect(links.filter((link) => !resolves(path, link))).toEqual([]);
  });

  test('names only make targets that exist', () => {
    const named = [...text.matchAll(/(?:^|[`$] ?)make ([a-z][a-z0-9-]*)/gm)].map((match) => match[1] ?? '');
    expect(named.filter((target) => !new RegExp(`^${target}:`, 'm').test(makefile))).toEqual([]);
  });

  test('names only documents and sources that exist', () => {
    const named = [...text.matchAll(/`((?:docs|tools|contract|runtime|operator|sidecar|cli|e2e|bench|examples|crds)\/[\w./-]+\.(?:ts|md|yaml|mjs|json))`/g)].map((match) => match[1] ?? '');
    expect(named.filter((file) => !existsSync(file))).toEqual([]);
  });

  test('claims no certificate and no conformity', () => {
    expect(text).not.toMatch(/\b(?:is|are|fully|certified|PCI|SOC 2|FFIEC)[ -](?:certified|compliant)\b|\bcompliant with\b/i);
  });
});

describe('docs/adr/0001', () => {
  test('has a row for every direct dependency and for nothing else', () => {
    const { dependencies, devDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as Readonly<Record<'dependencies' | 'devDependencies', Readonly<Record<string, string>>>>;
    const [product = '', development = ''] = readFileSync('docs/adr/0001-dependencies.md', 'utf8').split('## In development');
    expect(rows(product)).toEqual(Object.keys(dependencies).sort());
    expect(rows(development)).toEqual(Object.keys(devDependencies).sort());
  });

  test('gives each of them a reason, a licence, a keeper and a way out', () => {
    const cells = readFileSync('docs/adr/0001-dependencies.md', 'utf8').split('\n').filter((line) => line.startsWith('| `')).map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim()));
    expect(cells.filter((row) => row.length !== 5 || row.some((cell) => cell === ''))).toEqual([]);
  });
});

test('package.json pins every dependency exactly', () => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as Readonly<Record<'dependencies' | 'devDependencies', Readonly<Record<string, string>>>>;
  expect(Object.entries({ ...dependencies, ...devDependencies }).filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version))).toEqual([]);
});

test('package-lock.json is the one of package.json', () => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as Readonly<Record<string, unknown>>;
  const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { readonly packages: Readonly<Record<string, Readonly<Record<string, unknown>>>> };
  expect(lock.packages['']).toMatchObject({ dependencies, devDependencies });
});

test('package-lock.json records no download addresses', () => {
  expect(readFileSync('package-lock.json', 'utf8')).not.toMatch(/"resolved": "http/);
});

function rows(text: string): readonly string[] {
  return [...text.matchAll(/^\| `([^`]+)` \|/gm)].map((match) => match[1] ?? '').sort();
}

function withoutCode(text: string): string {
  return text.replaceAll(/```[\s\S]*?```|`[^`\n]*`/g, '');
}

function resolves(from: string, link: string): boolean {
  const [target = '', heading] = link.split('#');
  const file = target === '' ? from : join(dirname(from), target);
  if (!existsSync(file)) return false;
  if (heading === undefined || !file.endsWith('.md')) return true;
  const headings = [...readFileSync(file, 'utf8').matchAll(/^#+ (.+)$/gm)].map((match) => (match[1] ?? '').toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'));
  return headings.includes(heading);
}
