import fc from 'fast-check';
import { createShellParser } from '../../sidecar/adapters/shell-parser.ts';
import { compareShell, type ShellDivergence } from './compare-shell.ts';
import { commandLines } from './shell-grammar.ts';
import { openShellSandbox } from './shell-sandbox.ts';

/** What a run of the shell fuzz found. */
export interface ShellFuzzTotals {
  readonly divergences: readonly ShellDivergence[];
  readonly lines: number;
  /** Lines without an unknown. */
  readonly certain: number;
  /** Lines that `bash -n` refuses. */
  readonly refused: number;
  /** Lines that `bash -n` takes and inspection calls Unknown. */
  readonly unknown: number;
  /** Programs that were started. */
  readonly started: number;
}

/** Compares `count` random lines per shell, the same ones for the same seed, two at a time; stops after twenty findings. */
export async function fuzzShell(count: number, seed: number): Promise<ShellFuzzTotals> {
  const lines = fc.sample(commandLines(), { numRuns: count, seed });
  const totals = { lines: 0, certain: 0, refused: 0, unknown: 0, started: 0 };
  const divergences: ShellDivergence[] = [];
  await using parser = createShellParser();
  let next = 0;
  await Promise.all([0, 1].map(async () => {
    using sandbox = openShellSandbox();
    for (let at = next++; at < lines.length * 2 && divergences.length < 20; at = next++) {
      const compared = await compareShell(lines[at >> 1] as (typeof lines)[number], at % 2 === 0 ? 'bash' : 'dash', sandbox, parser);
      totals.lines += 1;
      totals.started += compared.started;
      if (compared.certain) totals.certain += 1;
      if (!compared.parses) totals.refused += 1;
      if (!compared.certain && compared.parses) totals.unknown += 1;
      if (compared.divergence !== null) divergences.push(compared.divergence);
    }
  }));
  return { divergences, ...totals };
}
