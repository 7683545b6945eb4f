import type { Readable, Writable } from 'node:stream';
import type { CastRecorder } from '../../contract/audit.ts';
import type { SshContext } from './context.ts';
import type { SessionChannel, Terminal } from './session-channel.ts';

/** A permitted command. */
export interface CommandRun {
  /** Exactly what the target gets. */
  readonly text: string;
  /** What `gateCommand` answered: its result is recorded under it. */
  readonly operation: number;
  /** Of the record. */
  readonly channel: number;
  /** The target gives it a terminal. */
  readonly terminal: Terminal | null;
  readonly environment: readonly (readonly [name: string, value: string])[];
  /** Binary is neither masked nor stored. */
  readonly output: 'Text' | 'Binary';
  /** Lines end with CRLF for the user's terminal, though the command has none. */
  readonly crlf: boolean;
}

/** Where its bytes go and come from. */
export interface CommandIo {
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Null: end of input at once. */
  readonly input: Readable | null;
  /** Null for Binary. */
  readonly cast: CastRecorder | null;
  /** Takes signals and resizes while the command runs. */
  readonly listen: SessionChannel['listen'];
  /** Aborted: the command is stopped (TERM, 2 s, KILL, close). */
  readonly stop: AbortSignal;
}

/** How a command ended. */
export interface CommandEnd {
  /** Null: no exit was seen. */
  readonly exit: { readonly status: number } | { readonly signal: string; readonly coreDumped: boolean; readonly message: string } | null;
  readonly stopRequested: boolean;
  /** Why output was cut, for the user. */
  readonly denial: import('../core/errors.ts').Denial | null;
}

/**
 * Runs a permitted command on the target and relays it: target -> mask -> record -> user. Resolves when its channel is closed and both streams are at their end and handed on; records the result.
 *
 * @throws SallyportError when the recording cannot go on.
 */
export function runCommand(_context: SshContext, _run: CommandRun, _io: CommandIo): Promise<CommandEnd> {
  throw new Error('not built yet');
}
