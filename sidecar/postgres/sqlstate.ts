import type { Denial, ErrorCode } from '../core/errors.ts';

/** A denial in PostgreSQL's words. */
export interface WordedDenial {
  readonly sqlstate: string;
  /** What happened, the code in brackets. */
  readonly message: string;
  readonly detail: string | null;
  readonly hint: string;
}

/**
 * Words a denial for a PostgreSQL client.
 *
 * @param phase the same code may mean "not now" at login and "it ends here" in a session.
 * @returns never 40001, 40P01, 08006 or 08003: drivers retry those.
 */
export function wordDenial(denial: Denial, phase: 'login' | 'session' = 'session'): WordedDenial {
  const sqlstate = (phase === 'login' ? loginSqlstates[denial.code] : undefined) ?? sqlstates[denial.code];
  return { sqlstate, message: `${denial.message} [${denial.code}]`, detail: denial.detail, hint: denial.hint };
}

/** Where the login differs: cannot_connect_now, so that the client may try later. */
const loginSqlstates: Readonly<Partial<Record<ErrorCode, string>>> = { RECORDER_FAILED: '57P03', DRAINING: '57P03' };

/** One row per code; a new code does not compile until it has one. @see PostgreSQL 18, appendix A */
const sqlstates: Readonly<Record<ErrorCode, string>> = {
  // the wire
  TLS_REQUIRED: '28000', ALPN_REQUIRED: '28000', PROTOCOL_VIOLATION: '08P01', PROTOCOL_UNSUPPORTED: '0A000', FRAME_TOO_LONG: '08P01', STARTUP_TIMEOUT: '57014',
  CONNECTION_LOST: '08000', REPLICATION_UNSUPPORTED: '0A000', DATABASE_REQUIRED: '3D000', DATABASE_NOT_SERVED: '3D000', USER_REQUIRED: '28000',
  STARTUP_PARAMETER_REFUSED: '0A000', ENCODING_REFUSED: '0A000', TOO_MANY_CONNECTIONS: '53300', FUNCTION_CALL_REFUSED: '0A000', FEATURE_REFUSED: '0A000',
  // identity
  TOKEN_MISSING: '28000', TOKEN_MALFORMED: '28000', TOKEN_TRUNCATED: '28000', TOKEN_TOO_LONG: '28000', TOKEN_ISSUER_UNKNOWN: '28000', TOKEN_AUDIENCE_WRONG: '28000',
  TOKEN_EXPIRED: '28000', TOKEN_NOT_YET_VALID: '28000', TOKEN_SIGNATURE_INVALID: '28000', TOKEN_ALGORITHM_REFUSED: '28000', TOKEN_CLAIM_MISSING: '28000', TOKEN_ACTOR_INVALID: '28000', TOKEN_CLAIM_INVALID: '28000',
  TOKEN_EMAIL_UNVERIFIED: '28000', TOKEN_HEADER_REFUSED: '28000', TOKEN_TYPE_WRONG: '28000',
  ISSUER_UNREACHABLE: '28000',
  // policy
  ACCESS_DENIED: '42501', ACCESS_DENIED_BY_RULE: '42501', POLICY_EXPRESSION_FAILED: '42501', SESSION_LIMIT_REACHED: '53300', SESSION_EXPIRED: '57P01',
  SESSION_REVOKED: '57P01', SESSION_IDLE: '57P05', STATEMENT_DENIED: '42501', STATEMENT_NOT_ALLOWED: '42501',
  // inspection
  SYNTAX_ERROR: '42601', STATEMENT_TOO_LONG: '54000', STATEMENT_TOO_DEEP: '54001', PARSE_TIMEOUT: '54000', SETTING_REFUSED: '42501', SEARCH_PATH_UNKNOWN: '0A000', ENCODING_INVALID: '22021',
  TOO_MANY_STATEMENTS: '53400', ROW_LIMIT_REACHED: '54000', BYTE_LIMIT_REACHED: '54000',
  // masking
  MASKED_COLUMN_REFUSED: '42501', MASKING_UNPROVEN: '42501', MASKED_ROW_TOO_LONG: '54000', STATEMENT_INVALIDATED: '26000', CATALOG_UNAVAILABLE: '57P03',
  // approvals
  APPROVAL_DENIED: '42501', APPROVAL_EXPIRED: '57014', APPROVAL_WITHDRAWN: '57014', APPROVAL_SUPERSEDED: '42501', APPROVAL_TOO_LARGE: '54000',
  APPROVAL_UNAVAILABLE: '58000', APPROVAL_SELF: '42501', APPROVAL_NOT_APPROVER: '42501', APPROVAL_NOT_FOUND: '42704', APPROVAL_CLOSED: '55000', APPROVAL_DIGEST_MISMATCH: '55000',
  TOO_MANY_REQUESTS: '53400', HOLD_CANCELLED: '57014',
  // the target
  TARGET_UNREACHABLE: '08001', TARGET_TLS_FAILED: '08001', TARGET_LOGIN_FAILED: '08001', TARGET_UNSUPPORTED: '08001', TARGET_PROTOCOL_VIOLATION: '08P01',
  // the gateway
  CONFIG_NOT_LOADED: '57P03', CONFIG_INVALID: '57P03', DRAINING: '57P01', RECORDER_FAILED: '58030', STORAGE_FULL: '53100', MEMORY_EXHAUSTED: '53300',
  SECRET_UNAVAILABLE: '08001', HTTP_UNAUTHORIZED: 'XX000', HTTP_BAD_REQUEST: 'XX000', HTTP_NOT_FOUND: 'XX000', HTTP_FORBIDDEN: 'XX000', HTTP_TOO_MANY_ATTEMPTS: 'XX000', INTERNAL: 'XX000',
};
