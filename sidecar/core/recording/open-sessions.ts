import type { EventCode, StatementResult } from '../../../contract/audit.ts';
import { CastCollector, castsJson, type SealedCast } from './cast-list.ts';
import type { EventBody, SessionChain } from './encode.ts';
import { resultJson, sessionEndBody } from './ocsf.ts';
import { activityJson, always, type RecordingSeal } from './ocsf-parts.ts';
import { isoTime } from './json-text.ts';
import { closingBody, type OperationMark, sealedBody } from './ocsf-ssh.ts';
import { countAt, isObject, listAt, objectAt, type RecordView, textAt } from './record-view.ts';
import { bytesToUser, closesOperation, closingCode, isRefusal } from './ssh-operations.ts';

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
  /** Of an SSH session: operations without an end, by number. */
  readonly openOperations: ReadonlyMap<number, OperationMark>;
  /** Of an SSH session: uris of recordings that a record names already. */
  readonly namedCasts: ReadonlySet<string>;
}

/** Whether a session left open is one of SSH. */
export function isSshSession(session: OpenSession): boolean {
  return textAt(objectAt(session.start.evidence, 'recording'), 'format') === 'asciicast/3';
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
      this.#open.set(record.session, { chain: { sessionId: record.session, nextSeq: 0, prevHash: '' }, start: record, lastTimeMs: 0, statements: 0, denied: 0, rows: 0, bytes: 0, openIntents: new Map(), openOperations: new Map(), namedCasts: new Set() });
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
    } else if (record.code === 'statement.denied' || isRefusal(record.code)) {
      session.denied += 1;
    } else {
      countOperation(session, record);
    }
  }
}

/**
 * The records that close a session whose process is gone: an Unknown result for each open intent, for nobody can say whether it was
 * forwarded, then `session.end`.
 */
export function closingBodies(session: OpenSession, nowMs: number, reason: 'ProxyLost' | 'RecorderFailed', seal: RecordingSeal | readonly SealedCast[] | null): readonly { readonly code: EventCode; readonly body: EventBody }[] {
  return isSshSession(session) ? closingSsh(session, nowMs, reason, Array.isArray(seal) ? seal as readonly SealedCast[] : []) : closingStatements(session, nowMs, reason, Array.isArray(seal) ? null : seal as RecordingSeal | null);
}

function closingStatements(session: OpenSession, nowMs: number, reason: 'ProxyLost' | 'RecorderFailed', seal: RecordingSeal | null): readonly { readonly code: EventCode; readonly body: EventBody }[] {
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

function closingSsh(session: OpenSession, nowMs: number, reason: 'ProxyLost' | 'RecorderFailed', sealed: readonly SealedCast[]): readonly { readonly code: EventCode; readonly body: EventBody }[] {
  const { raw, evidence } = session.start;
  const actor = objectAt(raw, 'actor');
  const { sessionId } = session.chain;
  const constant = `"client":${JSON.stringify(evidence['client'] ?? {})},"target":${JSON.stringify(evidence['target'] ?? {})},"backend":${JSON.stringify(evidence['backend'] ?? {})},${always}`;
  const head = `,"actor":${JSON.stringify(actor)},"src_endpoint":${JSON.stringify(raw['src_endpoint'] ?? {})},"device":${JSON.stringify(raw['device'] ?? {})},`;
  const bodies: { readonly code: EventCode; readonly body: EventBody }[] = [...session.openOperations.values()].map((mark) => ({
    code: closingCode(mark.code) ?? 'exec.result', body: closingBody(nowMs, `,"time_dt":"${isoTime(nowMs)}"${head}`, constant, mark, { facts: { outcome: 'Unknown' }, reason: null }),
  }));
  const collector = new CastCollector(session.namedCasts.size);
  for (const cast of sealed) {
    const full = collector.add(cast);
    if (full !== null) bodies.push({ code: 'recording.sealed', body: sealedBody(nowMs, head, constant, sessionId, full) });
  }
  const totals = { durationMs: Math.max(0, session.lastTimeMs - session.start.timeMs), statements: session.statements, denied: session.denied, rows: 0, bytes: session.bytes };
  const ended = { ...actor, session: { ...objectAt(actor, 'session'), expiration_reason: reason } };
  const end = sessionEndBody({ nowMs, actor: ended, target: evidence['target'] ?? {}, sessionId, reason, totals, seal: null, recording: castsJson(sessionId, collector.take()) });
  return [...bodies, { code: 'session.end', body: end }];
}

function countOperation(session: Mutable, record: RecordView): void {
  const operation = countAt(objectAt(record.evidence, 'operation'), 'n');
  if (record.code === 'recording.sealed') {
    for (const cast of listAt(objectAt(record.evidence, 'recording'), 'casts')) session.namedCasts.add(textAt(cast, 'uri') ?? '');
  } else if (operation !== null && closingCode(record.code) !== null) {
    session.statements += 1;
    session.openOperations.set(operation, markOf(record, operation));
  } else if (operation !== null && closesOperation(record.code)) {
    session.openOperations.delete(operation);
    session.bytes += bytesToUser(objectAt(record.evidence, 'facts'));
  }
}

/** What the event that closes an operation repeats of the one that opened it. */
function markOf(record: RecordView, operation: number): OperationMark {
  const { raw, evidence, code } = record;
  const { cmd_line: _text, ...process } = objectAt(raw, 'process');
  const about = code === 'file.intent' ? { file: objectAt(raw, 'file') } : code === 'forward.open' ? { dst_endpoint: objectAt(raw, 'dst_endpoint') } : { process };
  const policy = raw['policy'];
  return {
    operation, channel: countAt(objectAt(evidence, 'operation'), 'channel') ?? 0, logSeq: record.logSeq, code, kind: textAt(objectAt(evidence, 'facts'), 'operation') ?? '',
    aboutJson: `${JSON.stringify(about).slice(1, -1)},`, policyJson: isObject(policy) ? `"policy":${JSON.stringify(policy)},` : '',
  };
}

/** The result of a statement of which only the intent is known. */
export function unknownResult(statement: number, outcome: 'Unknown' | 'NotForwarded' = 'Unknown'): StatementResult {
  return {
    statement, outcome, commandTag: null, rows: 0, bytesFromServer: 0, bytesToClient: 0, maskedCells: [], detectorHits: 0, sqlstate: null,
    firstRowMs: null, durationMs: 0, transactionStatus: null, limited: false,
  };
}

type Mutable = { -readonly [K in keyof Omit<OpenSession, 'openIntents' | 'openOperations' | 'namedCasts' | 'chain'>]: OpenSession[K] } & {
  readonly chain: SessionChain;
  readonly openIntents: Map<number, { readonly logSeq: number; readonly kind: string; readonly policyJson: string }>;
  readonly openOperations: Map<number, OperationMark>;
  readonly namedCasts: Set<string>;
};
