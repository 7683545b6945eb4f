import type { BackendFacts, EndReason, EventCode, ParameterRecord, SessionSubject, StatementAttempt, StatementIntent, StatementResult } from '../../../contract/audit.ts';
import type { EventBody } from './encode.ts';
import { boundedText, boundedTexts, createIsoClock, isoTime } from './json-text.ts';
import { activityJson, actorOf, allowed, always, approvalsJson, authOf, backendOf, DecisionJson, type RecordingSeal, requesterKeysOf, sealJson, startMembers, targetOf } from './ocsf-parts.ts';

/** What a result needs to know of its intent. */
export interface IntentMark {
  readonly statement: number;
  /** `log_seq` of the intent. */
  readonly logSeq: number;
  readonly kind: string;
  readonly policyJson: string;
}

/** Counts that close a session's record. */
export interface SessionTotals {
  readonly durationMs: number;
  readonly statements: number;
  readonly denied: number;
  readonly rows: number;
  readonly bytes: number;
}

/**
 * Writes the OCSF 1.8.0 objects of one session. All that is constant for the session is JSON once; a statement adds only its own values,
 * because the gateway pays for one intent and one result per statement.
 */
export class SessionEvents {
  readonly #subject: SessionSubject;
  readonly #requesterKeys: ReadonlySet<string>;
  readonly #iso: (ms: number) => string = createIsoClock();
  readonly #head: string;
  readonly #evidence: string;
  readonly #activities: Map<string, string> = new Map();
  readonly #decisions: DecisionJson = new DecisionJson();

  constructor(subject: SessionSubject, backend: BackendFacts) {
    this.#subject = subject;
    this.#requesterKeys = requesterKeysOf(subject);
    this.#head = `,"actor":${JSON.stringify(actorOf(subject))},"src_endpoint":${JSON.stringify({ ip: subject.client.ip, port: subject.client.port })},`
      + `"dst_endpoint":${JSON.stringify({ name: subject.target.name })},"database":${JSON.stringify({ name: subject.target.database, type_id: 1 })},`;
    this.#evidence = `"client":${JSON.stringify({ ip: subject.client.ip, port: subject.client.port })},"target":${JSON.stringify(targetOf(subject))},"backend":${JSON.stringify(backendOf(backend))},${always}`;
  }

  sessionStart(nowMs: number): EventBody {
    const { transport, recording } = this.#subject;
    return {
      json: `${this.#envelope('session.start', nowMs)}"status_id":1,"evidence":{"schema":"evidence/v1","phase":"event",${this.#evidence},"auth":${JSON.stringify(authOf(this.#subject))},`
        + `${startMembers(this.#subject)}"transport":${JSON.stringify({ tls_version: transport.tlsVersion, cipher: transport.cipher })},`
        + `"recording":${JSON.stringify({ uid: this.#subject.sessionId, format: 'sqlrec/1', content: recording.content, durability: recording.durability })}`,
      truncated: false,
    };
  }

