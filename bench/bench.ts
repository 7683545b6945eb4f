import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpuSeconds, residentMiB } from './process-cost.ts';
import { startBench, type Variant } from './variants.ts';

// All variants in one run; per round their order is shuffled and each is compared with `direct` (or the pipe) of the same round.
const seconds = Number(process.env['BENCH_SECONDS'] ?? 4);
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 3);
const clientCounts = (process.env['BENCH_CLIENTS'] ?? '1,8,32').split(',').map(Number);
const modes = (process.env['BENCH_MODES'] ?? 'simple,extended,prepared').split(',');
const bulkRows = Number(process.env['BENCH_ROWS'] ?? 1_000_000);

interface Sample {
  readonly variant: string;
  readonly tps: number;
  /** Microseconds of the proxy's CPU per transaction; NaN for direct. */
  readonly cpuUs: number;
  readonly p99Ms: number;
}

await using bench = await startBench();
const { variants } = bench;
const lines: string[] = [];
const print = (line: string): void => { lines.push(line); process.stdout.write(`${line}\n`); };
for (const reason of bench.missing) print(`not measured: ${reason}`);
await prepareData(bench.postgres.port, bench.postgres.password);
// A process that has just started compiles itself: that is not the cost of a transaction.
for (const mode of modes) for (const variant of variants) await pgbench(variant, mode, 8);
for (const mode of modes) for (const clients of clientCounts) await reportTransactions(mode, clients);
for (const kind of ['select', 'copy'] as const) await reportBulk(kind);
print(`\nresident memory, MiB: ${variants.filter(({ pid }) => pid !== null).map(({ name, pid }) => `${name} ${residentMiB(pid as number)}`).join(', ')}`);
if (process.env['BENCH_OUT']) writeFileSync(process.env['BENCH_OUT'], `${lines.join('\n')}\n`);

async function reportTransactions(mode: string, clients: number): Promise<void> {
  const samples: Sample[][] = [];
  for (let round = 0; round < rounds; round++) {
    const taken: Sample[] = [];
    for (const variant of shuffled(variants)) taken.push(await pgbench(variant, mode, clients));
    samples.push(taken);
  }
  print(`\npgbench -S, ${mode}, ${clients} clients: median of ${rounds} rounds of ${seconds} s`);
  print('variant             tps vs direct   proxy CPU us/tx   CPU vs pipe   p99 ms');
  for (const { name } of variants) {
    const of = (pick: (sample: Sample, base: Sample) => number, base: string): number => median(samples.map((round) => pick(find(round, name), find(round, base))));
    print(`${name.padEnd(20)}${of((one, direct) => one.tps / direct.tps, 'direct').toFixed(2).padStart(13)}${of((one) => one.cpuUs, 'direct').toFixed(1).padStart(18)}${of((one, pipe) => one.cpuUs / pipe.cpuUs, 'Node pipe').toFixed(2).padStart(14)}${of((one) => one.p99Ms, 'direct').toFixed(2).padStart(9)}`);
  }
}

async function pgbench(variant: Variant, mode: string, clients: number): Promise<Sample> {
  const before = variant.pid === null ? Number.NaN : cpuSeconds(variant.pid);
  const run = await command('pgbench', ['-n', '-S', '-M', mode, '-c', String(clients), '-j', '1', '-T', String(seconds), '-r', '-h', '127.0.0.1', '-p', String(variant.port), '-U', variant.user, '--log', '--log-prefix=/tmp/sp-bench', '--sampling-rate=0.2', 'postgres'], variant.password);
  const tps = Number(/tps = ([\d.]+)/.exec(run.stdout)?.[1]);
  const transactions = Number(/number of transactions actually processed: (\d+)/.exec(run.stdout)?.[1]);
  if (!tps) throw new Error(`${variant.name}: ${run.stderr}`);
  const cpuUs = variant.pid === null ? Number.NaN : ((cpuSeconds(variant.pid) - before) / transactions) * 1e6;
  return { variant: variant.name, tps, cpuUs, p99Ms: await readLatencies() };
}

/** p99 of pgbench's own sampled log, which is then removed. */
async function readLatencies(): Promise<number> {
  const shell = await command('sh', ['-c', "cat /tmp/sp-bench.* | awk '{print $3}' | sort -n; rm -f /tmp/sp-bench.*"], '');
  const values = shell.stdout.trim().split('\n').map(Number);
  return (values[Math.floor(values.length * 0.99)] ?? Number.NaN) / 1000;
}

async function reportBulk(kind: 'select' | 'copy'): Promise<void> {
  const rates: Map<string, number[]> = new Map(variants.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) for (const variant of shuffled(variants)) rates.get(variant.name)?.push(await bulkRate(variant, kind));
  print(`\nbulk ${kind === 'select' ? 'SELECT *' : 'COPY TO'} of ${bulkRows} rows (five columns, two of them masked where masking is on): rows/s, median of ${rounds}`);
  for (const { name } of variants) print(`${name.padEnd(20)}${(median((rates.get(name) ?? []).map((rate, round) => rate / (rates.get('direct')?.[round] ?? 1)))).toFixed(2).padStart(10)} of direct${Math.round(median(rates.get(name) ?? [])).toString().padStart(14)}`);
}

async function bulkRate(variant: Variant, kind: 'select' | 'copy'): Promise<number> {
  const text = kind === 'select' ? 'select * from people' : '\\copy people to /dev/null';
  const started = performance.now();
  const run = await command('psql', ['-X', '-q', '-A', '-t', '-h', '127.0.0.1', '-p', String(variant.port), '-U', variant.user, ...(kind === 'select' ? ['-v', 'FETCH_COUNT=0', '-o', '/dev/null'] : []), '-c', text, 'postgres'], variant.password);
  if (run.status !== 0) throw new Error(`${variant.name}: ${run.stderr}`);
  return bulkRows / ((performance.now() - started) / 1000);
}

async function prepareData(port: number, password: string): Promise<void> {
  await command('pgbench', ['-i', '-s', '10', '-q', '-h', '127.0.0.1', '-p', String(port), '-U', 'postgres', 'postgres'], password);
  const sql = `create table people as select g id, 'person ' || g name, lpad((g % 900 + 1)::text, 3, '1') || '-' || lpad((g % 99 + 1)::text, 2, '0') || '-' || lpad((g % 9999 + 1)::text, 4, '0') ssn, 'p' || g || '@bank.example' email, g * 7 balance from generate_series(1, ${bulkRows}) g`;
  for (const text of [sql, 'vacuum analyze people']) await command('psql', ['-X', '-q', '-h', '127.0.0.1', '-p', String(port), '-U', 'postgres', '-c', text, 'postgres'], password);
}

/** Runs a client without blocking this process, which is the issuer of the tokens too. */
function command(program: string, args: readonly string[], password: string): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolve) => {
    execFile(program, args, { env: { ...process.env, PGPASSWORD: password, PGSSLMODE: 'disable' }, maxBuffer: 1 << 28 }, (error, stdout, stderr) => resolve({ status: error ? 1 : 0, stdout, stderr }));
  });
}

function find(round: readonly Sample[], variant: string): Sample {
  const found = round.find((sample) => sample.variant === variant);
  if (!found) throw new Error(`no sample of ${variant}`);
  return found;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function shuffled<T>(items: readonly T[]): readonly T[] {
  return items.map((item) => ({ item, key: Math.random() })).sort((a, b) => a.key - b.key).map(({ item }) => item);
}
