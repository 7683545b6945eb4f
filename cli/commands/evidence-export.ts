import fs from 'node:fs';
import { openDirectory } from '../../sidecar/adapters/evidence-source.ts';
import { populationNames } from '../evidence/populations.ts';
import { type PackOutcome, writePack } from '../evidence/pack.ts';
import type { EvidenceQuery } from '../evidence/query.ts';
import { recordExport } from '../evidence/export-record.ts';
import type { CommandIo } from '../gateway-client.ts';
import { readOptions, readTime, UsageError } from '../options.ts';
import { table } from '../terminal-text.ts';

export const summary: string = 'export a period as one verifiable zip: sessions, statements, approvals, denied attempts, recordings';

const usage = `usage: sallyport evidence export --from DATE --to DATE --data DIR [--out FILE.zip] [--namespace N] [--target T] [--subject USER]

DATE is a day (2026-09-21, midnight UTC) or a time (2026-09-21T14:00:00Z); --to is excluded. Filters shorten the listings; the records inside are complete.
`;

/** `sallyport evidence export`. Exit 0, 1 when the pack cannot be written, 4 on wrong usage. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  try {
    const { values, flags } = readOptions(argv, { from: 'text', to: 'text', data: 'text', out: 'text', namespace: 'text', target: 'text', subject: 'text', help: 'flag' }, { min: 0, max: 0 });
    if (flags.has('help')) {
      io.stdout.write(usage);
      return 0;
    }
    const data = values.data ?? io.env['SALLYPORT_DATA'];
    if (data === undefined || !fs.existsSync(data)) throw new UsageError(data === undefined ? '--data DIR is needed' : `there is no directory ${data}`);
    if (values.from === undefined || values.to === undefined) throw new UsageError('--from and --to are needed');
    const query = { fromMs: readTime(values.from, 'from'), toMs: readTime(values.to, 'to'), namespace: values.namespace ?? null, target: values.target ?? null, subject: values.subject ?? null };
    if (query.toMs <= query.fromMs) throw new UsageError('--to must be later than --from');
    const out = values.out ?? `evidence-${stamp(query.fromMs)}-${stamp(query.toMs)}.zip`;
    if (fs.existsSync(out)) throw new UsageError(`${out} exists; name another file with --out`);
    return await exportTo(data, query, out, io);
  } catch (error) {
    if (error instanceof UsageError) {
      io.stderr.write(`error: ${error.message}\n${usage}`);
      return 4;
    }
    if (!(error instanceof RangeError) && (error as NodeJS.ErrnoException).syscall === undefined) throw error;
    io.stderr.write(`error: the pack cannot be written: ${(error as Error).message}\n`);
    return 1;
  }
}

async function exportTo(data: string, query: EvidenceQuery, out: string, io: CommandIo): Promise<number> {
  const source = openDirectory(data);
  const outcome = await writePack(source, query, out);
  const facts = { from: new Date(query.fromMs).toISOString(), to: new Date(query.toMs).toISOString(), namespace: query.namespace, target: query.target, subject: query.subject };
  const counts = Object.fromEntries(populationNames.map((name) => [name, outcome.totals[name].rows]));
  const origin = await recordExport(data, query.namespace ?? 'local', { ...facts, sha256: `sha256:${outcome.sha256}`, bytes: outcome.bytes, rows: counts });
  io.stdout.write(render(outcome, facts, out));
  if (origin === null) io.stderr.write('note: the export is not recorded: the data directory cannot be written here\n');
  else io.stdout.write(`\nThis export is recorded in log ${origin}.\nVerify it anywhere: sallyport audit verify ${out}\n`);
  return 0;
}

function render(outcome: PackOutcome, facts: Readonly<Record<string, string | null>>, out: string): string {
  const filters = ['namespace', 'target', 'subject'].filter((name) => facts[name] !== null).map((name) => `, ${name} ${facts[name] ?? ''}`).join('');
  const rows = populationNames.map((name) => {
    const sums = outcome.totals[name];
    return [name, String(sums.rows), String(sums.users), String(sums.rowsReturned), String(sums.maskedCells)];
  });
  return `${out}: ${outcome.bytes} bytes, ${outcome.files} files, sha256 ${outcome.sha256}\nextracted ${new Date().toISOString()}, from ${facts['from'] ?? ''} to ${facts['to'] ?? ''} (excluded)${filters}\n`
    + `${outcome.logs} logs, ${outcome.records} records, ${outcome.recordings} recordings\n\n${table([['LISTING', 'ROWS', 'USERS', 'ROWS RETURNED', 'VALUES MASKED'], ...rows], new Set([1, 2, 3, 4]))}`;
}

function stamp(ms: number): string {
  const iso = new Date(ms).toISOString();
  return iso.endsWith('T00:00:00.000Z') ? iso.slice(0, 10) : iso.slice(0, 19).replaceAll(':', '');
}
