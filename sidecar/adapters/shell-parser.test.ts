import { afterAll, expect, test } from '@jest/globals';
import { classifyShell } from '../core/shell/classify.ts';
import { createShellParser } from './shell-parser.ts';

const parser = createShellParser();
afterAll(async () => {
  await parser[Symbol.asyncDispose]();
});

test('a short text answers at once', () => {
  expect(parser.parseShell('ls -la')).toMatchObject({ outcome: 'parsed', tree: { type: 'Script', commands: [{ command: { name: { text: 'ls' } } }] } });
});

test('a long text answers from the thread with the same tree', async () => {
  const text = `echo ${'word '.repeat(5_000)}`;
  const parsed = await parser.parseShell(text);
  expect(parsed.outcome === 'parsed' && JSON.stringify(parsed.tree).length).toBeGreaterThan(25_000);
});

test('a text over 64 KiB is refused', () => {
  expect(parser.parseShell(`echo ${'ä'.repeat(33_000)}`)).toEqual({ outcome: 'failed', code: 'STATEMENT_TOO_LONG' });
});

test('a text that takes longer than the deadline fails, and the next one is read again', async () => {
  await using slow = createShellParser({ deadlineMs: 1, queued: 8, waitMs: 10_000, heapMegabytes: 256 });
  expect(await slow.parseShell('"$('.repeat(12_000))).toEqual({ outcome: 'failed', code: 'PARSE_TIMEOUT' });
  expect(slow.parseShell('ls')).toMatchObject({ outcome: 'parsed' });
});

test.each([
  ['if', 'if '.repeat(20_000)],
  ['arithmetic', `echo $((${'1+'.repeat(30_000)}1))`],
  ['subshells', '('.repeat(60_000)],
  ['substitutions', '$('.repeat(30_000)],
  ['quotes', '"$('.repeat(20_000)],
  ['backticks', '`'.repeat(60_000)],
])('64 KiB of nested %s end in an unknown', async (_what, text) => {
  expect((await classifyShell(text, 'Bash', parser)).unknowns).not.toEqual([]);
});
