import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { checkCommandText, findDeceptiveCharacter } from '../../sidecar/core/shell/check-text.ts';
import { shellQuote, wrapForBash } from '../../sidecar/core/shell/quote.ts';
import { findAsset } from '../../tools/e2e-assets.ts';
import { fuzzShell } from '../fuzz/fuzz-shell.ts';

// The same sample each time; `make shell-fuzz` compares thousands of new ones, and SHELL_FUZZ=5000 does here.
const lines = Number(process.env['SHELL_FUZZ'] ?? 500);
const shells = ['bash', 'dash', 'fish'] as const;
let directory = '';

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'sallyport-wrap-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

const withShells = findAsset('bash') !== null && findAsset('dash') !== null ? test : test.skip;

withShells('random lines start nothing in a real bash or dash that inspection has not listed, and what bash refuses is Unknown', async () => {
  const { divergences, certain, started } = await fuzzShell(lines, 20_261_124);
  expect(divergences).toEqual([]);
  // Enough was read for certain and ran, or the comparison says nothing.
  expect(certain).toBeGreaterThan(lines / 4);
  expect(started).toBeGreaterThan(lines / 4);
}, 120_000 + lines * 100);

const pieces = ["'", '"', '\\', '$', '`', '!', '\n', '\t', ' ', '~', '*', '?', '[', ']', '{', '}', '(', ')', '<', '>', '|', '&', ';', '#', '%', '^', '=', '$(id)', '${x}', "\\'", "'\\''", '\\\\', 'ä', '日', '😀', 'a', 'Z', '0', 'rm -rf', '--', '-c', '\\n', "''", '""', '\\\n'];
const texts = fc.sample(fc.oneof(fc.array(fc.constantFrom(...pieces), { maxLength: 30 }).map((parts) => parts.join('')), fc.string({ unit: 'grapheme', maxLength: 60 }), fc.string({ unit: 'binary', maxLength: 40 })), { numRuns: 20_000, seed: 17 })
  // What inspection refuses is never sent.
  .filter((text) => checkCommandText(text) === null && findDeceptiveCharacter(text) === null).slice(0, 10_000);

test('there are ten thousand texts', () => {
  expect(texts).toHaveLength(10_000);
});

for (const shell of shells) {
  const program = findAsset(shell);
  const run = program === null ? test.skip : test;

  run(`${shell} hands bash exactly the text that was wrapped, ten thousand times`, () => {
    const collect = shell === 'fish' ? "function collect; printf '%s\\0' $argv[4]; printf '%s\\0' (count $argv); end" : "collect() { printf '%s\\0' \"$4\" \"$#\"; }";
    // The start of another bash is replaced by a function that shows its arguments, so that one shell reads all.
    const wrapped = texts.map((text) => wrapForBash(text).replace(/^exec bash /u, 'collect '));
    const script = join(directory, `wrapped.${shell}`);
    writeFileSync(script, `${collect}\n${wrapped.join('\n')}\n`);
    const received = execFileSync(program?.path ?? shell, [script], { env: { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8', HOME: directory }, maxBuffer: 64 * 1024 * 1024 }).toString('utf8').split('\0').slice(0, -1);
    expect(received.filter((_value, at) => at % 2 === 1).every((count) => count === '4')).toBe(true);
    const values = received.filter((_value, at) => at % 2 === 0);
    const first = texts.findIndex((text, at) => values[at] !== text);
    expect(first < 0 ? null : { sent: texts[first], received: values[first] }).toBeNull();
  }, 120_000);

  run(`an account with ${shell} runs a wrapped text in a bash of its own`, () => {
    for (const text of texts.filter((_text, at) => at % 500 === 0)) {
      const shown = execFileSync(program?.path ?? shell, ['-c', wrapForBash(`printf '%s' "\${BASH_VERSION:+bash:}"${shellQuote(text)}`)], { env: { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8', HOME: directory } }).toString('utf8');
      expect(shown).toBe(`bash:${text}`);
    }
  }, 60_000);
}
