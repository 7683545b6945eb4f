import type { BackendFacts, CastHeader, CastRecorder, EndReason, SessionSeal, SessionSubject, SshEvent, SshSessionRecorder } from '../../contract/audit.ts';
import { SallyportError } from '../core/errors.ts';
import { type CastBudget, castSessionBytes } from '../core/recording/asciicast.ts';
import { CastCollector, type CastList, type SealedCast } from '../core/recording/cast-list.ts';
import { newChain, type SessionChain } from '../core/recording/encode.ts';
import { type OperationMark, SshEvents } from '../core/recording/ocsf-ssh.ts';
import { closesOperation, closingCode, isRefusal } from '../core/recording/ssh-operations.ts';
import { CastFile } from './cast-file.ts';
import { RecordHealth } from './record-health.ts';
import type { SessionRecordDeps } from './session-record.ts';

/** What the record of an SSH session needs from its factory. */
export type SshSessionRecordDeps = Omit<SessionRecordDeps, 'limits'> & {
  /** Default 256 MiB. */
  readonly castBytes?: number;
  /** Work on files that goes on after the session was abandoned. */
  settling(work: Promise<unknown>): void;
};

/** Writes one SSH session: its chain in the log and a recording per channel. After a failure it refuses everything but `end`. */
export class SshSessionRecord implements SshSessionRecorder {
  readonly sessionId: string;
  readonly #deps: SshSessionRecordDeps;
  readonly #chain: SessionChain;
  readonly #health: RecordHealth;
  readonly #marks: Map<number, OperationMark> = new Map();
  readonly #casts: Map<number, CastFile> = new Map();
  readonly #usedChannels: Set<number> = new Set();
  readonly #collector: CastCollector = new CastCollector();
  readonly #budget: CastBudget;
  #subject: SessionSubject | null = null;
  #events: SshEvents | null = null;
  #durable = false;
  #operations = 0;
  #opened = 0;
  #denied = 0;
  #startedMs = 0;
  #firstSeq = 0;
  #ending: Promise<void> | null = null;
  #seal: SessionSeal | null = null;

  constructor(sessionId: string, deps: SshSessionRecordDeps) {
    this.sessionId = sessionId;
    this.#deps = deps;
    this.#chain = newChain(sessionId);
    this.#health = new RecordHealth(deps);
    const limit = deps.castBytes ?? castSessionBytes;
    this.#budget = { left: limit, limit };
  }

  async start(subject: SessionSubject, backend: BackendFacts): Promise<void> {
    const { log, clock } = this.#deps;
    this.#health.check(this.#ending !== null);
    const events = new SshEvents(subject, backend);
    this.#startedMs = clock.monotonicMs();
    this.#durable = subject.recording.durability === 'Fsync';
    this.#health.guarded(() => {
      this.#firstSeq = log.size;
      log.add('session.start', events.sessionStart(clock.now()), this.#chain);
      this.#events = events;
      this.#subject = subject;
      log.write();
    });
    if (this.#durable) await this.#health.sync();
  }

