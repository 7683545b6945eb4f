import type { DecisionRecord, ParameterRecord, RecordedColumn, SessionSubject, StatementAttempt, StatementIntent, StatementResult } from '../../../contract/audit.ts';
import { isoTime } from './json-text.ts';
import { readableValue } from './pg-value.ts';

/** What a recording stores at most; past it, storing stops and counting goes on. */
export interface RecordingLimits {
  /** Per statement. */
  readonly rows: number;
  /** Per statement. */
  readonly bytes: number;
  readonly valueBytes: number;
  readonly sessionBytes: number;
}

/** audit.md section 4. */
export const defaultRecordingLimits: RecordingLimits = { rows: 1000, bytes: 1_048_576, valueBytes: 8192, sessionBytes: 268_435_456 };

/**
 * The lines of one `sqlrec/1` recording, buffered until `take`. Times are `[dt_ms, code, statement, data]`, dt since the line before it.
 * Holds only what the client was allowed to see: rows arrive masked, texts redacted. COPY IN data is never stored, only counted.
 */
export class SqlRecording {
  readonly #limits: RecordingLimits;
  readonly #content: 'Full' | 'Metadata';
  readonly #startedMs: number;
  readonly #statements: Map<number, StatementState> = new Map();
  #lastTenths = 0;
  #pending: string[] = [];
  #sessionBytes = 0;
  #batch: { readonly statement: number; rows: string[]; bytes: number } | null = null;
  #sessionStopped = false;

