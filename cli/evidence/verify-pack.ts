import fs from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { digestOf, type EvidenceSource, logsIn } from '../../sidecar/adapters/evidence-source.ts';
import type { Findings } from '../../sidecar/core/recording/findings.ts';
import { isObject, listAt, textAt } from '../../sidecar/core/recording/record-view.ts';
import { derivePack } from './derive.ts';
import { isOwnPack } from './pack.ts';
import { parseQuery } from './query.ts';

/** Checks a pack's own list of files, and makes listings, totals and summary again from the records to compare them byte for byte. */
export async function verifyPack(source: EvidenceSource, findings: Findings): Promise<void> {
  const digests = new Map<string, string>();
  for (const path of source.paths) digests.set(path, (await digestOf(source, path)).sha256);
  const manifest = parseJson(await source.read('00_manifest.json', 67_108_864));
  if (manifest === null) {
    findings.add('incomplete', 'manifest-missing', 'the pack has no readable manifest', { file: '00_manifest.json' });
    return;
  }
  compareFiles(manifest, digests, findings);
  await compareListings(source, manifest, digests, findings);
}

function compareFiles(manifest: unknown, digests: ReadonlyMap<string, string>, findings: Findings): void {
  const listed = new Set(['00_manifest.json', 'SHA256SUMS']);
  for (const file of listAt(manifest, 'files').filter(isObject)) {
    const path = textAt(file, 'path') ?? '';
    listed.add(path);
    const digest = digests.get(path);
    if (digest === undefined) findings.add('incomplete', 'file-missing', 'the manifest names a file that is not in the pack', { file: path });
    else if (`sha256:${digest}` !== textAt(file, 'sha256')) findings.add('tampering', 'file-changed', 'the file is not the one that the manifest names', { file: path });
  }
  for (const path of digests.keys()) if (!listed.has(path)) findings.add('tampering', 'file-added', 'the manifest does not name this file', { file: path });
}

async function compareListings(source: EvidenceSource, manifest: unknown, digests: ReadonlyMap<string, string>, findings: Findings): Promise<void> {
  const query = parseQuery((await source.read('01_scope/query_parameters.json', 65_536))?.toString('utf8') ?? '');
  if (query === null || !isOwnPack(manifest)) {
    findings.add('note', 'listings-not-remade', 'the listings were made by another version of the export: verify them with that one', { file: '02_populations' });
    return;
  }
  const work = fs.mkdtempSync(join(os.tmpdir(), 'sallyport-verify-'));
  try {
    const { files } = await derivePack(source, query, logsIn(source), work);
    for (const file of files) {
      const digest = digests.get(file.path);
      if (digest !== undefined && digest !== file.sha256) findings.add('tampering', 'listing-differs', 'the file does not follow from the records', { file: file.path });
      if (digest === undefined) findings.add('incomplete', 'file-missing', 'a listing is missing', { file: file.path });
    }
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

function parseJson(bytes: Buffer | null): unknown {
  try {
    return bytes === null ? null : JSON.parse(bytes.toString('utf8'));
  } catch {
    return null;
  }
}
