import { join } from 'node:path';
import type { CastHeader, CastRecorder, SessionSubject } from '../../contract/audit.ts';
import { SallyportError } from '../core/errors.ts';
import type { Clock } from '../core/ports.ts';
import { Asciicast, type CastBudget } from '../core/recording/asciicast.ts';
import { castName, type SealedCast, sealedCast } from '../core/recording/cast-list.ts';
import type { FileLayer } from './file-layer.ts';
import type { GuardedStorage } from './guarded-storage.ts';
import { sealRecordingFile } from './recording-file.ts';

/** What a channel's recording needs from its session. */
export interface CastFileDeps {
  readonly storage: GuardedStorage;
  readonly files: FileLayer;
  readonly clock: Clock;
  readonly recordings: string;
  readonly durable: boolean;
  /** Throws when the session can record nothing more. */
  check(): void;
  /** Turns an error into the failure of the session and returns it. */
  fail(error: unknown): SallyportError;
  dirty(): void;
  sealed(cast: SealedCast): void;
}

/** Characters that wait at most for `flush`. */
const maxPending = 1_048_576;

/** The file of one channel's recording: plain while it is written, sealed when it closes. */
export class CastFile implements CastRecorder {
  readonly #deps: CastFileDeps;
  readonly #name: string;
  readonly #channel: number;
  readonly #cast: Asciicast;
  #fd: number | null;
  #closing: Promise<void> | null = null;

  /** @throws SallyportError `RECORDER_FAILED` when the file cannot be opened. */
  constructor(header: CastHeader, subject: SessionSubject, origin: string, budget: CastBudget, deps: CastFileDeps) {
    this.#deps = deps;
    this.#channel = header.channel;
    this.#name = castName(subject.sessionId, header.channel);
    try {
      this.#fd = deps.files.openAppend(join(deps.recordings, this.#name), true);
      if (deps.durable) deps.files.syncDirectory(deps.recordings);
    } catch (error) {
      throw new SallyportError('RECORDER_FAILED', { reason: 'recording cannot be opened' }, { cause: error });
    }
    this.#cast = new Asciicast(header, subject, { origin, startedMs: deps.clock.monotonicMs(), startedAtMs: deps.clock.now() }, budget);
  }

  output(bytes: Uint8Array, stream: 'stdout' | 'stderr' = 'stdout'): void {
    if (this.#closing !== null) return;
    this.#cast.output(this.#deps.clock.monotonicMs(), bytes, stream);
    // A caller that forgets to flush must not fill the memory; the failure shows at its next flush.
    if (this.#cast.pendingLength > maxPending) this.#quietly();
    this.#deps.dirty();
  }

  resize(columns: number, rows: number): void {
    if (this.#closing === null) this.#cast.resize(this.#deps.clock.monotonicMs(), columns, rows);
    this.#deps.dirty();
  }

  marker(label: string): void {
    if (this.#closing === null) this.#cast.marker(this.#deps.clock.monotonicMs(), label);
    this.#deps.dirty();
  }

  exit(status: number): void {
    if (this.#closing === null) this.#cast.exit(this.#deps.clock.monotonicMs(), status);
    this.#deps.dirty();
  }

  flush(): void {
    this.#deps.check();
    try {
      this.writePending();
    } catch (error) {
      throw this.#deps.fail(error);
    }
  }

  /** `flush` for the 50 ms timer: writes also after a failure, as long as the disk takes it. */
  writePending(): void {
    if (this.#fd === null || !this.#cast.dirty) return;
    this.#deps.storage.write(this.#fd, this.#cast.take());
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Lets go of the file; what it lacks is for crash recovery. */
  abandon(): void {
    this.#closing ??= Promise.resolve();
    this.#closeFile();
  }

  async #close(): Promise<void> {
    this.#cast.end(this.#deps.clock.monotonicMs());
    this.#quietly();
    this.#closeFile();
    try {
      const seal = await sealRecordingFile(this.#deps.recordings, this.#name, { sync: this.#deps.durable });
      if (seal !== null) this.#deps.sealed(sealedCast(this.#channel, seal, this.#cast.counts));
    } catch (error) {
      this.#deps.fail(error);
    }
  }

  #quietly(): void {
    try {
      this.writePending();
    } catch (error) {
      this.#deps.fail(error);
    }
  }

  #closeFile(): void {
    if (this.#fd !== null) this.#deps.files.close(this.#fd);
    this.#fd = null;
  }
}
