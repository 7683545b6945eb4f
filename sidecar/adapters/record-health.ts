import { SallyportError } from '../core/errors.ts';
import type { SessionRecordDeps } from './session-record.ts';

/**
 * Whether the record of one session can go on. State, because the first failure stays: after it everything but the end is refused.
 */
export class RecordHealth {
  readonly #deps: Pick<SessionRecordDeps, 'log' | 'refusal' | 'failed'>;
  #failure: SallyportError | null = null;
  #abandoned = false;

  constructor(deps: Pick<SessionRecordDeps, 'log' | 'refusal' | 'failed'>) {
    this.#deps = deps;
  }

  /** Nothing can be written to the log for this session any more: a newer log closes it. */
  get isCut(): boolean {
    return this.#abandoned || this.#deps.log.failed;
  }

  get abandoned(): boolean {
    return this.#abandoned;
  }

  /** Throws what failed before, or why nothing new may be recorded now. */
  check(isEnding: boolean): void {
    this.checkFailure();
    const refusal = this.#deps.refusal();
    if (refusal !== null) throw new SallyportError(refusal, { reason: 'records cannot be written' });
    if (isEnding) throw new SallyportError('RECORDER_FAILED', { reason: 'session ended' });
  }

  checkFailure(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /** Work that the caller waits for. */
  guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      throw this.fail(error);
    }
  }

  /** Work whose failure the caller need not hear of: the next record will. */
  quietly(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Remembers and reports a failure; the caller throws what it answers. */
  fail(error: unknown): SallyportError {
    const failure = error instanceof SallyportError ? error : new SallyportError('RECORDER_FAILED', {}, { cause: error });
    this.#failure ??= failure;
    this.#deps.failed(failure);
    return failure;
  }

  async sync(): Promise<void> {
    try {
      await this.#deps.log.sync();
    } catch (error) {
      throw this.fail(error);
    }
  }

  /** The log has failed. */
  abandon(): void {
    this.#abandoned = true;
    this.#failure ??= new SallyportError('RECORDER_FAILED', { reason: 'log abandoned' });
  }
}
