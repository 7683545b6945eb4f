import { globSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readCorpus } from './usefulness-case.ts';
import { startUsefulnessBench, type UsefulnessBench } from './usefulness-bench.ts';

/**
 * `make usefulness`: runs the corpus of everyday statements against a server with masked columns, once directly and once through the gateway, in text and binary.
 *
 * `FILE=…` runs another corpus on the same schema (e2e/usefulness/schema.sql). `--verbose` prints every statement, else only what is refused or wrong.
 * Exit status 1 when anything is wrong, when more than 3 % are refused, or when one is refused that touches no masked column.
 */
async function main(args: readonly string[]): Promise<number> {
  const verbose = args.includes('--verbose');
  const named = args.filter((arg) => !arg.startsWith('--'));
  const files = named.length > 0 ? named : globSync(join(import.meta.dirname, 'corpus/*.sql')).sort();
  await using bench = await startUsefulnessBench();
  const totals = { statements: 0, equal: 0, masked: 0, refused: 0, refusedClear: 0, wrong: 0, broken: 0 };
  for (const file of files) await runFile(bench, file, totals, verbose);
  const share = totals.statements === 0 ? 0 : (100 * totals.refused) / totals.statements;
  process.stdout.write(`${totals.statements} statements: ${totals.equal} equal, ${totals.masked} equal but for masked cells, ${totals.refused} refused (${share.toFixed(1)} %, ${totals.refusedClear} of them touch no masked column), ${totals.wrong} wrong, ${totals.broken} do not run on the server itself\n`);
  return totals.wrong > 0 || totals.refusedClear > 0 || share > 3 ? 1 : totals.broken > 0 ? 2 : 0;
}

async function runFile(bench: UsefulnessBench, file: string, totals: Record<string, number>, verbose: boolean): Promise<void> {
  for (const item of readCorpus(file)) {
    const outcomes = [await bench.run(item, 'text'), await bench.run(item, 'binary')];
    const outcome = outcomes.find(({ verdict }) => verdict === 'wrong') ?? outcomes.find(({ verdict }) => verdict === 'broken') ?? outcomes.find(({ verdict }) => verdict === 'refused') ?? outcomes.find(({ verdict }) => verdict === 'masked') ?? outcomes[0];
    if (outcome === undefined) continue;
    totals['statements'] = (totals['statements'] ?? 0) + 1;
    totals[outcome.verdict] = (totals[outcome.verdict] ?? 0) + 1;
    if (outcome.verdict === 'refused' && !item.touchesMasked) totals['refusedClear'] = (totals['refusedClear'] ?? 0) + 1;
    if (!verbose && (outcome.verdict === 'equal' || outcome.verdict === 'masked')) continue;
    const why = outcome.verdict === 'refused' ? `${outcome.code}${item.touchesMasked ? '' : ' although it touches no masked column'}: ${outcome.hint}` : 'what' in outcome ? outcome.what : '';
    process.stdout.write(`${outcome.verdict.padEnd(8)} ${basename(file, '.sql')}/${item.name}${why === '' ? '' : `  ${why}`}\n`);
  }
}

process.exitCode = await main(process.argv.slice(2));
