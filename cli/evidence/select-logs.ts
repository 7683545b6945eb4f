import { type EvidenceSource, logsIn } from '../../sidecar/adapters/evidence-source.ts';
import { readLines } from '../../sidecar/adapters/line-reader.ts';
import { objectAt, readRecord, textAt } from '../../sidecar/core/recording/record-view.ts';
import type { EvidenceQuery } from './query.ts';

interface LogSpan {
  readonly logId: string;
  readonly origin: string;
  readonly firstMs: number;
  readonly lastMs: number;
  /** Origins of the logs whose sessions it closed. */
  readonly recovered: readonly string[];
}

/** The logs that touch the period, and those that they closed or that closed them: a session is never cut in two. Oldest first. */
export async function selectLogs(source: EvidenceSource, query: EvidenceQuery): Promise<readonly string[]> {
  const spans: LogSpan[] = [];
  for (const logId of logsIn(source)) {
    const span = await spanOf(source, logId);
    if (span !== null) spans.push(span);
  }
  const chosen = new Set(spans.filter((span) => span.firstMs < query.toMs && span.lastMs >= query.fromMs).map((span) => span.origin));
  for (let grown = true; grown;) {
    grown = false;
    for (const span of spans) {
      const linked = span.recovered.some((origin) => chosen.has(origin)) ? [span.origin] : chosen.has(span.origin) ? span.recovered : [];
      for (const origin of linked.filter((o) => !chosen.has(o))) {
        chosen.add(origin);
        grown = true;
      }
    }
  }
  return spans.filter((span) => chosen.has(span.origin)).map((span) => span.logId);
}

async function spanOf(source: EvidenceSource, logId: string): Promise<LogSpan | null> {
  const segments = source.paths.filter((path) => path.startsWith(`log/${logId}/`) && path.endsWith('.ndjson'));
  const [first] = segments;
  if (first === undefined) return null;
  const recovered: string[] = [];
  let head: { readonly origin: string; readonly timeMs: number } | null = null;
  search: for await (const batch of readLines(source.stream(first))) {
    for (const line of batch.lines) {
      const record = readRecord(line.toString('utf8'));
      if (record === null) break search;
      head ??= record;
      if (record.code === 'log.recovered') recovered.push(textAt(objectAt(record.evidence, 'log'), 'origin') ?? '');
      else if (record.code !== 'log.opened') break search;
    }
  }
  let tail: Buffer | null = null;
  for await (const batch of readLines(source.stream(segments.at(-1) ?? first))) tail = batch.lines.length === 0 ? tail : Buffer.from(batch.lines.at(-1) ?? []);
  const last = tail === null ? null : readRecord(tail.toString('utf8'));
  return head === null ? null : { logId, origin: head.origin, firstMs: head.timeMs, lastMs: last?.timeMs ?? Number.MAX_SAFE_INTEGER, recovered };
}
