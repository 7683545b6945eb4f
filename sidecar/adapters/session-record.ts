import fs from 'node:fs';
import type { BackendFacts, EndReason, RecordedColumn, SessionRecorder, SessionSeal, SessionSubject, StatementAttempt, StatementIntent, StatementResult } from '../../contract/audit.ts';
import { SallyportError } from '../core/errors.ts';
import type { Clock } from '../core/ports.ts';
import { newChain, type SessionChain } from '../core/recording/encode.ts';
import { type IntentMark, SessionEvents } from '../core/recording/ocsf.ts';
import { unknownResult } from '../core/recording/open-sessions.ts';
import { type RecordingLimits, SqlRecording } from '../core/recording/sqlrec.ts';
import type { AuditLog } from './audit-log.ts';
import type { FileLayer } from './file-layer.ts';
import type { GuardedStorage } from './guarded-storage.ts';
import { RecordHealth } from './record-health.ts';
import { openRecordingPath, sealRecording } from './recording-file.ts';

/** What a session's record needs from its factory. */
export interface SessionRecordDeps {
  readonly log: AuditLog;
  readonly storage: GuardedStorage;
  readonly files: FileLayer;
  readonly clock: Clock;
  readonly recordings: string;
  readonly limits: RecordingLimits;
  /** Why nothing new may be recorded now, else null. */
  refusal(): 'RECORDER_FAILED' | 'STORAGE_FULL' | null;
  /** Something waits to be written within 50 ms. */
  dirty(): void;
  failed(error: unknown): void;
  ended(): void;
}

/** Unwritten recording lines that force a write. */
const rowsBeforeWrite = 512;

/** Writes one session: its chain in the log and its recording. After a failure it refuses everything but `end`. */
export class SessionRecord implements SessionRecorder {
  readonly sessionId: string;
  readonly #deps: SessionRecordDeps;
  readonly #chain: SessionChain;
  readonly #health: RecordHealth;
  readonly #marks: Map<number, IntentMark> = new Map();
  #events: SessionEvents | null = null;
  #recording: SqlRecording | null = null;
  #durable = false;
  #fd: number | null = null;
  #statements = 0;
  #intents = 0;
  #denied = 0;
  #rows = 0;
  #bytes = 0;
  #bufferedRows = 0;
  #startedMs = 0;
  #ending: Promise<void> | null = null;
  #firstSeq = 0;
  #seal: SessionSeal | null = null;

  constructor(sessionId: string, deps: SessionRecordDeps) {
    this.sessionId = sessionId;
    this.#deps = deps;
    this.#chain = newChain(sessionId);
    this.#health = new RecordHealth(deps);
  }

