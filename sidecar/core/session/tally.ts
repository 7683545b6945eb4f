import type { EndReason } from '../../../contract/audit.ts';
import { type ErrorCode, errorTable } from '../errors.ts';

/** What became of a statement: forwarded by a rule, forwarded after an approval, refused, made to wait, or cancelled while it waited. */
export type StatementDecision = 'allowed' | 'approved' | 'denied' | 'held' | 'cancelled';

/** Codes of texts that could not be read. */
export type ParseFailure = 'SYNTAX_ERROR' | 'STATEMENT_TOO_LONG' | 'STATEMENT_TOO_DEEP' | 'PARSE_TIMEOUT' | 'ENCODING_INVALID';

/**
 * Counts of a process, for its metrics. State, because it is counts: plain numbers, since a statement must not cost more than an increment.
 * Keys are closed sets; nothing of a user, a session or a statement ever becomes one.
 */
export interface Tally {
  readonly statements: Record<StatementDecision, number>;
  /** Every refusal of a login, a statement or a session by its code: so each limit has its count. */
  readonly denials: Record<ErrorCode, number>;
  readonly parseFailures: Record<ParseFailure, number>;
  readonly sessionEnds: Record<EndReason, number>;
  readonly recorderFailures: Record<'RECORDER_FAILED' | 'STORAGE_FULL', number>;
  maskedCells: number;
  /** Logins that wait for an approval now. */
  heldLogins: number;
}

/** All zero. */
export function createTally(): Tally {
  return {
    statements: zeros(['allowed', 'approved', 'denied', 'held', 'cancelled']),
    denials: zeros(Object.keys(errorTable) as ErrorCode[]),
    parseFailures: zeros(['SYNTAX_ERROR', 'STATEMENT_TOO_LONG', 'STATEMENT_TOO_DEEP', 'PARSE_TIMEOUT', 'ENCODING_INVALID']),
    sessionEnds: zeros(['ClientClosed', 'TargetClosed', 'Expired', 'Revoked', 'Idle', 'PolicyChanged', 'RecorderFailed', 'ProxyShutdown', 'ProtocolViolation', 'Terminated', 'Failed']),
    recorderFailures: zeros(['RECORDER_FAILED', 'STORAGE_FULL']),
    maskedCells: 0, heldLogins: 0,
  };
}

/** Counts a refusal under its code, and under the parse failures when it is one. */
export function countDenial(tally: Tally, code: ErrorCode): void {
  tally.denials[code]++;
  if (Object.hasOwn(tally.parseFailures, code)) tally.parseFailures[code as ParseFailure]++;
}

function zeros<Key extends string>(keys: readonly Key[]): Record<Key, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<Key, number>;
}
