/**
 * Every code that a user, an operator or a log can meet. `docs/errors.md` has a row for each, a test compares the two.
 * The text is what happened; `remedy` is what the reader can do next. Neither names a target's address, account or internals.
 */
export const errorTable = {
  // the wire
  TLS_REQUIRED: { text: 'this connection is not encrypted', remedy: 'connect with sslmode=verify-full (or sslmode=require)' },
  ALPN_REQUIRED: { text: 'direct TLS without ALPN "postgresql"', remedy: 'use sslnegotiation=direct of libpq 17 or newer, or plain SSLRequest' },
  PROTOCOL_VIOLATION: { text: 'the peer broke the PostgreSQL protocol', remedy: 'reconnect; if it happens again, report the client and its version' },
  PROTOCOL_UNSUPPORTED: { text: 'this protocol version is not supported', remedy: 'use a client that speaks PostgreSQL protocol 3.0 or 3.2' },
  FRAME_TOO_LONG: { text: 'a message is longer than its limit', remedy: 'send smaller statements or parameters' },
  STARTUP_TIMEOUT: { text: 'the login took too long', remedy: 'reconnect and send the token at once' },
  CONNECTION_LOST: { text: 'the connection was lost', remedy: 'reconnect' },
  REPLICATION_UNSUPPORTED: { text: 'replication connections do not exist here', remedy: 'replicate from inside the platform, not through the gateway' },
  DATABASE_REQUIRED: { text: 'no database was named', remedy: 'name the database: psql -d NAME' },
  DATABASE_NOT_SERVED: { text: 'this target does not serve that database', remedy: 'use one of the databases that the Target lists' },
  USER_REQUIRED: { text: 'no user was named', remedy: 'name a user: psql -U NAME (any name; who you are comes from the token)' },
  STARTUP_PARAMETER_REFUSED: { text: 'a startup parameter is not allowed', remedy: 'remove it, or set it with SET after the login if the policy allows' },
  ENCODING_REFUSED: { text: 'only UTF8 is supported as client encoding', remedy: 'set PGCLIENTENCODING=UTF8' },
  TOO_MANY_CONNECTIONS: { text: 'too many connections', remedy: 'close idle connections, or try again later' },
  FUNCTION_CALL_REFUSED: { text: 'the fast-path function call is not allowed', remedy: 'call the function with SELECT' },
  FEATURE_REFUSED: { text: 'this is not supported through the gateway', remedy: 'use another way to do it; see docs/errors.md' },
  // identity
  TOKEN_MISSING: { text: 'no token was sent', remedy: 'send an OIDC token as the password (PGPASSWORD)' },
  TOKEN_MALFORMED: { text: 'the password is not a token', remedy: 'send an OIDC token of a configured issuer as the password' },
  TOKEN_TRUNCATED: { text: 'the token was cut off', remedy: 'the prompt cuts at 4095 bytes; use PGPASSWORD or .pgpass' },
  TOKEN_TOO_LONG: { text: 'the token is longer than 16 KiB', remedy: 'ask the issuer for a token with fewer claims' },
  TOKEN_ISSUER_UNKNOWN: { text: 'the token is from an issuer that is not trusted here', remedy: 'fetch a token from a configured IdentityProvider' },
  TOKEN_AUDIENCE_WRONG: { text: 'the token is for another audience', remedy: 'ask the issuer for a token with the audience of this gateway' },
  TOKEN_EXPIRED: { text: 'the token has expired', remedy: 'fetch a new token and connect again' },
  TOKEN_NOT_YET_VALID: { text: 'the token is not valid yet', remedy: 'check the clock of this machine and of the issuer' },
  TOKEN_SIGNATURE_INVALID: { text: 'the signature of the token does not verify', remedy: 'fetch a new token from the issuer' },
  TOKEN_ALGORITHM_REFUSED: { text: 'the token is signed with an algorithm that is not allowed', remedy: 'configure the issuer to sign with an allowed algorithm' },
  TOKEN_HEADER_REFUSED: { text: 'the header of the token holds a field that is not accepted', remedy: 'ask the issuer for a plain signed JWT (alg, kid, typ)' },
  TOKEN_TYPE_WRONG: { text: 'this is not an ID token or an access token', remedy: 'send an ID token or a JWT access token of the issuer' },
  TOKEN_CLAIM_INVALID: { text: 'a claim of the token has a form that is not accepted', remedy: 'ask the issuer to correct the claim that the detail names' },
  TOKEN_EMAIL_UNVERIFIED: { text: 'the e-mail address in the token is not verified', remedy: 'verify the address at the issuer, or name users by another claim' },
  TOKEN_ACTOR_INVALID: { text: 'the chain of actors in the token cannot be read', remedy: 'ask the issuer for act claims with sub, at most four deep' },
  TOKEN_CLAIM_MISSING: { text: 'the token lacks a claim that names the user', remedy: 'ask the issuer to add the claim, or correct the IdentityProvider' },
  ISSUER_UNREACHABLE: { text: 'the keys of the issuer cannot be fetched', remedy: 'try again; if it lasts, tell the platform team' },
  // policy
  ACCESS_DENIED: { text: 'no policy lets you open a session on this target now', remedy: 'ask the owners of the target for an AccessPolicy that names you' },
  ACCESS_DENIED_BY_RULE: { text: 'a policy denies this session', remedy: 'ask the owners of the policy that the detail names' },
  POLICY_EXPRESSION_FAILED: { text: 'a policy could not be evaluated, so access is denied', remedy: 'tell the owners of the policy that the detail names' },
  SESSION_LIMIT_REACHED: { text: 'you have too many sessions on this target', remedy: 'close one of them' },
  SESSION_EXPIRED: { text: 'the session has reached its end', remedy: 'connect again' },
  SESSION_REVOKED: { text: 'the access that this session rests on was revoked', remedy: 'ask the owners of the target' },
  SESSION_TERMINATED: { text: 'somebody with the right to do so ended this session', remedy: 'ask the person that the detail names' },
  SESSION_IDLE: { text: 'the session was idle for too long', remedy: 'connect again' },
  STATEMENT_DENIED: { text: 'statement denied', remedy: 'ask the owners of the policy, or use a statement that a rule allows' },
  STATEMENT_NOT_ALLOWED: { text: 'no rule allows this statement', remedy: 'ask the owners of the policy for a rule that allows it' },
  COMMAND_DENIED: { text: 'command denied', remedy: 'ask the owners of the policy, or run a command that a rule allows' },
  COMMAND_NOT_ALLOWED: { text: 'no rule allows this command', remedy: 'ask the owners of the policy for a rule that allows it' },
  COMMAND_UNKNOWN: { text: 'it cannot be known for certain what this command runs', remedy: 'write it plainly: one program by its name, without expansions; or ask for approval where the policy offers it' },
  COMMAND_INVALID: { text: 'the command is not text that a shell would take', remedy: 'send UTF-8 without NUL and control characters, at most 64 KiB' },
  SHELL_NOT_GRANTED: { text: 'no policy grants a shell on this target', remedy: 'run one command: ssh ACCOUNT@HOST COMMAND' },
  ACCOUNT_NOT_GRANTED: { text: 'this account is not granted on this target', remedy: 'log in with an account that the target lists and a policy grants' },
  FILE_DENIED: { text: 'no rule allows this file operation', remedy: 'ask the owners of the policy for a rule with files for this path' },
  FORWARD_DENIED: { text: 'no rule allows this forwarding', remedy: 'ask the owners of the policy for a rule with forward for this destination' },
  CHANNEL_REFUSED: { text: 'this is not supported through the gateway', remedy: 'see docs/ssh.md for what passes' },
  CHANNEL_LIMIT_REACHED: { text: 'too many channels in this connection', remedy: 'close one, or open another connection' },
  STDIN_NOT_APPROVED: { text: 'input was sent to a command that waited, and nobody saw it', remedy: 'run it without input, or ask for a rule with stdin: Attach' },
  MASKING_CONFLICT: { text: 'this would carry bytes that cannot be masked', remedy: 'ask the owners of the policy for a rule with unmasked: true' },
  OUTPUT_NOT_TEXT: { text: 'the command answered with bytes that cannot be masked', remedy: 'ask the owners of the policy for a rule with output: Binary' },
  AUTH_METHOD_REFUSED: { text: 'the policy does not accept this way to log in', remedy: 'log in by one of the ways that the detail names' },
  TICKET_INVALID: { text: 'the ticket is not valid', remedy: 'get a new one: sallyport ssh TARGET' },
  CERTIFICATE_INVALID: { text: 'the certificate is not valid here', remedy: 'get a new one: sallyport login' },
  // inspection
  SYNTAX_ERROR: { text: 'the statement does not parse', remedy: 'correct it; what cannot be read is not forwarded' },
  STATEMENT_TOO_LONG: { text: 'the statement is longer than its limit', remedy: 'send it in smaller parts' },
  STATEMENT_TOO_DEEP: { text: 'the statement is nested too deeply', remedy: 'simplify the expression' },
  PARSE_TIMEOUT: { text: 'the statement took too long to inspect', remedy: 'simplify the statement or send it in parts' },
  SETTING_REFUSED: { text: 'this setting cannot be changed through the gateway', remedy: 'leave it at its default' },
  SEARCH_PATH_UNKNOWN: { text: 'the search path of the session is not known, so names without a schema cannot be resolved', remedy: 'write schema.table, or set search_path to a constant' },
  ENCODING_INVALID: { text: 'the text is not valid UTF-8', remedy: 'send UTF-8' },
  PORTAL_UNKNOWN: { text: 'the portal does not exist', remedy: 'bind it again: portals end with their transaction' },
  TOO_MANY_STATEMENTS: { text: 'too many prepared statements or portals', remedy: 'DEALLOCATE or close some of them' },
  ROW_LIMIT_REACHED: { text: 'the statement passed the row limit of the policy', remedy: 'add LIMIT or a narrower WHERE' },
  BYTE_LIMIT_REACHED: { text: 'the statement passed the byte limit of the policy', remedy: 'select fewer columns or rows' },
  // masking
  MASKED_COLUMN_REFUSED: { text: 'a masked column may stand only in the output list', remedy: 'select the column as it is, or leave it out' },
  EQUALITY_LIMIT_REACHED: { text: 'too many questions about masked columns in a minute', remedy: 'wait a minute; at most 30 statements may compare a masked column with a value' },
  MASKING_UNPROVEN: { text: 'it cannot be proven that the answer holds no masked value', remedy: 'name plain columns, or ask for a policy without masking' },
  MASKED_ROW_TOO_LONG: { text: 'a row is too long to be masked', remedy: 'select fewer or smaller columns' },
  STATEMENT_INVALIDATED: { text: 'the prepared statement is no longer valid for masking', remedy: 'prepare it again' },
  CATALOG_UNAVAILABLE: { text: 'the catalog of the database cannot be read', remedy: 'try again; if it lasts, tell the owners of the target' },
  // approvals
  APPROVAL_DENIED: { text: 'the approver said no', remedy: 'talk to the approver that the detail names' },
  APPROVAL_EXPIRED: { text: 'nobody decided in time', remedy: 'run the statement again and tell the approvers' },
  APPROVAL_WITHDRAWN: { text: 'the request was withdrawn', remedy: 'run the statement again' },
  APPROVAL_SUPERSEDED: { text: 'the policy changed while the statement waited', remedy: 'run the statement again' },
  APPROVAL_TOO_LARGE: { text: 'the statement is too large to be approved', remedy: 'send at most 32 KiB of text and parameters, in parts' },
  APPROVAL_UNAVAILABLE: { text: 'approval is needed but cannot be asked for', remedy: 'try again later' },
  APPROVAL_INTEGRITY: { text: 'approvals cannot be trusted now: the cluster has not proven that nobody can forge one', remedy: 'try again later; the condition ApprovalIntegrity of the ProxyConfig tells the platform team why' },
  APPROVAL_SELF: { text: 'you cannot decide on your own request', remedy: 'ask another member of the approving groups' },
  APPROVAL_NOT_APPROVER: { text: 'you are in none of the approving groups', remedy: 'ask a member of the groups that the request names' },
  APPROVAL_NOT_FOUND: { text: 'there is no such request', remedy: 'list the requests with: sallyport requests' },
  APPROVAL_CLOSED: { text: 'the request is already decided', remedy: 'nothing to do; list the requests with: sallyport requests' },
  APPROVAL_DIGEST_MISMATCH: { text: 'the request is not the one that you saw', remedy: 'show it again with: sallyport requests NAME' },
  TOO_MANY_REQUESTS: { text: 'you have too many pending requests', remedy: 'wait for decisions, or cancel some' },
  HOLD_CANCELLED: { text: 'canceling held statement due to user request', remedy: 'run it again when you need it' },
  // the target
  TARGET_UNREACHABLE: { text: 'the target cannot be reached', remedy: 'try again; if it lasts, tell the owners of the target' },
  TARGET_TLS_FAILED: { text: 'the encrypted connection to the target failed', remedy: 'tell the owners of the target' },
  TARGET_LOGIN_FAILED: { text: 'the target refused the login of the gateway', remedy: 'tell the owners of the target' },
  TARGET_HOST_KEY: { text: 'the target showed a host key that is not pinned', remedy: 'tell the owners of the target: nothing was sent to it' },
  TARGET_UNSUPPORTED: { text: 'the target server is not supported', remedy: 'PostgreSQL 14 or newer with standard settings is needed' },
  TARGET_PROTOCOL_VIOLATION: { text: 'the target answered outside the protocol', remedy: 'reconnect; if it happens again, tell the owners of the target' },
  // the gateway
  CONFIG_STALE: { text: 'the gateway has not heard from its cluster for too long, so no new session is opened', remedy: 'try again; if it lasts, tell the platform team' },
  CONFIG_NOT_LOADED: { text: 'the gateway has no valid configuration', remedy: 'try again; if it lasts, tell the platform team' },
  CONFIG_INVALID: { text: 'the configuration is not valid', remedy: 'correct the file and field that the message names' },
  DRAINING: { text: 'the gateway is shutting down', remedy: 'connect again' },
  RECORDER_FAILED: { text: 'the session cannot be recorded, so nothing is forwarded', remedy: 'try again; if it lasts, tell the platform team' },
  STORAGE_FULL: { text: 'the gateway has no space left to record sessions', remedy: 'tell the platform team' },
  MEMORY_EXHAUSTED: { text: 'the gateway is out of memory for new sessions', remedy: 'try again later' },
  SSH_UNAVAILABLE: { text: 'the SSH part of the gateway is not ready', remedy: 'tell the platform team: its log says what is missing' },
  SECRET_UNAVAILABLE: { text: 'the credential of the target cannot be read', remedy: 'tell the owners of the target' },
  HTTP_UNAUTHORIZED: { text: 'the request bears no valid token', remedy: 'send an OIDC token: Authorization: Bearer TOKEN' },
  HTTP_BAD_REQUEST: { text: 'the request is not valid', remedy: 'see docs/errors.md for the form of each request' },
  HTTP_FORBIDDEN: { text: 'this request is not allowed here', remedy: 'use the sallyport command or curl, not a browser page' },
  HTTP_TOO_MANY_ATTEMPTS: { text: 'too many failed logins from this address', remedy: 'wait ten minutes, then send a valid token' },
  HTTP_NOT_FOUND: { text: 'there is nothing here', remedy: 'see docs/errors.md for the routes' },
  INTERNAL: { text: 'the gateway met an error of its own', remedy: 'try again; if it happens again, report it with the session id' },
} as const;

