import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import type { EventCode, RecorderFactory, SessionRecorder, SshSessionRecorder } from '../../contract/audit.ts';
import { SallyportError } from '../core/errors.ts';
import type { Clock } from '../core/ports.ts';
import type { SealedCast } from '../core/recording/cast-list.ts';
import type { RecordingSeal } from '../core/recording/ocsf-parts.ts';
import { authFailedBody, factsBody, lifecycleBody } from '../core/recording/ocsf-process.ts';
import { closingBodies, isSshSession } from '../core/recording/open-sessions.ts';
import { defaultRecordingLimits, type RecordingLimits } from '../core/recording/sqlrec.ts';
import { ulid } from '../core/recording/ulid.ts';
import { AuditLog } from './audit-log.ts';
import { type FileLayer, nodeFiles } from './file-layer.ts';
import { GuardedStorage } from './guarded-storage.ts';
import { claimLog, releaseLog } from './log-owner.ts';
import { type Leftovers, readLeftovers, settledMark } from './log-recovery.ts';
import { sealRecording } from './recording-file.ts';
import { sealCasts } from './seal-casts.ts';
import { SessionRecord, type SessionRecordDeps } from './session-record.ts';
import { SshSessionRecord } from './ssh-session-record.ts';

export interface RecorderOptions {
  /** The data directory; `log/` and `recordings/` are made in it. */
  readonly dataDirectory: string;
  readonly namespace: string;
  readonly clock: Clock;
  /** First part of every log's origin. */
  readonly installation?: string;
  readonly version?: string;
  readonly files?: FileLayer;
  readonly timers?: Timers;
  /** Gets the text of complete lines for stdout; must not block or throw. */
  readonly echo?: (lines: string) => void;
  /** Lines that `echo` had to drop so far; heartbeats say it. */
  readonly echoDropped?: () => number;
  /** Default 64 MiB. */
  readonly segmentBytes?: number;
  /** Default 64 MiB. */
  readonly reserveBytes?: number;
  /** Below this new sessions are refused; default 512 MiB. */
  readonly minFreeBytes?: number;
  /** Below this share new sessions are refused; default 0.05. */
  readonly minFreeShare?: number;
  readonly limits?: RecordingLimits;
  /** Recordings of one SSH session; default 256 MiB. */
  readonly castBytes?: number;
}

/** Timers, so that tests need no waiting. */
export interface Timers {
  every(ms: number, run: () => void): () => void;
  after(ms: number, run: () => void): () => void;
}

/** Results wait this long at most for company. */
const resultDelayMs = 50;
const heartbeatMs = 60_000;
const checkpointMs = 1000;
const firstRetryMs = 1000;
const lastRetryMs = 60_000;

/**
 * Opens the audit log of this process in the data directory, after closing in it whatever an earlier process left open.
 *
 * @throws SallyportError `CONFIG_INVALID` when another gateway runs on the directory, `STORAGE_FULL` or `RECORDER_FAILED` when it cannot be written.
 */
export async function openRecorder(options: RecorderOptions): Promise<Recorder> {
  const recorder = new Recorder(options);
  await recorder.begin();
  return recorder;
}

