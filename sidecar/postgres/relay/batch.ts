import type { StatementIntent } from '../../../contract/audit.ts';
import type { SessionRecorder } from '../../../contract/audit.ts';
import type { Tally } from '../../core/session/tally.ts';
import { ChunkOutput } from '../wire/chunk-output.ts';
import type { Execution } from './execution.ts';

/**
 * What one input chunk sends to the target: its bytes and the intents that must be on record before them (D3).
 */
export class Batch {
  readonly bytes: ChunkOutput = new ChunkOutput();
  #intents: StatementIntent[] = [];
  #executions: Execution[] = [];
  readonly #counts: Tally['statements'];

  constructor(counts: Tally['statements']) {
    this.#counts = counts;
  }

  /** The command's bytes may be added after this; they leave only after `record`. */
  addIntent(execution: Execution, intent: StatementIntent): void {
    if (intent.approvals.length > 0) this.#counts.approved++;
    else this.#counts.allowed++;
    this.#executions.push(execution);
    this.#intents.push(intent);
  }

  get isEmpty(): boolean {
    return this.#intents.length === 0 && this.bytes.bytes === 0;
  }

  /**
   * Records all intents of the batch in one append.
   *
   * @returns nothing when they are on record, a promise when the policy's durability makes us wait. Throws RECORDER_FAILED or STORAGE_FULL: then nothing may go.
   */
  record(recorder: SessionRecorder): Promise<void> | void {
    if (this.#intents.length === 0) return undefined;
    const executions = this.#executions;
    const recorded = recorder.recordIntents(this.#intents);
    this.#intents = [];
    this.#executions = [];
    if (!('then' in recorded)) return number(executions, recorded);
    return recorded.then((numbers) => number(executions, numbers));
  }
}

function number(executions: readonly Execution[], numbers: readonly number[]): void {
  for (const [index, execution] of executions.entries()) execution.statement = numbers[index] ?? 0;
}