  sessionEnd(nowMs: number, reason: EndReason | 'ProxyLost', totals: SessionTotals, seal: RecordingSeal | null): EventBody {
    return sessionEndBody({ nowMs, actor: actorOf(this.#subject, reason), target: targetOf(this.#subject), sessionId: this.#subject.sessionId, reason, totals, seal });
  }

  /** The intent of one execution; `mark` goes into its result. */
  intent(nowMs: number, statement: number, logSeq: number, intent: StatementIntent): { readonly body: EventBody; readonly mark: IntentMark } {
    const decision = this.#decisions.of(intent.decision);
    const text = boundedText(intent.text, textBytes);
    const facts = statementJson(intent);
    const approvals = intent.approvals.length === 0 ? '' : approvalsJson(intent.approvals, this.#requesterKeys);
    return {
      body: {
        json: this.#envelope('statement.intent', nowMs, intent.kind) + allowed
          + '"query_info":{"uid":"' + statement + '","query_string":' + text.json + ',"query_time":' + nowMs + '},'
          + decision.policyJson + '"evidence":{"schema":"evidence/v1","phase":"intent",' + this.#evidence + ',' + approvals
          + decision.decisionJson + this.#iso(intent.decision.evaluatedAtMs) + '"},"statement":' + facts.json
          + (intent.continues === null ? '' : ',"continues":"' + intent.continues + '"'),
        truncated: text.cut || facts.cut,
      },
      mark: { statement, logSeq, kind: intent.kind, policyJson: decision.policyJson },
    };
  }

  /** The result of an execution. It names its intent and does not repeat the text. */
  result(nowMs: number, mark: IntentMark, result: StatementResult): EventBody {
    return { json: this.#envelope('statement.result', nowMs, mark.kind) + resultJson(mark, result, this.#evidence), truncated: false };
  }

  /** A statement that was refused, held, or cancelled while held. */
  attempt(nowMs: number, statement: number, attempt: StatementAttempt): EventBody {
    const decision = this.#decisions.of(attempt.intent.decision);
    const text = boundedText(attempt.intent.text, textBytes);
    const facts = statementJson(attempt.intent);
    return {
      json: this.#envelope(attempt.event, nowMs, attempt.intent.kind) + dispositions[attempt.event]
        + `"query_info":{"uid":"${statement}","query_string":${text.json},"query_time":${nowMs}},${decision.policyJson}`
        + (attempt.code === null ? '' : `"status_code":${JSON.stringify(attempt.code)},`)
        + `"evidence":{"schema":"evidence/v1","phase":"event",${this.#evidence},`
        + (attempt.request === null ? '' : `"request":${JSON.stringify({ name: attempt.request })},`)
        + `${decision.decisionJson}${this.#iso(attempt.intent.decision.evaluatedAtMs)}"},"statement":${facts.json}`,
      truncated: text.cut || facts.cut,
    };
  }

  #envelope(code: EventCode, nowMs: number, kind: string = ''): string {
    const key = code + kind;
    let activity = this.#activities.get(key);
    if (activity === undefined) {
      activity = activityJson(code, kind);
      // Codes and kinds are closed lists; the bound is for a caller that breaks this.
      if (this.#activities.size < 256) this.#activities.set(key, activity);
    }
    return activity + nowMs + ',"time_dt":"' + this.#iso(nowMs) + '"' + this.#head;
  }

}

/** The body of a result after its envelope; crash recovery writes the same with what it knows. */
export function resultJson(mark: Pick<IntentMark, 'statement' | 'logSeq' | 'policyJson' | 'kind'>, result: StatementResult, evidence: string): string {
  const masked = result.maskedCells.length > 0 || result.detectorHits > 0;
  const status = result.outcome === 'Completed' ? '"status_id":1,' : result.outcome === 'Unknown' ? '"status_id":0,' : '"status_id":2,';
  return status + (masked ? modified : allowed)
    + '"query_info":{"uid":"' + mark.statement + '","bytes":' + result.bytesToClient + '},' + mark.policyJson
    + '"evidence":{"schema":"evidence/v1","phase":"result","intent_seq":"' + mark.logSeq + '",' + evidence + ',"statement":{"kind":' + JSON.stringify(mark.kind) + '},'
    + (masked ? '"masking":' + JSON.stringify({ columns: result.maskedCells, entities: result.detectorHits > 0 ? [{ count: result.detectorHits }] : [] }) + ',' : '')
    + '"result":{"outcome":"' + result.outcome + '","rows":"' + result.rows + '","bytes":"' + result.bytesToClient + '","bytes_from_server":"' + result.bytesFromServer
    + '","sqlstate":' + JSON.stringify(result.sqlstate) + ',"command_tag":' + JSON.stringify(result.commandTag) + ',"first_row_ms":' + rounded(result.firstRowMs)
    + ',"duration_ms":' + rounded(result.durationMs) + ',"transaction_status":' + JSON.stringify(result.transactionStatus) + ',"limited":' + result.limited + '}';
}

/** `session.end`, for a living session and for one that crash recovery closes. */
export function sessionEndBody(end: {
  readonly nowMs: number; readonly actor: Readonly<Record<string, unknown>>; readonly target: unknown; readonly sessionId: string;
  readonly reason: EndReason | 'ProxyLost'; readonly totals: SessionTotals; readonly seal: RecordingSeal | null;
  /** Of an SSH session: what stands in place of the one recording. */
  readonly recording?: Readonly<Record<string, unknown>>;
}): EventBody {
  const recording = end.recording ?? { uid: end.sessionId, format: 'sqlrec/1', ...sealJson(end.seal) };
  const session = { duration_ms: Math.round(end.totals.durationMs), statements: end.totals.statements, denied: end.totals.denied, rows: String(end.totals.rows), bytes: String(end.totals.bytes) };
  return {
    json: `${activityJson('session.end')}${end.nowMs},"time_dt":"${isoTime(end.nowMs)}","status_id":1,"actor":${JSON.stringify(end.actor)},"user":${JSON.stringify(end.actor['user'] ?? {})},`
      + `"service":{"name":"sallyport"},"evidence":{"schema":"evidence/v1","phase":"event","target":${JSON.stringify(end.target)},${always},`
      + `"end":{"reason":"${end.reason}"},"session":${JSON.stringify(session)},"recording":${JSON.stringify(recording)}`,
    truncated: false,
  };
}

// The text's share of the 64 KiB line; the recording has all of it.
const textBytes = 32_768;
const parameterBytes = 12_288;
const modified = '"action_id":4,"action":"Modified","disposition_id":99,"disposition":"Masked",';
const dispositions = {
  'statement.denied': '"status_id":2,"action_id":2,"action":"Denied","disposition_id":2,"disposition":"Blocked",',
  'statement.held': '"action_id":99,"action":"Held","disposition_id":14,"disposition":"Delayed",',
  'statement.cancelled': '"status_id":2,"action_id":99,"action":"Cancelled","disposition_id":99,"disposition":"Cancelled",',
} as const;

function statementJson(intent: Omit<StatementIntent, 'approvals' | 'continues'>): { readonly json: string; readonly cut: boolean } {
  const objects = intent.objects.length === 0 ? noTexts : boundedTexts(intent.objects, 4096);
  const params = parametersJson(intent.parameters);
  return {
    json: '{"protocol":"' + intent.protocol + '","name":' + nameJson(intent.statementName) + ',"portal":' + nameJson(intent.portalName)
      + ',"kind":' + JSON.stringify(intent.kind) + ',"objects":' + objects.json + ',"fingerprint":' + JSON.stringify(intent.fingerprint)
      + ',"text_redacted":' + intent.textRedacted + ',"text_hmac":' + JSON.stringify(intent.textHmac) + ',"transaction_status":"' + intent.transactionStatus
      + (intent.usesEquality === true ? '","equality_on_masked":true' : '"') + ',"params":' + params.json + '}',
    cut: objects.cut || params.cut,
  };
}

const noTexts = { json: '[]', cut: false } as const;

/** Statement and portal names come from the client and may be as long as a message. */
function nameJson(name: string): string {
  return name === '' ? '""' : boundedText(name, 256).json;
}

function parametersJson(parameters: readonly ParameterRecord[]): { readonly json: string; readonly cut: boolean } {
  if (parameters.length === 0) return noTexts;
  let left = parameterBytes;
  let json = '';
  let cut = false;
  for (const p of parameters) {
    const value = p.value === null ? null : boundedText(p.value, Math.min(4096, Math.max(2, left)));
    const part = (json === '' ? '' : ',') + '{"n":' + p.n + ',"type":' + JSON.stringify(p.type) + ',"format":"' + p.format
      + (value === null ? '","value":null,"hmac":' + JSON.stringify(p.hmac) : '","value":' + value.json + (value.cut ? ',"cut":true' : ''))
      + ',"redacted":' + p.redacted + ',"bytes":' + p.bytes + '}';
    left -= part.length * 3 < left ? part.length * 3 : Buffer.byteLength(part);
    if (left < 0) return { json: `[${json}]`, cut: true };
    json += part;
    cut ||= value?.cut === true;
  }
  return { json: '[' + json + ']', cut };
}

function rounded(ms: number | null): string {
  return ms === null ? 'null' : String(Math.round(ms * 1000) / 1000);
}