/** The factory of session records, and the owner of the log, its reserve and its timers. */
export class Recorder implements RecorderFactory {
  readonly #options: RecorderOptions;
  readonly #files: FileLayer;
  readonly #timers: Timers;
  readonly #storage: GuardedStorage;
  readonly #logs: string;
  readonly #recordings: string;
  readonly #live: Map<string, SessionRecord | SshSessionRecord> = new Map();
  readonly #settling: Set<Promise<unknown>> = new Set();
  readonly #listeners: ((code: 'RECORDER_FAILED' | 'STORAGE_FULL') => void)[] = [];
  #log: AuditLog | null = null;
  #outage: { readonly code: 'RECORDER_FAILED' | 'STORAGE_FULL'; readonly startMs: number; readonly cause: string; readonly sessions: number } | null = null;
  #stopTimers: (() => void)[] = [];
  #flushTimer: (() => void) | null = null;
  #retry: (() => void) | null = null;
  #retrying: Promise<void> | null = null;
  #closed = false;
  #space: { readonly atMs: number; readonly low: boolean } = { atMs: -Infinity, low: false };

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#files = options.files ?? nodeFiles;
    this.#timers = options.timers ?? realTimers;
    this.#logs = join(options.dataDirectory, 'log');
    this.#recordings = join(options.dataDirectory, 'recordings');
    this.#storage = new GuardedStorage(this.#files, join(options.dataDirectory, 'reserve.bin'), options.reserveBytes ?? 67_108_864);
  }

  /** Makes the directories, takes the reserve, recovers, opens the log. Called once, by `openRecorder`. */
  async begin(): Promise<void> {
    try {
      fs.mkdirSync(this.#logs, { recursive: true, mode: 0o700 });
      fs.mkdirSync(this.#recordings, { recursive: true, mode: 0o700 });
      await this.#storage.reserve();
      await this.#openLog();
    } catch (error) {
      throw error instanceof SallyportError ? error : new SallyportError(isNoSpace(error) ? 'STORAGE_FULL' : 'RECORDER_FAILED', {}, { cause: error });
    }
    this.#stopTimers = [
      this.#timers.every(heartbeatMs, () => this.#heartbeat()),
      this.#timers.every(checkpointMs, () => this.#background(() => this.#log?.checkpoint())),
    ];
  }

  /** Origin of the log in use, for status pages. */
  get origin(): string | null {
    return this.#log?.origin ?? null;
  }

  unavailable(): 'RECORDER_FAILED' | 'STORAGE_FULL' | null {
    if (this.#closed) return 'RECORDER_FAILED';
    return this.#outage?.code ?? (this.#lowSpace() ? 'STORAGE_FULL' : null);
  }

  open(sessionId: string): SessionRecorder {
    const session = new SessionRecord(sessionId, { ...this.#sessionDeps(sessionId), limits: this.#options.limits ?? defaultRecordingLimits });
    this.#live.set(sessionId, session);
    return session;
  }

  openSsh(sessionId: string): SshSessionRecorder {
    const session = new SshSessionRecord(sessionId, {
      ...this.#sessionDeps(sessionId),
      ...(this.#options.castBytes === undefined ? {} : { castBytes: this.#options.castBytes }),
      settling: (work) => this.#settle(work),
    });
    this.#live.set(sessionId, session);
    return session;
  }

  async authFailed(facts: Parameters<RecorderFactory['authFailed']>[0]): Promise<void> {
    this.#append((log) => log.add('auth.failed', authFailedBody(this.#options.clock.now(), facts), null, facts.sessionId));
  }

  /**
   * A `sessionId` among the facts joins the event to a session without being part of its chain.
   * @throws SallyportError `RECORDER_FAILED`, `STORAGE_FULL`: what the event is about must not happen then.
   */
  async event(code: EventCode, facts: Readonly<Record<string, unknown>>): Promise<void> {
    const session = facts['sessionId'];
    this.#append((log) => log.add(code, factsBody(code, this.#options.clock.now(), facts), null, typeof session === 'string' ? session : null));
  }

  onFailure(listener: (code: 'RECORDER_FAILED' | 'STORAGE_FULL') => void): void {
    this.#listeners.push(listener);
  }

  /** Ends the sessions that are still open with `ProxyShutdown`, closes and signs the log, gives the reserve back. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await Promise.all([...this.#live.values()].map((session) => session.end('ProxyShutdown', null)));
    this.#closed = true;
    for (const stop of [...this.#stopTimers, this.#flushTimer, this.#retry]) stop?.();
    await this.#retrying;
    const log = this.#log;
    if (log !== null) {
      await log.close();
      if (!log.failed) {
        releaseLog(log.directory);
        fs.writeFileSync(join(log.directory, settledMark), '');
      }
    }
    this.#files.remove(join(this.#options.dataDirectory, 'reserve.bin'));
  }

  async #openLog(): Promise<void> {
    const { clock, namespace } = this.#options;
    const left = await readLeftovers(this.#logs);
    const reason = this.#outage === null ? 'ProxyLost' : 'RecorderFailed';
    const seals = new Map<string, RecordingSeal | readonly SealedCast[] | null>(await Promise.all(left.sessions.map(async (session) => {
      const { chain } = session;
      if (isSshSession(session)) return [chain.sessionId, await sealCasts(this.#recordings, chain.sessionId, reason, session.namedCasts)] as const;
      const closing = JSON.stringify([0, 'x', 0, { reason, statements: null, rows: null }]);
      return [chain.sessionId, await sealRecording(this.#recordings, chain.sessionId, { sync: false, closing })] as const;
    })));
    const log = new AuditLog({
      files: this.#files, storage: this.#storage, clock, logsDirectory: this.#logs, installation: this.#options.installation ?? 'local', namespace,
      logId: ulid(clock.now(), randomBytes(10)), version: this.#options.version ?? '0.1.0', segmentBytes: this.#options.segmentBytes ?? 67_108_864, echo: this.#options.echo ?? (() => undefined),
    }, left.previous);
    try {
      await this.#fillLog(log, left, reason, seals);
    } catch (error) {
      await log.close();
      throw error;
    }
    this.#log = log;
  }

  /** What every new log begins with: the logs and sessions that it closes for its predecessors. */
  async #fillLog(log: AuditLog, left: Leftovers, reason: 'ProxyLost' | 'RecorderFailed', seals: ReadonlyMap<string, RecordingSeal | readonly SealedCast[] | null>): Promise<void> {
    const { clock } = this.#options;
    claimLog(log.directory);
    for (const old of left.logs) {
      log.add('log.recovered', lifecycleBody('log.recovered', clock.now(), { log: { kind: 'proxy', ...old.end, torn_bytes: old.tornBytes, open_sessions: left.sessions.length } }), null);
    }
    for (const session of left.sessions) {
      for (const { code, body } of closingBodies(session, clock.now(), reason, seals.get(session.chain.sessionId) ?? null)) log.add(code, body, session.chain);
    }
    log.checkpoint();
    await log.sync();
    for (const old of left.logs) fs.writeFileSync(join(this.#logs, old.logId, settledMark), '');
  }

  #sessionDeps(sessionId: string): Omit<SessionRecordDeps, 'limits'> {
    // It becomes a file name.
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(sessionId)) throw new SallyportError('INTERNAL', { reason: 'session id is no file name' });
    if (this.#live.has(sessionId)) throw new SallyportError('INTERNAL', { reason: 'session id in use' });
    return {
      log: this.#usableLog(), storage: this.#storage, files: this.#files, clock: this.#options.clock, recordings: this.#recordings,
      refusal: () => this.#outage?.code ?? null,
      dirty: () => this.#armFlush(),
      failed: (error) => this.#onError(error),
      ended: () => this.#live.delete(sessionId),
    };
  }

  /** Remembers work on recordings until it is done: recovery must not touch a file that is being sealed. */
  #settle(work: Promise<unknown>): void {
    const done = work.catch(() => undefined).finally(() => this.#settling.delete(done));
    this.#settling.add(done);
  }

  #usableLog(): AuditLog {
    const code = this.#closed ? 'RECORDER_FAILED' : this.#outage?.code;
    if (code !== undefined || this.#log === null) throw new SallyportError(code ?? 'RECORDER_FAILED', { reason: 'records cannot be written' });
    return this.#log;
  }

  #append(add: (log: AuditLog) => void): void {
    const log = this.#usableLog();
    try {
      add(log);
      log.write();
    } catch (error) {
      this.#onError(error);
      throw error;
    }
  }

  #armFlush(): void {
    this.#flushTimer ??= this.#timers.after(resultDelayMs, () => {
      this.#flushTimer = null;
      this.#background(() => this.#log?.write());
      for (const session of this.#live.values()) this.#background(() => session.flush());
    });
  }

  #heartbeat(): void {
    this.#background(() => {
      const log = this.#log;
      if (log === null || this.#outage !== null) return;
      log.add('heartbeat', lifecycleBody('heartbeat', this.#options.clock.now(), { log: { kind: 'proxy', totals: log.totals, open_sessions: this.#live.size, echo_dropped: this.#options.echoDropped?.() ?? 0 } }), null);
      log.write();
    });
  }

  /** Work that no caller waits for: its failure still stops forwarding. */
  #background(work: () => void): void {
    if (this.#log === null || this.#log.failed) return;
    try {
      work();
    } catch (error) {
      this.#onError(error);
    }
  }

  /** Enters the outage once, tells the listeners, and starts trying to leave it. A record that was too long fails its session only. */
  #onError(error: unknown): void {
    const code = error instanceof SallyportError && error.code === 'STORAGE_FULL' ? 'STORAGE_FULL' : 'RECORDER_FAILED';
    if (code === 'RECORDER_FAILED' && this.#log?.failed === false) return;
    if (this.#closed || this.#outage?.code === code || this.#outage?.code === 'RECORDER_FAILED') return;
    const cause = error instanceof SallyportError ? String(error.detail['reason'] ?? error.code) : 'unknown';
    const { now } = this.#options.clock;
    this.#outage = { code, startMs: this.#outage?.startMs ?? now.call(this.#options.clock), cause, sessions: this.#live.size };
    if (code === 'STORAGE_FULL') this.#sayFailed();
    else for (const session of [...this.#live.values()]) session.abandon();
    for (const listener of this.#listeners) listener(code);
    this.#scheduleRetry(firstRetryMs);
  }

  #sayFailed(): void {
    const outage = this.#outage;
    const log = this.#log;
    if (outage === null || log === null) return;
    this.#background(() => {
      const failure = { start: new Date(outage.startMs).toISOString(), cause: outage.cause, action: 'new commands and sessions refused, open sessions ended', sessions_blocked: outage.sessions };
      log.add('audit.failed', lifecycleBody('audit.failed', this.#options.clock.now(), { audit_failure: failure }), null);
      log.checkpoint();
    });
  }

  #scheduleRetry(delayMs: number): void {
    this.#retry?.();
    this.#retry = this.#timers.after(delayMs, () => {
      this.#retry = null;
      this.#retrying = this.#restore().then((restored) => {
        this.#retrying = null;
        // Doubling with a bound, for ever: a disk may stay full for days.
        if (!restored && !this.#closed) this.#scheduleRetry(Math.min(delayMs * 2, lastRetryMs));
      });
    });
  }

  /** A new reserve must fit before anything is accepted again. After a failed log a new one is opened, which closes what the old one left open. */
  async #restore(): Promise<boolean> {
    const outage = this.#outage;
    if (outage === null) return true;
    try {
      // Ends need the space that the reserve gave; who has not ended its session by now is ended here.
      await Promise.all([...this.#live.values()].map((session) => session.end('RecorderFailed', null)));
      await Promise.all(this.#settling);
      await this.#storage.reserve();
      if (outage.code === 'RECORDER_FAILED') {
        await this.#log?.close();
        this.#log = null;
        await this.#openLog();
        this.#sayFailed();
      }
      const log = this.#log;
      if (log === null || this.#outage !== outage) return false;
      const failure = { start: new Date(outage.startMs).toISOString(), end: new Date(this.#options.clock.now()).toISOString(), cause: outage.cause, sessions_blocked: outage.sessions };
      log.add('audit.restored', lifecycleBody('audit.restored', this.#options.clock.now(), { audit_failure: failure }), null);
      log.checkpoint();
      this.#outage = null;
      this.#space = { atMs: -Infinity, low: false };
      return true;
    } catch {
      return false;
    }
  }

  #lowSpace(): boolean {
    const now = this.#options.clock.monotonicMs();
    if (now - this.#space.atMs < 1000) return this.#space.low;
    const space = this.#files.space(this.#options.dataDirectory);
    const low = space !== null && (space.freeBytes < (this.#options.minFreeBytes ?? 536_870_912) || space.freeBytes < space.totalBytes * (this.#options.minFreeShare ?? 0.05));
    this.#space = { atMs: now, low };
    return low;
  }
}

const realTimers: Timers = {
  every: (ms, run) => {
    const timer = setInterval(run, ms);
    timer.unref();
    return () => clearInterval(timer);
  },
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

function isNoSpace(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}
