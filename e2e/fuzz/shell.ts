import { fuzzShell } from './fuzz-shell.ts';

/** `shell.ts [COUNT] [SEED]`: COUNT random command lines (default 5,000) in bash and dash; ends with 1 when inspection missed anything. */
const count = Number(process.argv[2] ?? 5_000);
const seed = Number(process.argv[3] ?? (Date.now() & 0x3fffffff));

const started = performance.now();
const { divergences, ...totals } = await fuzzShell(count, seed);
say(`shell: ${JSON.stringify(totals)} in ${((performance.now() - started) / 1_000).toFixed(0)} s, seed ${seed}`);
for (const { text, shell, what } of divergences) say(`FOUND in ${shell}: ${JSON.stringify(text)}\n      ${what}`);
process.exit(divergences.length === 0 ? 0 : 1);

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
