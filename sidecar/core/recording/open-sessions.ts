import type { StatementResult } from '../../../contract/audit.ts';
import type { EventBody, SessionChain } from './encode.ts';
import { activityJson, always, type RecordingSeal, resultJson, sessionEndBody } from './ocsf.ts';
import { isoTime } from './json-text.ts';
import { countAt, isObject, objectAt, type RecordView, textAt } from './record-view.ts';

/** A session that a log left open. */
export interface OpenSession {
  readonly chain: SessionChain;
  readonly start: RecordView;
  readonly lastTimeMs: number;
  readonly statements: number;
  readonly denied: number;
  readonly rows: number;
  readonly bytes: number;
  /** Intents without result, by statement number. */
  readonly openIntents: ReadonlyMap<number, { readonly logSeq: number; readonly kind: string; readonly policyJson: string }>;
}

/** Follows records, oldest log first, and knows what is still open. Memory grows with open sessions only. */
export class OpenSessions {
  readonly #open: Map<string, Mutable> = new Map();

  /** @param hash SHA-256 of the record's line, hex. */
  feed(record: RecordView, hash: string): void {
    if (record.session === null || record.sessionSeq === null) return;
    if (record.code === 'session.end') {
      this.#open.delete(record.session);
      return;
    }
    if (record.code === 'session.start') {
      this.#open.set(record.session, { chain: { sessionId: record.session, nextSeq: 0, prevHash: '' }, start: record, lastTimeMs: 0, statements: 0, denied: 0, rows: 0, bytes: 0, openIntents: new Map() });
    }
    const session = this.#open.get(record.session);
    if (session === undefined) return;
    session.chain.nextSeq = record.sessionSeq + 1;
    session.chain.prevHash = hash;
    session.lastTimeMs = record.timeMs;
    this.#count(session, record);
  }

  /** What is open now, in the order of the starts. */
  list(): readonly OpenSession[] {
    return [...this.#open.values()];
  }

  #count(session: Mutable, record: RecordView): void {
    const statement = countAt(objectAt(record.raw, 'query_info'), 'uid');
    if (record.code === 'statement.intent' && statement !== null) {
      session.statements += 1;
      const policy = record.raw['policy'];
      session.openIntents.set(statement, {
        logSeq: record.logSeq, kind: textAt(objectAt(record.evidence, 'statement'), 'kind') ?? 'Other', policyJson: isObject(policy) ? `"policy":${JSON.stringify(policy)},` : '',
      });
    } else if (record.code === 'statement.result' && statement !== null) {
      session.openIntents.delete(statement);
      session.rows += countAt(objectAt(record.evidence, 'result'), 'rows') ?? 0;
      session.bytes += countAt(objectAt(record.evidence, 'result'), 'bytes') ?? 0;
    } else if (record.code === 'statement.denied') {
      session.denied += 1;
    }
  }
}

/**
 * The records that close a session whose process is gone: an Unknown result for each open intent, for nobody can say whether it was
 * forwarded, then `session.end`.
 */
export function closingBodies(session: OpenSession, nowMs: number, reason: 'ProxyLost' | 'RecorderFailed', seal: RecordingSeal | null): readonly { readonly code: 'statement.result' | 'session.end'; readonly body: EventBody }[] {
  const { raw, evidence } = session.start;
  const actor = objectAt(raw, 'actor');
  const constant = `"client":${JSON.stringify(evidence['client'] ?? {})},"target":${JSON.stringify(evidence['target'] ?? {})},"backend":${JSON.stringify(evidence['backend'] ?? {})},${always}`;
  const head = `,"time_dt":"${isoTime(nowMs)}","actor":${JSON.stringify(actor)},"src_endpoint":${JSON.stringify(raw['src_endpoint'] ?? {})},"database":${JSON.stringify(raw['database'] ?? {})},`;
  const results = [...session.openIntents].map(([statement, intent]) => ({
    code: 'statement.result' as const,
    body: { json: activityJson('statement.result', intent.kind) + nowMs + head + resultJson({ statement, ...intent }, unknownResult(statement), constant), truncated: false },
  }));
  const totals = { durationMs: Math.max(0, session.lastTimeMs - session.start.timeMs), statements: session.statements, denied: session.denied, rows: session.rows, bytes: session.bytes };
  const ended = { ...actor, session: { ...objectAt(actor, 'session'), expiration_reason: reason } };
  const end = sessionEndBody({ nowMs, actor: ended, target: evidence['target'] ?? {}, sessionId: session.chain.sessionId, reason, totals, seal });
  return [...results, { code: 'session.end', body: end }];
}

/** The result of a statement of which only the intent is known. */
export function unknownResult(statement: number, outcome: 'Unknown' | 'NotForwarded' = 'Unknown'): StatementResult {
  return {
    statement, outcome, commandTag: null, rows: 0, bytesFromServer: 0, bytesToClient: 0, maskedCells: [], detectorHits: 0, sqlstate: null,
    firstRowMs: null, durationMs: 0, transactionStatus: null, limited: false,
  };
}

type Mutable = { -readonly [K in keyof Omit<OpenSession, 'openIntents' | 'chain'>]: OpenSession[K] } & {
  readonly chain: SessionChain;
  readonly openIntents: Map<number, { readonly logSeq: number; readonly kind: string; readonly policyJson: string }>;
};
