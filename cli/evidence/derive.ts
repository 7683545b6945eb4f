import { createHash, type Hash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import type { EvidenceSource } from '../../sidecar/adapters/evidence-source.ts';
import { eventCatalog } from '../../sidecar/core/recording/event-catalog.ts';
import { csvLine } from './csv.ts';
import { PopulationBuilder, populationColumns, type PopulationName, populationNames, type Row } from './populations.ts';
import { type EvidenceQuery, isWanted, queryJson } from './query.ts';
import { type LogSummary, renderReadme } from './readme-html.ts';
import { eachRecord } from './records.ts';

/** A file that follows from the records alone, so that `verify` can make it again and compare. */
export interface DerivedFile {
  readonly path: string;
  /** Where its content lies now. */
  readonly at: string;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
  /** Null for what is no listing. */
  readonly rows: number | null;
}

/** What stands in the listings, for control totals and the summary. */
export interface PopulationTotals {
  readonly rows: number;
  readonly firstSeq: number | null;
  readonly lastSeq: number | null;
  readonly users: number;
  readonly rowsReturned: number;
  readonly bytes: number;
  readonly maskedCells: number;
  /** The first rows, for the summary. */
  readonly sample: readonly Row[];
}

/** Rows that the summary shows; the listings have all. */
const sampleRows = 300;

/**
 * Makes listings, control totals and summary of a period, in one pass over the records.
 *
 * @param logs ids of the logs to read, oldest first.
 * @param workDirectory an empty directory that the files are written to.
 */
export async function derivePack(source: EvidenceSource, query: EvidenceQuery, logs: readonly string[], workDirectory: string): Promise<{ readonly files: readonly DerivedFile[]; readonly totals: Readonly<Record<PopulationName, PopulationTotals>>; readonly logs: readonly LogSummary[] }> {
  const writers = new Map(populationNames.map((name) => [name, new PopulationWriter(workDirectory, name)]));
  const builder = new PopulationBuilder((name, row) => writers.get(name)?.add(row));
  const summaries = new Map<string, { logId: string; origin: string; records: number; firstMs: number; lastMs: number }>();
  for await (const stored of eachRecord(source, undefined, logs)) {
    const { record, logId } = stored;
    const known = summaries.get(logId);
    if (known === undefined) summaries.set(logId, { logId, origin: record.origin, records: 1, firstMs: record.timeMs, lastMs: record.timeMs });
    else {
      known.records += 1;
      known.lastMs = record.timeMs;
    }
    builder.feed(stored, isWanted(record, query));
  }
  builder.finish();
  const listings = [...writers.values()].map((writer) => ({ name: writer.name, ...writer.close() }));
  const totals = Object.fromEntries(listings.map(({ name, totals: sums }) => [name, sums])) as Record<PopulationName, PopulationTotals>;
  const logSummaries = [...summaries.values()];
  const listed = listings.flatMap((listing) => listing.files);
  const put = (path: string, text: string): DerivedFile => {
    const at = join(workDirectory, path.replaceAll('/', '_'));
    fs.writeFileSync(at, text, { mode: 0o600 });
    return { path, at, bytes: Buffer.byteLength(text), sha256: createHash('sha256').update(text).digest('hex'), rows: null };
  };
  return {
    files: [
      ...listed,
      put('01_scope/query_parameters.json', queryJson(query)),
      put('01_scope/event_catalog.json', `${JSON.stringify(eventCatalog, null, 2)}\n`),
      put('01_scope/control_totals.csv', controlTotals(totals, listed)),
      put('README.html', renderReadme({ query, totals, logs: logSummaries })),
    ],
    totals, logs: logSummaries,
  };
}

class PopulationWriter {
  readonly name: PopulationName;
  readonly #csv: Output;
  readonly #jsonl: Output;
  readonly #users: Set<string> = new Set();
  readonly #sample: Row[] = [];
  #rows = 0;
  #firstSeq: number | null = null;
  #lastSeq: number | null = null;
  #rowsReturned = 0;
  #bytes = 0;
  #maskedCells = 0;

  constructor(directory: string, name: PopulationName) {
    this.name = name;
    this.#csv = new Output(directory, `${name}.csv`);
    this.#jsonl = new Output(directory, `${name}.jsonl`);
    this.#csv.write(csvLine(populationColumns[name]));
  }

  add(row: Row): void {
    this.#csv.write(csvLine(populationColumns[this.name].map((column) => row[column] ?? null)));
    this.#jsonl.write(`${JSON.stringify(row)}\n`);
    this.#rows += 1;
    if (this.#sample.length < sampleRows) this.#sample.push(row);
    const seq = row['log_seq'];
    this.#firstSeq ??= typeof seq === 'number' ? seq : null;
    this.#lastSeq = typeof seq === 'number' ? seq : this.#lastSeq;
    const user = row['user'] ?? row['requester'];
    if (typeof user === 'string') this.#users.add(user);
    this.#rowsReturned += Number(row['rows'] ?? 0);
    this.#bytes += Number(row['bytes'] ?? 0);
    this.#maskedCells += Number(row['masked_cells'] ?? 0);
  }

  close(): { readonly files: readonly DerivedFile[]; readonly totals: PopulationTotals } {
    const files = [this.#csv, this.#jsonl].map((output) => ({ ...output.close(), rows: this.#rows }));
    return { files, totals: { rows: this.#rows, firstSeq: this.#firstSeq, lastSeq: this.#lastSeq, users: this.#users.size, rowsReturned: this.#rowsReturned, bytes: this.#bytes, maskedCells: this.#maskedCells, sample: this.#sample } };
  }
}

/** A file that is hashed as it is written, in large pieces. */
class Output {
  readonly #fd: number;
  readonly #at: string;
  readonly #path: string;
  readonly #hash: Hash = createHash('sha256');
  #buffer = '';
  #bytes = 0;

  constructor(directory: string, name: string) {
    this.#path = `02_populations/${name}`;
    this.#at = join(directory, name);
    this.#fd = fs.openSync(this.#at, 'wx', 0o600);
  }

  write(text: string): void {
    this.#buffer += text;
    if (this.#buffer.length > 262_144) this.#flush();
  }

  close(): Omit<DerivedFile, 'rows'> {
    this.#flush();
    fs.closeSync(this.#fd);
    return { path: this.#path, at: this.#at, bytes: this.#bytes, sha256: this.#hash.digest('hex') };
  }

  #flush(): void {
    const bytes = Buffer.from(this.#buffer);
    this.#buffer = '';
    for (let done = 0; done < bytes.length;) done += fs.writeSync(this.#fd, bytes, done);
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
  }
}

function controlTotals(totals: Readonly<Record<PopulationName, PopulationTotals>>, files: readonly DerivedFile[]): string {
  const lines = populationNames.map((name) => {
    const sums = totals[name];
    const csv = files.find((file) => file.path === `02_populations/${name}.csv`);
    return csvLine([`02_populations/${name}.csv`, sums.rows, sums.firstSeq, sums.lastSeq, sums.users, sums.rowsReturned, sums.bytes, sums.maskedCells, `sha256:${csv?.sha256 ?? ''}`]);
  });
  return csvLine(['file', 'rows', 'first_log_seq', 'last_log_seq', 'distinct_users', 'rows_returned', 'bytes', 'masked_cells', 'sha256']) + lines.join('');
}