  /** @param startedMs monotonic clock at the start, ms; every later `nowMs` is of the same clock. */
  constructor(subject: SessionSubject, origin: string, startedMs: number, limits: RecordingLimits = defaultRecordingLimits) {
    this.#limits = limits;
    this.#content = subject.recording.content;
    this.#startedMs = startedMs;
    this.#push(JSON.stringify({
      version: 1, kind: 'sqlrec', session: subject.sessionId, log_origin: origin, target: subject.target.name, database: subject.target.database, user: subject.identity.username,
      started_at: isoTime(subject.startedAtMs), policies: subject.policies.map((p) => ({ name: p.name, uid: p.uid, generation: p.generation })), content: subject.recording.content,
      client: { application_name: subject.client.applicationName, client_encoding: 'UTF8' },
      limits: { rows: limits.rows, bytes: limits.bytes, value_bytes: limits.valueBytes, session_bytes: limits.sessionBytes },
    }));
  }

  /** True when `take` has something. */
  get dirty(): boolean {
    return this.#pending.length > 0 || this.#batch !== null;
  }

  /** Everything since the last call as complete lines; empty when there is nothing. */
  take(): string {
    this.#closeBatch(0);
    if (this.#pending.length === 0) return '';
    const text = this.#pending.length === 1 ? `${this.#pending[0]}\n` : `${this.#pending.join('\n')}\n`;
    this.#pending = [];
    return text;
  }

  statement(nowMs: number, n: number, intentSeq: number, intent: StatementIntent): void {
    this.#question(nowMs, n, intent, intentSeq);
    const first = intent.approvals[0];
    this.#judgement(nowMs, n, intent.decision, first?.request ?? null, intent.approvals.map((a) => a.decisionUid));
  }

  attempt(nowMs: number, n: number, attempt: StatementAttempt): void {
    this.#question(nowMs, n, attempt.intent, null);
    this.#judgement(nowMs, n, attempt.intent.decision, attempt.request, []);
    this.#line(nowMs, 'm', n, `{"label":${JSON.stringify(attempt.event)},"code":${JSON.stringify(attempt.code)}}`);
  }

  describe(nowMs: number, n: number, columns: readonly RecordedColumn[]): void {
    this.#stateOf(n).columns = columns;
    this.#line(nowMs, 'd', n, `{"columns":[${columns.map((c) => `{"name":${JSON.stringify(c.name)},"oid":${c.typeOid}${c.style === null ? '' : `,"style":${JSON.stringify(c.style)}`}}`).join(',')}]}`);
  }

  /** @param body a DataRow after its header: int16 count, then int32 length and bytes per column; -1 is null. */
  row(nowMs: number, n: number, body: Uint8Array): void {
    const state = this.#stateOf(n);
    if (this.#content === 'Metadata' || state.stopped || this.#sessionStopped) return;
    if (state.rows >= this.#limits.rows) return this.#stop(nowMs, n, state, 'rows', this.#limits.rows, state.rows);
    const cells = this.#cells(nowMs, n, state, body);
    if (state.bytes + cells.length > this.#limits.bytes) return this.#stop(nowMs, n, state, 'bytes', this.#limits.bytes, state.bytes);
    if (this.#sessionBytes + (this.#batch?.bytes ?? 0) + cells.length > this.#limits.sessionBytes) return this.#stopSession(nowMs, n);
    state.rows += 1;
    state.bytes += cells.length;
    if (this.#batch !== null && (this.#batch.statement !== n || this.#batch.rows.length >= batchRows || this.#batch.bytes + cells.length > batchBytes)) this.#closeBatch(nowMs);
    this.#batch ??= { statement: n, rows: [], bytes: 0 };
    this.#batch.rows.push(cells);
    this.#batch.bytes += cells.length;
    this.#batchMs = nowMs;
  }

  copy(nowMs: number, n: number, direction: 'in' | 'out', chunk: Uint8Array): void {
    const state = this.#stateOf(n);
    state.copy ??= { direction, bytes: 0, chunks: 0, sample: [] };
    state.copy.bytes += chunk.length;
    state.copy.chunks += 1;
    // What a client sends can hold any value in clear, so COPY IN is counted and never kept.
    if (direction === 'in' || this.#content === 'Metadata' || state.stopped || this.#sessionStopped) return;
    if (state.rows >= this.#limits.rows) return this.#stop(nowMs, n, state, 'rows', this.#limits.rows, state.rows);
    const sample = readableValue(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength), 25, 0, this.#limits.valueBytes).json;
    if (state.bytes + sample.length > this.#limits.bytes) return this.#stop(nowMs, n, state, 'bytes', this.#limits.bytes, state.bytes);
    if (this.#sessionBytes + sample.length > this.#limits.sessionBytes) return this.#stopSession(nowMs, n);
    state.rows += 1;
    state.bytes += sample.length;
    state.copy.sample.push(sample);
    state.sampleBytes += sample.length;
    if (state.copy.sample.length >= batchRows || state.sampleBytes > batchBytes) this.#closeCopy(nowMs, n, state);
  }

  /** An error, or a notice: of these as many per statement as rows are kept, since a loop in the server can raise them without end. */
  notice(nowMs: number, n: number, kind: 'e' | 'n', fields: { readonly severity: string; readonly sqlstate: string; readonly message: string }): void {
    if (kind === 'n') {
      const state = this.#stateOf(n);
      state.notices += 1;
      if (state.notices === this.#limits.rows + 1) this.#line(nowMs, 't', n, JSON.stringify({ what: 'notices', limit: this.#limits.rows, stored: this.#limits.rows, reason: 'limit of one statement' }));
      if (state.notices > this.#limits.rows || this.#sessionStopped) return;
    }
    this.#line(nowMs, kind, n, JSON.stringify({ severity: fields.severity, sqlstate: fields.sqlstate, message: fields.message.slice(0, this.#limits.valueBytes) }));
  }

  result(nowMs: number, result: StatementResult): void {
    const state = this.#statements.get(result.statement);
    if (state?.copy != null) this.#closeCopy(nowMs, result.statement, state);
    this.#line(nowMs, 'c', result.statement, '{"outcome":"' + result.outcome + '","tag":' + JSON.stringify(result.commandTag) + ',"rows":' + result.rows + ',"bytes":' + result.bytesToClient
      + ',"rows_stored":' + (state?.rows ?? 0) + ',"sqlstate":' + JSON.stringify(result.sqlstate) + ',"masked_cells":' + result.maskedCells.reduce((sum, c) => sum + c.cells, 0)
      + ',"duration_ms":' + Math.round(result.durationMs * 1000) / 1000 + '}');
    this.#statements.delete(result.statement);
  }

  end(nowMs: number, reason: string, statements: number, rows: number): void {
    this.#line(nowMs, 'x', 0, JSON.stringify({ reason, statements, rows }));
  }

  #batchMs = 0;

  #question(nowMs: number, n: number, intent: Omit<StatementIntent, 'approvals' | 'continues'>, intentSeq: number | null): void {
    this.#line(nowMs, 'q', n, '{"text":' + JSON.stringify(intent.text) + ',"protocol":"' + intent.protocol + '"'
      + (intent.statementName === '' ? '' : ',"name":' + JSON.stringify(intent.statementName.slice(0, 256)))
      + ',"kind":' + JSON.stringify(intent.kind) + ',"redacted":' + intent.textRedacted + (intentSeq === null ? '' : ',"intent_seq":"' + intentSeq + '"') + '}');
    if (intent.parameters.length > 0) this.#line(nowMs, 'p', n, JSON.stringify({ params: intent.parameters.map((p) => this.#parameter(p)) }));
  }

  #parameter(p: ParameterRecord): Readonly<Record<string, unknown>> {
    const shown = p.value === null ? { hmac: p.hmac } : { value: p.value.slice(0, this.#limits.valueBytes) };
    return { type: p.type, format: p.format, ...shown, redacted: p.redacted };
  }

  #judgement(nowMs: number, n: number, decision: DecisionRecord, request: string | null, decisions: readonly string[]): void {
    this.#line(nowMs, 'a', n, '{"effect":"' + decision.effect + '","rule":' + JSON.stringify(decision.rule) + ',"policy":' + JSON.stringify(decision.policy)
      + (request === null ? '' : ',"request":' + JSON.stringify(request)) + (decisions.length === 0 ? '' : ',"decisions":' + JSON.stringify(decisions)) + '}');
  }

  #cells(nowMs: number, n: number, state: StatementState, body: Uint8Array): string {
    const buffer = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    const count = buffer.readUInt16BE(0);
    let at = 2;
    let cells = '[';
    let cut = false;
    for (let column = 0; column < count; column += 1) {
      const length = buffer.readInt32BE(at);
      at += 4;
      if (column > 0) cells += ',';
      if (length < 0) {
        cells += 'null';
        continue;
      }
      const described = state.columns[column];
      const value = readableValue(buffer.subarray(at, at + length), described?.typeOid ?? 0, described?.format ?? 0, this.#limits.valueBytes);
      cells += value.json;
      cut ||= value.cut;
      at += length;
    }
    if (cut && !state.valueCut) {
      state.valueCut = true;
      this.#line(nowMs, 't', n, JSON.stringify({ what: 'value', limit: this.#limits.valueBytes, stored: this.#limits.valueBytes, reason: 'limit of one value' }));
    }
    return cells + ']';
  }

  #stop(nowMs: number, n: number, state: StatementState, what: 'rows' | 'bytes', limit: number, stored: number): void {
    state.stopped = true;
    this.#line(nowMs, 't', n, JSON.stringify({ what, limit, stored, reason: 'limit of one statement' }));
  }

  #stopSession(nowMs: number, n: number): void {
    this.#sessionStopped = true;
    this.#line(nowMs, 't', n, JSON.stringify({ what: 'session', limit: this.#limits.sessionBytes, stored: this.#sessionBytes, reason: 'limit of one session' }));
  }

  #closeBatch(nowMs: number): void {
    const batch = this.#batch;
    if (batch === null) return;
    this.#batch = null;
    this.#push(this.#timed(Math.max(nowMs, this.#batchMs), 'r', batch.statement, `{"rows":[${batch.rows.join(',')}]}`));
  }

  #closeCopy(nowMs: number, n: number, state: StatementState): void {
    const copy = state.copy;
    if (copy === null) return;
    state.copy = null;
    state.sampleBytes = 0;
    this.#line(nowMs, 'y', n, `{"direction":"${copy.direction}","bytes":${copy.bytes},"chunks":${copy.chunks}${copy.sample.length === 0 ? '' : `,"sample":[${copy.sample.join(',')}]`}}`);
  }

  #line(nowMs: number, code: string, n: number, data: string): void {
    this.#closeBatch(nowMs);
    this.#push(this.#timed(nowMs, code, n, data));
  }

  #timed(nowMs: number, code: string, n: number, data: string): string {
    // Counted from the start in whole tenths, so that rounding never adds up to a drift.
    const tenths = Math.max(this.#lastTenths, Math.round((nowMs - this.#startedMs) * 10));
    const dt = (tenths - this.#lastTenths) / 10;
    this.#lastTenths = tenths;
    return '[' + dt + ',"' + code + '",' + n + ',' + data + ']';
  }

  #push(line: string): void {
    this.#sessionBytes += line.length + 1;
    this.#pending.push(line);
  }

  #stateOf(n: number): StatementState {
    let state = this.#statements.get(n);
    if (state === undefined) {
      state = { columns: [], rows: 0, bytes: 0, stopped: false, valueCut: false, copy: null, sampleBytes: 0, notices: 0 };
      this.#statements.set(n, state);
    }
    return state;
  }
}

interface StatementState {
  columns: readonly RecordedColumn[];
  rows: number;
  bytes: number;
  stopped: boolean;
  valueCut: boolean;
  copy: { readonly direction: 'in' | 'out'; bytes: number; chunks: number; readonly sample: string[] } | null;
  sampleBytes: number;
  notices: number;
}

const batchRows = 200;
const batchBytes = 65_536;