  async start(subject: SessionSubject, backend: BackendFacts): Promise<void> {
    const { log, clock, files, recordings, limits } = this.#deps;
    this.#health.check(this.#ending !== null);
    const events = new SessionEvents(subject, backend);
    const startedMs = clock.monotonicMs();
    this.#startedMs = startedMs;
    this.#durable = subject.recording.durability === 'Fsync';
    this.#health.guarded(() => {
      this.#firstSeq = log.size;
      log.add('session.start', events.sessionStart(clock.now()), this.#chain);
      this.#events = events;
      log.write();
      try {
        this.#fd = files.openAppend(openRecordingPath(recordings, this.sessionId), true);
        if (this.#durable) files.syncDirectory(recordings);
      } catch (error) {
        throw new SallyportError('RECORDER_FAILED', { reason: 'recording cannot be opened' }, { cause: error });
      }
      this.#recording = new SqlRecording(subject, log.origin, startedMs, limits);
      this.flush();
    });
    if (this.#durable) await this.#health.sync();
  }

  recordIntents(intents: readonly StatementIntent[]): Promise<readonly number[]> | readonly number[] {
    const { events, recording } = this.#running();
    const { log, clock } = this.#deps;
    const numbers: number[] = [];
    const nowMs = clock.now();
    const monotonicMs = clock.monotonicMs();
    try {
      for (const intent of intents) {
        const statement = this.#statements + 1;
        const seq = log.size;
        const made = events.intent(nowMs, statement, seq, intent);
        log.add('statement.intent', made.body, this.#chain);
        this.#statements = statement;
        this.#intents += 1;
        this.#marks.set(statement, made.mark);
        numbers.push(statement);
        recording.statement(monotonicMs, statement, seq, intent);
      }
      log.write();
    } catch (error) {
      this.#notForwarded(numbers);
      throw this.#health.fail(error);
    }
    this.#deps.dirty();
    if (!this.#durable) return numbers;
    return this.#health.sync().then(() => numbers, (error: unknown) => {
      this.#notForwarded(numbers);
      throw error;
    });
  }

  recordResult(result: StatementResult): void {
    const events = this.#events;
    if (events === null || this.#ending !== null || this.#health.abandoned) return;
    const mark = this.#marks.get(result.statement);
    if (mark === undefined) throw new SallyportError('INTERNAL', { reason: 'result without intent', statement: result.statement });
    this.#marks.delete(result.statement);
    this.#rows += result.rows;
    this.#bytes += result.bytesToClient;
    this.#recording?.result(this.#deps.clock.monotonicMs(), result);
    this.#health.quietly(() => {
      const { log, clock } = this.#deps;
      log.add('statement.result', events.result(clock.now(), mark, result), this.#chain);
      if (log.pendingFull) log.write();
    });
    this.#deps.dirty();
  }

  async recordAttempt(attempt: StatementAttempt): Promise<void> {
    const { events, recording } = this.#running();
    const { log, clock } = this.#deps;
    this.#health.guarded(() => {
      const statement = this.#statements + 1;
      log.add(attempt.event, events.attempt(clock.now(), statement, attempt), this.#chain);
      this.#statements = statement;
      if (attempt.event === 'statement.denied') this.#denied += 1;
      recording.attempt(clock.monotonicMs(), statement, attempt);
      log.write();
    });
    this.#deps.dirty();
    if (this.#durable) await this.#health.sync();
  }

  describe(statement: number, columns: readonly RecordedColumn[]): void {
    this.#recording?.describe(this.#deps.clock.monotonicMs(), statement, columns);
  }

  row(statement: number, body: Uint8Array): void {
    this.#recording?.row(this.#deps.clock.monotonicMs(), statement, body);
    this.#bufferedRows += 1;
    if (this.#bufferedRows >= rowsBeforeWrite) this.flush();
  }

  copy(statement: number, direction: 'in' | 'out', chunk: Uint8Array): void {
    this.#recording?.copy(this.#deps.clock.monotonicMs(), statement, direction, chunk);
    this.#bufferedRows += 1;
    if (this.#bufferedRows >= rowsBeforeWrite) this.flush();
  }

  notice(statement: number, kind: 'e' | 'n', fields: { readonly severity: string; readonly sqlstate: string; readonly message: string }): void {
    this.#recording?.notice(this.#deps.clock.monotonicMs(), statement, kind, fields);
    this.#deps.dirty();
  }

  flush(): void {
    this.#health.checkFailure();
    try {
      this.flushRecording();
    } catch (error) {
      throw this.#health.fail(error);
    }
  }

  /** `flush` for the 50 ms timer: writes also after a failure, as long as the disk takes it. */
  flushRecording(): void {
    this.#bufferedRows = 0;
    if (this.#recording === null || this.#fd === null || !this.#recording.dirty) return;
    this.#deps.storage.write(this.#fd, this.#recording.take());
  }

  /** @param totals null: the record's own counts stand alone. Never throws: what cannot be written is closed by recovery. */
  end(reason: EndReason, totals: { readonly rows: number; readonly bytes: number; readonly denied: number } | null): Promise<void> {
    this.#ending ??= this.#end(reason, totals);
    return this.#ending;
  }

  seal(): SessionSeal | null {
    return this.#seal;
  }

  /** The log has failed: the new log will close this session, so only the file is let go. */
  abandon(): void {
    this.#health.abandon();
    this.#closeFile();
    this.#deps.ended();
  }

  async #end(reason: EndReason, totals: { readonly rows: number; readonly bytes: number; readonly denied: number } | null): Promise<void> {
    const { log, clock, recordings } = this.#deps;
    const events = this.#events;
    try {
      if (events === null || this.#health.isCut) return;
      for (const mark of this.#marks.values()) log.add('statement.result', events.result(clock.now(), mark, unknownResult(mark.statement)), this.#chain);
      this.#marks.clear();
      const rows = totals?.rows ?? this.#rows;
      const monotonicMs = clock.monotonicMs();
      this.#recording?.end(monotonicMs, reason, this.#intents, rows);
      this.#health.quietly(() => this.flushRecording());
      this.#closeFile();
      const seal = await sealRecording(recordings, this.sessionId, { sync: this.#durable });
      if (this.#health.isCut) return;
      const sums = { durationMs: monotonicMs - this.#startedMs, statements: this.#intents, denied: this.#denied, rows, bytes: totals?.bytes ?? this.#bytes };
      const lastSequence = log.size;
      log.add('session.end', events.sessionEnd(clock.now(), reason, sums, seal), this.#chain);
      log.checkpoint();
      if (this.#durable) await log.sync();
      this.#seal = {
        recording: seal === null ? null : { uri: seal.uri, sha256: seal.sha256.replace(/^sha256:/, '') },
        log: { origin: log.origin, firstSequence: this.#firstSeq, lastSequence, chainHead: this.#chain.prevHash },
      };
    } catch (error) {
      this.#deps.failed(error);
    } finally {
      this.#closeFile();
      this.#deps.ended();
    }
  }

  #running(): { readonly events: SessionEvents; readonly recording: SqlRecording } {
    this.#health.check(this.#ending !== null);
    if (this.#events === null || this.#recording === null) throw new SallyportError('INTERNAL', { reason: 'session not started' });
    return { events: this.#events, recording: this.#recording };
  }

  /** Intents that were recorded while the disk filled up: the caller forwards none of them. */
  #notForwarded(statements: readonly number[]): void {
    const events = this.#events;
    if (events === null || this.#deps.log.failed) return;
    for (const statement of statements) {
      const mark = this.#marks.get(statement);
      if (mark === undefined) continue;
      this.#marks.delete(statement);
      try {
        this.#deps.log.add('statement.result', events.result(this.#deps.clock.now(), mark, unknownResult(statement, 'NotForwarded')), this.#chain);
      } catch {
        // The log has failed now; recovery writes Unknown for it.
        return;
      }
    }
  }

  #closeFile(): void {
    if (this.#fd !== null) fs.closeSync(this.#fd);
    this.#fd = null;
  }
}
