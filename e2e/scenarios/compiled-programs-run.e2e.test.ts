import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { beforeAll, describe, expect, test } from '@jest/globals';

/** `make e2e` builds dist/ first; run alone, this file builds it. */
beforeAll(() => {
  if (existsSync('dist/cli/main.js')) return;
  const build = spawnSync('node_modules/.bin/tsc', ['-b'], { encoding: 'utf8' });
  if (build.status !== 0) throw new Error(build.stdout);
}, 120_000);

/** Runs the pinned Node, from another folder than the repository's, as an installed program would. */
function runNode(args: readonly string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  return spawnSync(process.execPath, args, { cwd: '/', encoding: 'utf8', timeout: 50_000, env: { PATH: process.env['PATH'] ?? '' } });
}

const main = `${process.cwd()}/dist/cli/main.js`;

describe('the compiled program', () => {
  test('explains itself and knows every command of the sources', () => {
    const compiled = runNode([main, '--help']);
    expect(compiled).toMatchObject({ status: 0, stderr: '' });
    expect(compiled.stdout).toBe(runNode(['--disable-warning=ExperimentalWarning', `${process.cwd()}/cli/main.ts`, '--help']).stdout);
  });

  test('loads the gateway', () => {
    expect(runNode([main, 'serve', '--help'])).toMatchObject({ status: 0, stderr: '' });
  });

  test('answers an unknown command with status 4 and the way to the help', () => {
    const answer = runNode([main, 'no-such-command']);
    expect(answer.status).toBe(4);
    expect(answer.stderr).toContain('sallyport help');
  });

  test('parses long statements in its worker thread', () => {
    const text = `SELECT ${Array.from({ length: 4_000 }, (_, at) => `a${at}`).join(', ')} FROM t`;
    const script = [
      `import { createSqlParser, inlineLimitBytes } from '${process.cwd()}/dist/sidecar/adapters/sql-parser.js';`,
      `const text = ${JSON.stringify(text)};`,
      'const parser = await createSqlParser();',
      'const parsed = parser.parse(text);',
      "console.log(JSON.stringify({ long: text.length > inlineLimitBytes, inThread: parsed instanceof Promise, outcome: (await parsed).outcome }));",
      'await parser[Symbol.asyncDispose]();',
    ].join('\n');
    const ran = runNode(['--input-type=module', '--eval', script]);
    expect(ran.stderr).toBe('');
    expect(JSON.parse(ran.stdout)).toEqual({ long: true, inThread: true, outcome: 'parsed' });
  });
});