/** A stable code; never renamed. */
export type ErrorCode = keyof typeof errorTable;

/** Facts that may be shown to the user: never an address, an account, a token, a payload or a value. */
export type ErrorDetail = Readonly<Record<string, string | number | boolean>>;

/**
 * A refusal that policy or a user caused: returned, not thrown.
 * `message` says what happened (code excluded), `detail` names policy and rule, `hint` what to do next.
 */
export interface Denial {
  readonly code: ErrorCode;
  readonly message: string;
  readonly detail: string | null;
  readonly hint: string;
}

/** Builds a denial; `message` and `hint` fall back to the table. */
export function deny(code: ErrorCode, parts: { readonly message?: string; readonly detail?: string; readonly hint?: string } = {}): Denial {
  const row = errorTable[code];
  return { code, message: parts.message ?? row.text, detail: parts.detail ?? null, hint: parts.hint ?? row.remedy };
}

/**
 * What only a bug, a broken peer or a broken network can cause. `detail` is safe to log; `cause` stays internal.
 */
export class SallyportError extends Error {
  readonly code: ErrorCode;
  readonly detail: ErrorDetail;

  constructor(code: ErrorCode, detail: ErrorDetail = {}, options: ErrorOptions = {}) {
    super(`${code}: ${errorTable[code].text}`, options);
    this.name = 'SallyportError';
    this.code = code;
    this.detail = detail;
  }

  /** The same failure worded for the user. */
  toDenial(): Denial {
    return deny(this.code);
  }
}
