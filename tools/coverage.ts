import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';

/**
 * Runs the unit tests that concern what decides, and fails unless every line of it ran.
 *
 * A line that only a bug of ours can reach says so: `satisfies never`, or a comment with "bug-only" on it or right above.
 * Tests of time and of the stack's depth stay out: counting lines changes both.
 */
const root = resolve(import.meta.dirname, '..');
const measured = ['sidecar/core', 'operator/render'];
const tests = [...measured, 'sidecar/adapters', 'sidecar/postgres'];

const directory = mkdtempSync(join(tmpdir(), 'sallyport-coverage-'));
try {
  const status = runTests();
  const missed = sources().flatMap((path) => uncovered(path, coverageOf(path)));
  for (const line of missed) process.stdout.write(`not covered: ${line}\n`);
  process.stdout.write(`${missed.length === 0 ? 'every' : 'not every'} line of ${measured.join(' and ')} ran\n`);
  process.exitCode = status === 0 && missed.length === 0 ? 0 : 1;
} finally {
  rmSync(directory, { recursive: true, force: true });
}

function runTests(): number {
  const jest = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', 'node_modules/jest/bin/jest.js', '--selectProjects', 'unit', '--reporters=default', '--silent'];
  const coverage = ['--coverage', '--coverageProvider=v8', '--coverageReporters=json', `--coverageDirectory=${directory}`, ...measured.map((folder) => `--collectCoverageFrom=${folder}/**/*.ts`)];
  const { status } = spawnSync(process.execPath, [...jest, ...coverage, '--testNamePattern=^(?!time |.*overflow)', '--', ...tests], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  return status ?? 1;
}

function sources(): readonly string[] {
  return measured.flatMap((folder) => globSync(`${folder}/**/*.ts`, { cwd: root })).filter((path) => !path.endsWith('.test.ts') && !path.includes('testdata')).sort();
}

/** istanbul's form, as the json reporter writes it. */
interface FileCoverage {
  readonly statementMap: Readonly<Record<string, { readonly start: { readonly line: number }; readonly end: { readonly line: number } }>>;
  readonly s: Readonly<Record<string, number>>;
}

function coverageOf(path: string): FileCoverage | null {
  const all = JSON.parse(readFileSync(join(directory, 'coverage-final.json'), 'utf8')) as Readonly<Record<string, FileCoverage>>;
  return Object.entries(all).find(([file]) => relative(root, file) === path)?.[1] ?? null;
}

function uncovered(path: string, coverage: FileCoverage | null): readonly string[] {
  const text = readFileSync(join(root, path), 'utf8');
  if (!hasCode(text)) return [];
  if (!coverage) return [`${path}: no test loads it`];
  const lines = text.split('\n');
  const missed = new Set<number>();
  for (const [id, { start, end }] of Object.entries(coverage.statementMap)) if (coverage.s[id] === 0) for (let line = start.line; line <= end.line; line++) missed.add(line);
  return [...missed].filter((line) => !isExcused(lines, line, missed)).sort((a, b) => a - b).map((line) => `${path}:${line}: ${lines[line - 1]?.trim()}`);
}

/** Types leave nothing behind. */
function hasCode(text: string): boolean {
  return stripTypeScriptTypes(text).replaceAll(/\/\*[^]*?\*\/|\/\/.*|^import .*$/gm, '').trim() !== '';
}

/** A block is excused by what stands above its first line. */
function isExcused(lines: readonly string[], line: number, missed: ReadonlySet<number>): boolean {
  const text = lines[line - 1] ?? '';
  if (/^[\s{}()[\];,]*$|^\s*(\/\/|\/?\*)/.test(text) || /satisfies never|bug-only/i.test(text)) return true;
  let first = line;
  while (missed.has(first - 1)) first--;
  return [first - 1, first].some((above) => /satisfies never|bug-only/i.test(lines[above - 1] ?? '')) || (/^\s*default:$/.test(text) && /satisfies never/.test(lines[line] ?? ''));
}
