import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { digestOf, type EvidenceSource } from '../../sidecar/adapters/evidence-source.ts';
import { isObject, listAt, objectAt, textAt } from '../../sidecar/core/recording/record-view.ts';
import { type DerivedFile, derivePack, type PopulationTotals } from './derive.ts';
import type { PopulationName } from './populations.ts';
import type { EvidenceQuery } from './query.ts';
import { eachRecord } from './records.ts';
import { selectLogs } from './select-logs.ts';
import { writeZip } from './zip-writer.ts';

/** Names the form of the pack and of its listings; `verify` remakes listings of its own form only. */
export const packGenerator = { schema: 'sallyport-pack/1', name: 'sallyport', version: '0.1.0' } as const;

/** What was written. */
export interface PackOutcome {
  readonly bytes: number;
  /** Hex, of the zip. */
  readonly sha256: string;
  readonly files: number;
  readonly records: number;
  readonly logs: number;
  readonly recordings: number;
  readonly totals: Readonly<Record<PopulationName, PopulationTotals>>;
}

/**
 * Writes one zip: listings, summary, and all records, checkpoints and recordings that they rest on. The same records give the same bytes,
 * so no time of extraction is inside; the export's own record has it.
 *
 * @param out a file that does not exist; it appears complete or not at all.
 */
export async function writePack(source: EvidenceSource, query: EvidenceQuery, out: string): Promise<PackOutcome> {
  const work = fs.mkdtempSync(join(os.tmpdir(), 'sallyport-pack-'));
  const partial = `${out}.partial`;
  try {
    const logs = await selectLogs(source, query);
    const derived = await derivePack(source, query, logs, work);
    const copied = await copiedFiles(source, logs);
    const listed = [...derived.files.map((file) => ({ ...file, stream: () => fs.createReadStream(file.at) as AsyncIterable<Uint8Array> })), ...copied].sort((a, b) => (a.path < b.path ? -1 : 1));
    const manifest = `${JSON.stringify({
      ...packGenerator, query: JSON.parse(fs.readFileSync(derived.files.find((f) => f.path === '01_scope/query_parameters.json')?.at ?? '', 'utf8')) as unknown,
      logs: derived.logs.map((log) => ({ origin: log.origin, records: log.records, first: new Date(log.firstMs).toISOString(), last: new Date(log.lastMs).toISOString() })),
      files: listed.map(({ path, bytes, sha256, rows }) => ({ path, bytes, sha256: `sha256:${sha256}`, rows })),
    }, null, 2)}\n`;
    const sums = [...listed.map(({ path, sha256 }) => `${sha256}  ${path}\n`), `${createHash('sha256').update(manifest).digest('hex')}  00_manifest.json\n`].sort((a, b) => (a.slice(66) < b.slice(66) ? -1 : 1)).join('');
    const text = (content: string): AsyncIterable<Uint8Array> => asChunks(Buffer.from(content));
    const all = [...listed.map(({ path, stream }) => ({ path, content: stream() })), { path: '00_manifest.json', content: text(manifest) }, { path: 'SHA256SUMS', content: text(sums) }].sort((a, b) => (a.path < b.path ? -1 : 1));
    const fd = fs.openSync(partial, 'w', 0o600);
    try {
      await writeZip(fd, all);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    const digest = await fileDigest(partial);
    fs.linkSync(partial, out);
    return { ...digest, files: all.length, records: derived.logs.reduce((sum, log) => sum + log.records, 0), logs: logs.length, recordings: copied.filter((f) => f.path.startsWith('recordings/')).length, totals: derived.totals };
  } finally {
    fs.rmSync(partial, { force: true });
    fs.rmSync(work, { recursive: true, force: true });
  }
}

/** Records, leaves, checkpoints and keys of the logs, and the recordings that their sessions name. */
async function copiedFiles(source: EvidenceSource, logs: readonly string[]): Promise<readonly (Omit<DerivedFile, 'at'> & { readonly stream: () => AsyncIterable<Uint8Array> })[]> {
  const chosen = new Set(logs);
  const recordings = new Set<string>();
  for await (const { record } of eachRecord(source, (code) => code === 'session.end' || code === 'recording.sealed', logs)) {
    const recording = objectAt(record.evidence, 'recording');
    for (const uri of [recording, ...listAt(recording, 'casts')].map((named) => textAt(named, 'uri'))) if (uri !== null) recordings.add(uri);
  }
  const paths = source.paths.filter((path) => {
    const [top, id] = path.split('/');
    if (top === 'recordings') return recordings.has(path);
    return id === 'keys' ? chosen.has(path.slice('log/keys/'.length, -'.vkey'.length)) : chosen.has(id ?? '');
  });
  const files = [];
  for (const path of paths) files.push({ path, ...(await digestOf(source, path)), rows: null, stream: () => source.stream(path) });
  return files;
}

/** True when the manifest was written by this form of the export, so that its listings can be remade. */
export function isOwnPack(manifest: unknown): boolean {
  return isObject(manifest) && manifest['schema'] === packGenerator.schema && manifest['version'] === packGenerator.version;
}

async function fileDigest(path: string): Promise<{ readonly sha256: string; readonly bytes: number }> {
  const digest = createHash('sha256');
  let bytes = 0;
  for await (const chunk of fs.createReadStream(path)) {
    const part = chunk as Buffer;
    digest.update(part);
    bytes += part.length;
  }
  return { sha256: digest.digest('hex'), bytes };
}

async function* asChunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
