import type { Logger } from '../../core/ports.ts';
import type { SessionRecorder } from '../../../contract/audit.ts';
import type { Approver, Clock } from '../../core/ports.ts';
import type { Denial } from '../../core/errors.ts';
import type { EqualityBudget } from '../../core/session/equality-budget.ts';
import type { SessionEnd, Session } from '../../core/session/session.ts';
import type { Tally } from '../../core/session/tally.ts';
import type { SessionInspector } from '../inspector.ts';
import type { ChunkOutput } from '../wire/chunk-output.ts';
import type { Batch } from './batch.ts';
import type { Execution } from './execution.ts';
import type { KeptMessage } from './kept-messages.ts';
import type { ReplyQueue } from './reply-queue.ts';
import type { NameTable, Portal, PreparedStatement } from './statements.ts';

/** What the client's messages before the next Sync mean after a failure. */
export type Discarding =
  /** Nothing is discarded. */
  | 'no'
  /** We refused and told the client; the server knows nothing: Sync is answered here. */
  | 'locally'
  /** The server failed (or was made to): it skips, we drop, Sync goes on. */
  | 'with-server';

/** The state of one session's relay. Both directions share it; `relay.ts` makes and ends it. */
export interface RelayContext {
  readonly session: Session;
  readonly recorder: SessionRecorder;
  readonly inspector: SessionInspector;
  readonly approver: Approver;
  readonly clock: Clock;
  readonly log: Logger;
  readonly digestKey: Uint8Array;
  /** Shared by all sessions of the process. */
  readonly equalities: EqualityBudget;
  readonly tally: Tally;
  readonly limits: RelayLimits;

  readonly queue: ReplyQueue;
  readonly statements: NameTable<PreparedStatement>;
  readonly portals: NameTable<Portal>;
  /** What goes to the target with the next write. */
  readonly batch: Batch;
  /** What goes to the client with the next write. */
  toClient: ChunkOutput;
  /** After a limit was told: the real output, while the rest of the server's answer up to ReadyForQuery is swallowed. */
  muted: ChunkOutput | null;

  /** As of the last ReadyForQuery. */
  status: 'I' | 'T' | 'E';
  /** Messages of the extended protocol were forwarded since the last Sync: a Query behind them does not end the transaction block that they may have opened. */
  sentSinceSync: boolean;
  discarding: Discarding;
  /** A COPY FROM STDIN is running: the client's `d`, `c`, `f` belong to it. */
  copyIn: Execution | null;
  /** The CopyData that is passing in parts was begun at the server (true) or dropped (false): its other parts follow it. */
  copyFrameGoes: boolean;
  /** The COPY FROM STDIN whose start (or end without one) the client's next messages wait for. */
  copyStarted: { readonly execution: Execution; readonly resolve: () => void } | null;
  /** Resolves the wait for the server's answer to everything that was sent. */
  allAnswered: (() => void) | null;
  /** Messages that wait for the Execute of a statement that needs an approval. */
  readonly kept: KeptMessage[];
  /** A statement waits for an approval. */
  held: { readonly cancel: (denial: Denial) => void } | null;
  /** Texts of this session that ruined a parser. */
  ruinedParsers: number;
  /** A cancel came while a statement was still being judged: it meets that statement where it is held or forwarded. */
  cancelAsked: boolean;
  ended: SessionEnd | null;
  readonly totals: { rows: number; bytes: number; denied: number };

  /** Records the batch's intents, then writes its bytes to the target. A promise when durability makes us wait. */
  commit(): void | Promise<void>;
  /** Writes `toClient` to the client; rows are recorded first. */
  flushToClient(): void;
  /** Sends a message of ours at the next frame boundary; for what comes from a timer or an approver, not from a frame. Never throws. */
  tell(message: Buffer): void;
  /** Ends the session. */
  end(cause: SessionEnd): void;
  /** Stops what runs on the server. Resolves when the cancel has been taken. */
  cancelUpstream(): Promise<void>;
}

/** True when a message that waited has nothing left to do: the session ended, or an earlier message failed meanwhile and the server skips this one. */
export function isSkipped(context: RelayContext): boolean {
  return context.discarding !== 'no' || context.ended !== null;
}

export interface RelayLimits {
  readonly statementBytes: number;
  readonly bindBytes: number;
  readonly preparedStatements: number;
  readonly portals: number;
  /** Texts of the prepared statements, and apart from them parameters of the portals. */
  readonly namedBytes: number;
  /** Rows stored per statement in the recording. */
  readonly storedRows: number;
  readonly storedBytes: number;
  readonly maskedRowBytes: number;
  readonly readAheadBytes: number;
  /** Answers that the client has not read: above it, no more of its messages are. */
  readonly unreadBytes: number;
}

export const defaultRelayLimits: RelayLimits = {
  statementBytes: 256 * 1024, bindBytes: 16 * 1024 * 1024, preparedStatements: 5_000, portals: 1_000, namedBytes: 32 * 1024 * 1024, storedRows: 1_000, storedBytes: 1024 * 1024, maskedRowBytes: 16 * 1024 * 1024, readAheadBytes: 256 * 1024, unreadBytes: 1024 * 1024,
};
