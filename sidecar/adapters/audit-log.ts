import fs from 'node:fs';
import { join } from 'node:path';
import type { EventCode } from '../../contract/audit.ts';
import { SallyportError } from '../core/errors.ts';
import type { Clock } from '../core/ports.ts';
import { type CheckpointSigner, createSigner } from '../core/recording/checkpoint.ts';
import { type EventBody, LogEncoder, type SessionChain } from '../core/recording/encode.ts';
import type { HexHash } from '../core/recording/merkle.ts';
import { lifecycleBody } from '../core/recording/ocsf-process.ts';
import { closesOperation, closingCode, isRefusal } from '../core/recording/ssh-operations.ts';
import type { FileLayer } from './file-layer.ts';
import { codeOf, type GuardedStorage } from './guarded-storage.ts';
import { SegmentFile } from './segment-file.ts';

/** End of a log, as its successor states it. */
export interface LogEnd {
  readonly origin: string;
  readonly size: number;
  readonly root: HexHash;
}

export interface AuditLogOptions {
  readonly files: FileLayer;
  readonly storage: GuardedStorage;
  readonly clock: Clock;
  /** `<data>/log`. */
  readonly logsDirectory: string;
  readonly installation: string;
  readonly namespace: string;
  /** Directory name of this log; part of its origin. */
  readonly logId: string;
  readonly version: string;
  readonly segmentBytes: number;
  /** Gets every written text of complete lines, for stdout. Must not block or throw. */
  readonly echo: (lines: string) => void;
}

export interface LogTotals {
  records: number;
  sessions: number;
  intents: number;
  results: number;
  denied: number;
}

/** Unwritten lines that ask for a write, in UTF-16 units. */
const maxPendingLength = 262_144;
/** A checkpoint is due after this many new leaves. */
const checkpointLeaves = 256;

/**
 * One log of one process: lines, leaves, checkpoints. `add` encodes and buffers, `write` hands everything to the kernel in one call.
 * The first line is `log.opened`, a closed log's last is `log.closed`.
 */
export class AuditLog {
  readonly origin: string;
  readonly directory: string;
  readonly totals: LogTotals = { records: 0, sessions: 0, intents: 0, results: 0, denied: 0 };
  readonly #options: AuditLogOptions;
  readonly #encoder: LogEncoder;
  readonly #signer: CheckpointSigner;
  readonly #segment: SegmentFile;
  readonly #leavesFd: number;
  readonly #notesFd: number;
  #pending = '';
  #leaves: HexHash[] = [];
  #signedSize = 0;
  #failed = false;

  constructor(options: AuditLogOptions, previous: LogEnd | null) {
    this.#options = options;
    this.origin = `${options.installation}/${options.namespace}/${options.logId}`;
    this.directory = join(options.logsDirectory, options.logId);
    fs.mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    fs.mkdirSync(join(options.logsDirectory, 'keys'), { recursive: true, mode: 0o700 });
    options.files.syncDirectory(options.logsDirectory);
    this.#encoder = new LogEncoder({ origin: this.origin, logId: options.logId, namespace: options.namespace, version: options.version });
    this.#signer = createSigner(this.origin);
    fs.writeFileSync(join(options.logsDirectory, 'keys', `${options.logId}.vkey`), `${this.#signer.vkey}\n`, { mode: 0o600 });
    this.#segment = new SegmentFile(options.files, options.storage, this.directory, options.segmentBytes);
    this.#leavesFd = options.files.openAppend(join(this.directory, 'leaves.bin'), true);
    this.#notesFd = options.files.openAppend(join(this.directory, 'checkpoints.note'), true);
    this.add('log.opened', lifecycleBody('log.opened', options.clock.now(), { log: { kind: 'proxy', vkey: this.#signer.vkey, previous, namespace: options.namespace } }), null);
  }

  /** `log_seq` of the next line. */
  get size(): number {
    return this.#encoder.size;
  }

  get failed(): boolean {
    return this.#failed;
  }

  /** True when what is buffered should not grow any more. */
  get pendingFull(): boolean {
    return this.#pending.length > maxPendingLength;
  }

  /** Lines that no checkpoint covers yet. */
  get unsigned(): number {
    return this.#encoder.size - this.#signedSize;
  }

  /** Encodes a record and buffers it for the next `write`. @returns its `log_seq`. @throws SallyportError as LogEncoder.next. */
  add(code: EventCode, body: EventBody, chain: SessionChain | null, correlationUid: string | null = null): number {
    const seq = this.#encoder.size;
    if (this.#failed) return seq;
    this.#pending += this.#encoder.next(code, body, chain, correlationUid) + '\n';
    this.#leaves.push(this.#encoder.lastHash);
    this.#count(code);
    return seq;
  }

  /**
   * Writes every buffered line with one call.
   *
   * @throws SallyportError `STORAGE_FULL`: the lines are written, but nothing new may be forwarded. `RECORDER_FAILED`: this log is at its end.
   */
  write(): void {
    if (this.#failed) throw new SallyportError('RECORDER_FAILED', { reason: 'log abandoned' });
    if (this.#pending === '') return;
    const lines = this.#pending;
    this.#pending = '';
    try {
      this.#segment.append(lines);
    } catch (error) {
      if (error instanceof SallyportError && error.code === 'STORAGE_FULL') this.#options.echo(lines);
      else this.#failed = true;
      throw error;
    }
    this.#options.echo(lines);
    if (this.unsigned >= checkpointLeaves) this.checkpoint();
  }

  /** Resolves when every written line is on the disk. */
  async sync(): Promise<void> {
    try {
      await this.#segment.sync();
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  /** Signs the log as it stands: leaves, then the note. Does nothing when the last note says it already. @throws as `write`. */
  checkpoint(): void {
    this.write();
    if (this.unsigned === 0) return;
    const { storage } = this.#options;
    const leaves = Buffer.from(this.#leaves.join(''), 'hex');
    this.#leaves = [];
    const size = this.#encoder.size;
    this.#signedSize = size;
    let full: unknown = null;
    for (const [fd, data] of [[this.#leavesFd, leaves], [this.#notesFd, `${this.#signer.sign(size, this.#encoder.tree.root())}\n`]] as const) {
      try {
        storage.write(fd, data);
      } catch (error) {
        if (!(error instanceof SallyportError) || error.code !== 'STORAGE_FULL') {
          this.#failed = true;
          throw error;
        }
        full = error;
      }
    }
    if (full !== null) throw full;
  }

  /** Writes `log.closed` and the last checkpoint, syncs, closes. Never throws: what could not be written is for crash recovery. */
  async close(): Promise<void> {
    try {
      if (!this.#failed) {
        this.add('log.closed', lifecycleBody('log.closed', this.#options.clock.now(), { log: { kind: 'proxy', totals: this.totals, size: this.size + 1 } }), null);
        this.checkpoint();
        await this.sync();
      }
    } catch (error) {
      if (codeOf(error) !== 'STORAGE_FULL') this.#failed = true;
    }
    await this.#segment.close();
    this.#options.files.close(this.#leavesFd);
    this.#options.files.close(this.#notesFd);
  }

  #count(code: EventCode): void {
    this.totals.records += 1;
    if (code === 'statement.intent' || closingCode(code) !== null) this.totals.intents += 1;
    else if (code === 'statement.result' || closesOperation(code)) this.totals.results += 1;
    else if (code === 'session.start') this.totals.sessions += 1;
    else if (code === 'statement.denied' || isRefusal(code)) this.totals.denied += 1;
  }
}
