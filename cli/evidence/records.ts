import { hash } from 'node:crypto';
import { type EvidenceSource, logsIn } from '../../sidecar/adapters/evidence-source.ts';
import { readLines } from '../../sidecar/adapters/line-reader.ts';
import { readRecord, type RecordView } from '../../sidecar/core/recording/record-view.ts';

/** A record and the hash that is its leaf. */
export interface StoredRecord {
  readonly record: RecordView;
  /** Hex SHA-256 of the line. */
  readonly hash: string;
  readonly logId: string;
}

/** Records of a source, log by log, oldest first. `wants` judges by the event code at the head of a line, which is cheap. Lines that are no records are left to `verify`. */
export async function* eachRecord(source: EvidenceSource, wants: (code: string) => boolean = () => true, logs: readonly string[] = logsIn(source)): AsyncGenerator<StoredRecord> {
  for (const logId of logs) {
    for (const path of source.paths.filter((p) => p.startsWith(`log/${logId}/`) && p.endsWith('.ndjson'))) {
      for await (const batch of readLines(source.stream(path))) {
        for (const line of batch.lines) {
          const code = /"event_code":"([a-z.]+)"/.exec(line.toString('latin1', 0, 256))?.[1];
          if (code === undefined || !wants(code)) continue;
          const record = readRecord(line.toString('utf8'));
          if (record !== null) yield { record, hash: hash('sha256', line, 'hex'), logId };
        }
      }
    }
  }
}
