import type { Client, Connection } from 'ssh2';
import type { SshSessionRecorder } from '../../contract/audit.ts';
import type { SshTarget } from '../../contract/proxy-config.ts';
import type { Denial } from '../core/errors.ts';
import type { SshTerms } from '../core/policy/decision.ts';
import type { Approver, Clock, Logger, ShellParser } from '../core/ports.ts';
import type { Session } from '../core/session/session.ts';
import type { Tally } from '../core/session/tally.ts';
import type { ShellFacts } from '../core/shell/shell-facts.ts';

/** What the channels of one admitted connection share. */
export interface SshContext {
  readonly session: Session;
  readonly account: string;
  readonly recorder: SshSessionRecorder;
  /** The target's side, logged in. */
  readonly target: Client;
  /** The client's side, for channels that the gateway opens towards it (forwards that listen, agent, X11). */
  readonly connection: Connection;
  /** Of the Target as it was when the session began: a session whose Target leads elsewhere ends. */
  readonly ssh: SshTarget['ssh'];
  readonly approver: Approver;
  readonly clock: Clock;
  readonly log: Logger;
  readonly digestKey: Uint8Array;
  readonly tally: Tally;
  /** Inspects a command text under the Target's login shell. Never throws for bad text. */
  readonly inspect: (text: string) => Promise<ShellFacts>;
  /** For what a line editor must know before a text is judged: whether it is finished. Decides nothing. */
  readonly parser: ShellParser;
  /** A text as records and approvers may show it: values that the policies mask are masked. */
  readonly redact: (text: string) => string;
  /** A new mask for one stream of text, or null where the policies mask no text: bytes then pass as they are. */
  readonly textMask: (mode: 'exec' | 'pty') => TextMask | null;
  /** Count while something goes on: `running` says that the session is not idle, `held` that a person is waited for. */
  readonly activity: { running: number; held: number };
  readonly totals: { bytes: number; denied: number };
  /** Numbers the session's channels and whatever else has a recording of its own, from 1. */
  readonly nextChannel: () => number;
  /** Ends the session: its record cannot go on, or a failure of ours. The reason is told to the user. */
  readonly fail: (error: unknown) => void;
  /** Aborted when the session ends; the reason is a Denial. */
  readonly ended: AbortSignal;
}

/** What `createTextMask` makes (`core/masking/text-stream.ts`). */
export interface TextMask {
  push(chunk: Uint8Array): Uint8Array;
  /** What is held back only because more could come. */
  idle(): Uint8Array;
  end(): Uint8Array;
  readonly hits: number;
  /** Set once the stream is no text: nothing more of it may go on. */
  readonly problem: unknown;
}

/** What a channel was permitted to run, and under which number it was recorded. */
export type GateOutcome =
  | { readonly outcome: 'permitted'; readonly operation: number; readonly terms: SshTerms; /** An approval was waited for: input that came meanwhile was not seen by anyone. */ readonly wasHeld: boolean }
  | { readonly outcome: 'refused'; readonly denial: Denial; /** 126, or 130 for what the user cancelled, 255 for an ended session. */ readonly exitStatus: number };