  async record(event: SshEvent): Promise<number> {
    const { events } = this.#running();
    const { log } = this.#deps;
    let operation = 0;
    try {
      operation = this.#add(events, event);
      log.write();
      this.#deps.dirty();
      if (this.#durable) await log.sync();
    } catch (error) {
      this.#notForwarded(operation);
      throw this.#health.fail(error);
    }
    return operation;
  }

  note(event: SshEvent): void {
    const events = this.#events;
    if (events === null || this.#ending !== null || this.#health.isCut) return;
    this.#health.quietly(() => {
      this.#add(events, event);
      if (this.#deps.log.pendingFull) this.#deps.log.write();
    });
    this.#deps.dirty();
  }

  openCast(header: CastHeader): CastRecorder {
    const { subject } = this.#running();
    if (this.#usedChannels.has(header.channel)) throw new SallyportError('INTERNAL', { reason: 'channel recorded twice', channel: header.channel });
    const { storage, files, clock, recordings, log } = this.#deps;
    try {
      const cast = new CastFile(header, subject, log.origin, this.#budget, {
        storage, files, clock, recordings, durable: this.#durable,
        check: () => this.#health.checkFailure(),
        fail: (error) => this.#health.fail(error),
        dirty: () => this.#deps.dirty(),
        sealed: (sealed) => this.#sealed(sealed),
      });
      this.#usedChannels.add(header.channel);
      this.#casts.set(header.channel, cast);
      cast.flush();
      return cast;
    } catch (error) {
      throw this.#health.fail(error);
    }
  }

  /** For the 50 ms timer. */
  flush(): void {
    try {
      for (const cast of this.#casts.values()) cast.writePending();
    } catch (error) {
      throw this.#health.fail(error);
    }
  }

  /** @param totals null: the record's own counts stand alone. Never throws: what cannot be written is closed by recovery. */
  end(reason: EndReason, totals: { readonly bytes: number; readonly denied: number } | null): Promise<void> {
    this.#ending ??= this.#end(reason, totals);
    return this.#ending;
  }

  seal(): SessionSeal | null {
    return this.#seal;
  }

  /** The log has failed: the new log will close this session, so only the files are let go. */
  abandon(): void {
    this.#health.abandon();
    for (const cast of this.#casts.values()) {
      cast.abandon();
      // One that closes already goes on sealing: nobody else may do so at the same time.
      this.#deps.settling(cast.close());
    }
    this.#deps.ended();
  }

  async #end(reason: EndReason, totals: { readonly bytes: number; readonly denied: number } | null): Promise<void> {
    const { log, clock } = this.#deps;
    const events = this.#events;
    try {
      if (events === null || this.#health.isCut) return;
      for (const mark of this.#marks.values()) log.add(closingCode(mark.code) ?? 'exec.result', events.closing(clock.now(), mark, { facts: { outcome: 'Unknown' }, reason: null }), this.#chain);
      this.#marks.clear();
      await Promise.all([...this.#casts.values()].map((cast) => cast.close()));
      if (this.#health.isCut) return;
      const summary = this.#collector.summary(this.sessionId);
      const sums = { durationMs: clock.monotonicMs() - this.#startedMs, operations: this.#opened, denied: totals?.denied ?? this.#denied, bytes: totals?.bytes ?? 0 };
      const lastSequence = log.size;
      log.add('session.end', events.sessionEnd(clock.now(), reason, sums, this.#collector.take()), this.#chain);
      log.checkpoint();
      if (this.#durable) await log.sync();
      this.#seal = { recording: summary, log: { origin: log.origin, firstSequence: this.#firstSeq, lastSequence, chainHead: this.#chain.prevHash } };
    } catch (error) {
      this.#deps.failed(error);
    } finally {
      for (const cast of this.#casts.values()) cast.abandon();
      this.#deps.ended();
    }
  }

  /** @returns the operation's number. */
  #add(events: SshEvents, event: SshEvent): number {
    const { log, clock } = this.#deps;
    if (closesOperation(event.code)) {
      const mark = event.operation === null ? undefined : this.#marks.get(event.operation);
      // Closed before, or never opened: a second result would make the record contradict itself.
      if (mark === undefined || closingCode(mark.code) !== event.code) return event.operation ?? 0;
      this.#marks.delete(mark.operation);
      log.add(event.code, events.closing(clock.now(), mark, event), this.#chain);
      return mark.operation;
    }
    const operation = event.operation ?? this.#operations + 1;
    const { body, mark } = events.event(clock.now(), operation, log.size, event);
    log.add(event.code, body, this.#chain);
    this.#operations = Math.max(this.#operations, operation);
    if (mark !== null) {
      this.#marks.set(operation, mark);
      this.#opened += 1;
    }
    if (isRefusal(event.code)) this.#denied += 1;
    return operation;
  }

  #sealed(cast: SealedCast): void {
    this.#casts.delete(cast.channel);
    const full = this.#collector.add(cast);
    if (full !== null) this.#health.quietly(() => this.#name(full));
  }

  /** Recordings that the end of the session has no room for. */
  #name(casts: CastList): void {
    const { log, clock } = this.#deps;
    if (this.#events === null || this.#health.isCut) return;
    log.add('recording.sealed', this.#events.sealed(clock.now(), casts), this.#chain);
    this.#deps.dirty();
  }

  #running(): { readonly events: SshEvents; readonly subject: SessionSubject } {
    this.#health.check(this.#ending !== null);
    if (this.#events === null || this.#subject === null) throw new SallyportError('INTERNAL', { reason: 'session not started' });
    return { events: this.#events, subject: this.#subject };
  }

  /** An intent that was recorded while the disk filled up: the caller forwards nothing. */
  #notForwarded(operation: number): void {
    const mark = this.#marks.get(operation);
    const { log, clock } = this.#deps;
    if (this.#events === null || mark === undefined || log.failed) return;
    this.#marks.delete(operation);
    try {
      log.add(closingCode(mark.code) ?? 'exec.result', this.#events.closing(clock.now(), mark, { facts: { outcome: 'NotForwarded' }, reason: 'STORAGE_FULL' }), this.#chain);
    } catch {
      // The log has failed now; recovery writes Unknown for it.
    }
  }
}
