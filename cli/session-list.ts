import type { EvidenceSource } from '../sidecar/adapters/evidence-source.ts';
import { countAt, isObject, listAt, objectAt, textAt } from '../sidecar/core/recording/record-view.ts';
import { closingCode, isRefusal } from '../sidecar/core/recording/ssh-operations.ts';
import { eachRecord } from './evidence/records.ts';

/** One session as its records tell. */
export interface SessionRow {
  readonly session: string;
  readonly user: string;
  readonly agent: string | null;
  readonly target: string;
  /** Account of an SSH Target. */
  readonly database: string;
  readonly clientIp: string | null;
  readonly application: string | null;
  readonly startedMs: number;
  /** Null while it is open, or when its log is not finished. */
  readonly durationMs: number | null;
  /** Commands, shells, files and forwards of an SSH session. */
  readonly statements: number;
  readonly denied: number;
  readonly held: number;
  readonly rows: number;
  readonly endReason: string | null;
  readonly recording: string | null;
}

/** All sessions of a source, in the order of their starts. */
export async function listSessions(source: EvidenceSource): Promise<readonly SessionRow[]> {
  const sessions = new Map<string, { -readonly [K in keyof SessionRow]: SessionRow[K] }>();
  for await (const { record } of eachRecord(source, (code) => /^(?:session|statement|exec|shell|file|forward|channel)\./.test(code))) {
    if (record.session === null) continue;
    const actor = objectAt(record.raw, 'actor');
    if (record.code === 'session.start') {
      sessions.set(record.session, {
        session: record.session, user: textAt(objectAt(actor, 'user'), 'name') ?? '', target: textAt(objectAt(record.evidence, 'target'), 'name') ?? '',
        agent: listAt(objectAt(record.evidence, 'auth'), 'act').filter(isObject).map((a) => textAt(a, 'subject') ?? '').join(' < ') || null,
        database: textAt(objectAt(record.raw, 'database'), 'name') ?? textAt(objectAt(record.evidence, 'target'), 'account') ?? '', clientIp: textAt(objectAt(record.evidence, 'client'), 'ip'), application: textAt(actor, 'app_name'),
        startedMs: record.timeMs, durationMs: null, statements: 0, denied: 0, held: 0, rows: 0, endReason: null, recording: null,
      });
    }
    const row = sessions.get(record.session);
    if (row === undefined) continue;
    if (record.code === 'statement.intent' || closingCode(record.code) !== null) row.statements += 1;
    else if (record.code === 'statement.denied' || isRefusal(record.code)) row.denied += 1;
    else if (record.code === 'statement.held' || record.code === 'exec.held') row.held += 1;
    else if (record.code === 'statement.result') row.rows += countAt(objectAt(record.evidence, 'result'), 'rows') ?? 0;
    else if (record.code === 'session.end') {
      row.durationMs = countAt(objectAt(record.evidence, 'session'), 'duration_ms');
      row.endReason = textAt(objectAt(record.evidence, 'end'), 'reason');
      row.recording = textAt(objectAt(record.evidence, 'recording'), 'uri');
    }
  }
  return [...sessions.values()];
}
