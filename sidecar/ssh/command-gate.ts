import type { SshCommand, SshItem } from '../core/policy/decision.ts';
import type { GateOutcome, SshContext } from './context.ts';

/** What is asked for. All of it is shown to an approver, and bound exactly. */
export interface GateAsk {
  readonly kind: SshCommand['kind'];
  /** 0 where the request belongs to no channel. */
  readonly channel: number;
  /** The command text, or a sentence that names the operation. Exactly this string is inspected, digested, shown (redacted), recorded (redacted) and sent. */
  readonly text: string;
  readonly items: readonly SshItem[];
  /** Null: the account's home. */
  readonly cwd: string | null;
  /** A terminal is asked for; whether the command gets it is in the terms. */
  readonly pty: boolean;
  readonly environment: readonly (readonly [name: string, value: string])[];
  /** Whether the client can send input at all. */
  readonly stdin: boolean;
  /** What is sent is `wrapForBash(text)`. */
  readonly wrap: boolean;
  /** Nothing of it is masked: refused with MASKING_CONFLICT where the policies mask, unless the terms say `unmasked`. */
  readonly byteExact: boolean;
  /** More for the record, snake_case. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** The client's side of a gate. */
export interface GateIo {
  /** Shows lines to the user, each without its line end. */
  readonly tell: (lines: readonly string[]) => void;
  /** Aborted when the client cancels or goes away; the reason is a Denial, `HOLD_CANCELLED` if it is none. */
  readonly cancelled: AbortSignal;
  /** Whether input came so far: refused with STDIN_NOT_APPROVED after a hold, unless the terms attach it. */
  readonly hasInput: () => boolean;
}

/**
 * Decides on one command, shell, file operation or forward; holds it where a rule asks for approval; records the intent. The only way to the target.
 *
 * `permitted` means that the intent is on record as durably as the policy asks: what was asked may be sent now, once. Refusals are recorded and counted here; the caller tells the user (`words.ts`).
 *
 * @throws SallyportError when the record cannot be written: then the session ends.
 */
export function gateCommand(_context: SshContext, _ask: GateAsk, _io: GateIo): Promise<GateOutcome> {
  throw new Error('not built yet');
}
