import { expect, test } from '@jest/globals';
import { main } from './main.ts';

async function run(...argv: string[]): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }> {
  let stdout = '';
  let stderr = '';
  const status = await main(argv, { stdout: { write: (text) => void (stdout += text) }, stderr: { write: (text) => void (stderr += text) }, env: {} });
  return { status, stdout, stderr };
}

test('help lists the commands with their summaries', async () => {
  expect(await run('help')).toMatchObject({ status: 0, stderr: '', stdout: expect.stringMatching(/\n {2}config check {2,}check the YAML of a config directory/) });
});

test('a command of two words gets the words behind them', async () => {
  expect(await run('config', 'check', 'examples/quickstart')).toEqual({ status: 0, stderr: '', stdout: '1 target, 1 policy, 1 identity provider: ok\n' });
});

test('an unknown command exits 4 and names what is similar', async () => {
  expect(await run('config', 'chekc')).toEqual({ status: 4, stdout: '', stderr: 'sallyport: unknown command: config\nDid you mean: config check?\nSee: sallyport help\n' });
});

test.each(['../main', '__proto__', 'constructor', 'approve.ts', '\u001b[2J'])('%j is no command, and what was typed cannot move the cursor', async (name) => {
  const { status, stderr } = await run(name);
  expect([status, /[^\n\x20-\x7e]/.test(stderr)]).toEqual([4, false]);
});

test('wrong options exit 4 and say where to look', async () => {
  expect(await run('config', 'check', '--nonsense', 'x')).toMatchObject({ status: 4, stderr: expect.stringMatching(/--nonsense[^]*See: sallyport config check --help/) });
});

test('a directory with errors exits 1 and prints file, line, column and field', async () => {
  expect(await run('config', 'check', 'operator/render/testdata/broken-policy-withholds-its-targets')).toMatchObject({
    status: 1, stdout: '', stderr: expect.stringMatching(/input\.yaml:15:8: spec\.postgres\.databases: name at least one database[^]*\n7 errors \[CONFIG_INVALID\]\n$/),
  });
});
