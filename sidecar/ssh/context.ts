import type { ShellFacts } from '../core/shell/shell-facts.ts';
import type { SshSessionRecorder } from '../../contract/audit.ts';
import type { Denial } from '../core/errors.ts';
import type { SshTerms } from '../core/policy/decision.ts';
import type { Approver, Clock, Logger, ShellParser } from '../core/ports.ts';
import type { Session } from '../core/session/session.ts';
import type { Tally } from '../core/session/tally.ts';
import type { Client } from 'ssh2';

/** What the channels of one admitted connection share. */
export interface SshContext {
  readonly session: Session;
  readonly account: string;
  readonly recorder: SshSessionRecorder;
  /** The target's side, logged in. */
  readonly target: Client;
  readonly approver: Approver;
  readonly clock: Clock;
  readonly log: Logger;
  readonly digestKey: Uint8Array;
  readonly tally: Tally;
  /** Inspects a command text under the Target's login shell. Never throws for bad text. */
  readonly inspect: (text: string) => Promise<ShellFacts>;
  /** For what a line editor must know before a text is judged: whether it is finished. Decides nothing. */
  readonly parser: ShellParser;
  readonly totals: { bytes: number; denied: number };
  /** Aborted when the session ends; the reason is a Denial. */
  readonly ended: AbortSignal;
}

/** What a channel was permitted to run, and under which number it was recorded. */
export type GateOutcome =
  | { readonly outcome: 'permitted'; readonly operation: number; readonly terms: SshTerms }
  | { readonly outcome: 'refused'; readonly denial: Denial; /** 126, or 130 for what the user cancelled, 255 for an ended session. */ readonly exitStatus: number };
