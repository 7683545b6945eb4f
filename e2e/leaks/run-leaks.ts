import { systemBinDirectory } from '../hosts/postgres.ts';
import { type LeakBench, type LeakOutcome, startLeakBench } from './leak-bench.ts';
import { type LeakCase, readCases, splitSetup } from './leak-case.ts';

/**
 * `make leaks FILE=…`: runs a file of leak cases through the gateway and prints per case what became of it, and the totals.
 *
 * Options: `--partial` (style Partial, keepLast 4), `--proxied` (what the case's role prepares goes through the gateway too), `--server=system` (Debian's PostgreSQL),
 * `--bench` (only whether each case leaks without the gateway), `--only=ID,ID`. Exit status 1 when anything leaked, 2 when a case could not be run.
 */
async function main(args: readonly string[]): Promise<number> {
  const file = args.find((arg) => !arg.startsWith('--'));
  const option = (name: string): string | null => args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3) ?? null;
  if (!file) throw new Error('usage: run-leaks.ts FILE [--partial] [--proxied] [--bench] [--server=system] [--only=ID,ID]');
  const only = option('only')?.split(',') ?? null;
  const cases = readCases(file).filter((item) => only === null || only.includes(item.id));
  const version = option('server') === 'system' && systemBinDirectory() ? 'system' : 'embedded';
  await using bench = await startLeakBench(version);
  process.stdout.write(`${cases.length} cases on PostgreSQL ${bench.world.postgres.major}\n`);
  const totals = new Map<string, number>();
  for (const item of cases) {
    const outcome = await runOne(bench, item, { partial: args.includes('--partial'), proxied: args.includes('--proxied'), bench: args.includes('--bench') });
    totals.set(outcome.verdict, (totals.get(outcome.verdict) ?? 0) + 1);
    process.stdout.write(`${outcome.verdict.padEnd(8)} ${item.id}${'code' in outcome ? `  ${outcome.code}` : 'what' in outcome ? `  ${outcome.what}` : ''}\n`);
  }
  const late = bench.sweep();
  if (late.length > 0) process.stdout.write(`leaked   in what was stored later: ${late.join('; ')}\n`);
  process.stdout.write(`${[...totals].map(([verdict, count]) => `${verdict} ${count}`).join(', ')}\n`);
  return totals.has('leaked') || late.length > 0 ? 1 : totals.has('error') ? 2 : 0;
}

type Line = LeakOutcome | { readonly verdict: 'leaks' } | { readonly verdict: 'skipped'; readonly what: string };

async function runOne(bench: LeakBench, item: LeakCase, how: { readonly partial: boolean; readonly proxied: boolean; readonly bench: boolean }): Promise<Line> {
  if ((item.since ?? 0) > bench.world.postgres.major) return { verdict: 'skipped', what: `needs PostgreSQL ${item.since}` };
  if (how.proxied && !splitSetup(item.setup_sql ?? [])) return { verdict: 'skipped', what: 'nothing to prepare' };
  const direct = await bench.runDirect(item);
  if (direct.revealed.length === 0) return { verdict: 'skipped', what: `does not leak on this server without the gateway: ${direct.problem ?? 'nothing revealed'}` };
  if (how.bench) return { verdict: 'leaks' };
  return bench.runProxied(item, how.partial ? 'Partial' : 'Redact', how.proxied ? 'proxied' : 'direct');
}

process.exitCode = await main(process.argv.slice(2));
