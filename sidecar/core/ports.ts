import type { ProxyConfig } from '../../contract/proxy-config.ts';
import type { ErrorCode } from './errors.ts';
import type { Identity } from './identity/identity.ts';
import type { IssuerKeys } from './identity/issuer-keys.ts';
import type { SshTicket } from './identity/ssh-ticket.ts';
import type { DecidedBy, Grant } from './policy/decision.ts';

/** Wall clock and monotonic clock. */
export interface Clock {
  /** Unix time, ms. */
  now(): number;
  /** Never goes back, ms. */
  monotonicMs(): number;
}

/** Structured log: constant lower-case message, camelCase keys; never a token, payload, SQL text, parameter or row value. */
export interface Logger {
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** The config in force. `revision` grows with each swap. */
export interface ConfigSource {
  current(): { readonly config: ProxyConfig; readonly revision: number } | null;
  /** Called after each swap; returns the function that unsubscribes. */
  subscribe(listener: () => void): () => void;
}

/** Reads a credential when it is needed; values never leave the caller. Throws SallyportError SECRET_UNAVAILABLE. */
export interface SecretSource {
  read(secretName: string, key: string): Promise<Uint8Array>;
  /** Like read, but null when the key does not exist. */
  readOptional(secretName: string, key: string): Promise<Uint8Array | null>;
  /** After a login that the target refused: looks at the Secret once more, at once. True when its values are others now, so that one more login makes sense. Never throws. */
  reread?(secretName: string): Promise<boolean>;
}

/** JSON Web Keys of an issuer: cached, rotated, bounded (`adapters/jwks.ts`). */
export interface KeySource {
  /**
   * The function jose's `jwtVerify` takes for one provider.
   * Throws SallyportError ISSUER_UNREACHABLE when no usable keys exist.
   */
  keysOf(provider: ProxyConfig['identityProviders'][number]): IssuerKeys;
}

/** One ask for approval, as an approver sees it. Text and parameters are redacted; `digest` binds the originals (D5). */
export interface ApprovalAsk {
  readonly scope: 'Statement' | 'Session' | 'Window';
  readonly target: string;
  readonly namespace: string;
  readonly database: string;
  readonly sessionId: string;
  readonly requester: { readonly key: string; readonly username: string; readonly actorKeys: readonly string[] };
  readonly by: DecidedBy;
  readonly approval: { readonly groups: readonly string[]; readonly required: number; readonly decideWithinSeconds: number; readonly grantTtlSeconds: number | null };
  /** Null when the ask is to open a session. */
  readonly statement: { readonly text: string; readonly parameters: readonly string[]; readonly kind: string; readonly objects: readonly string[]; readonly searchPath: string; readonly inTransaction: boolean } | null;
  readonly digest: string;
  /** Uid of the Target, bound by the digest when set. */
  readonly targetUid?: string;
  /** `statementHmac` of contract/approval-digest.ts, null or absent for an ask to open a session; stored so that anyone can recompute `digest`. */
  readonly statementHmac?: string | null;
}

/** How a request for approval ended. */
export type ApprovalOutcome =
  | { readonly outcome: 'approved'; readonly request: string; readonly requestUid: string; readonly approvers: readonly ApproverMark[]; readonly grant: Grant | null }
  | { readonly outcome: 'denied'; readonly request: string; readonly approver: string; readonly reason: string }
  | { readonly outcome: 'expired'; readonly request: string }
  | { readonly outcome: 'withdrawn'; readonly request: string; /** APPROVAL_SUPERSEDED when the policy changed while it waited. */ readonly code?: ErrorCode; /** Somebody else who asked the same used it or took it back: asking anew makes a new request. */ readonly askAnew?: boolean };

/** One person whose approval counted. */
export interface ApproverMark {
  readonly key: string;
  readonly username: string;
  readonly decisionUid: string;
  readonly decidedAtMs: number;
  readonly method: string;
}

/** A request that waits for decisions. */
export interface PendingApproval {
  /** Shown to the user, e.g. `areq-7f3k`. */
  readonly name: string;
  readonly uid: string;
  readonly decideByMs: number;
  /** Settles once; never rejects. */
  readonly outcome: Promise<ApprovalOutcome>;
  /** Marks an approved statement request as used; false when it was already used. The caller forwards only on true. */
  use(): Promise<boolean>;
  /** After `use` answered false: another session that asked the same was first, so asking anew makes a new request. */
  usedElsewhere?(): boolean;
  /** The client went away, cancelled, or the session ended. */
  withdraw(reason: string): Promise<void>;
}

/** Where approvals come from: Kubernetes resources in a cluster, the data directory and the local HTTP API otherwise. */
export interface Approver {
  ask(ask: ApprovalAsk): Promise<{ readonly outcome: 'pending'; readonly pending: PendingApproval } | { readonly outcome: 'refused'; readonly code: ErrorCode }>;
  /** Active grants for a subject and target. A cluster's requests name people as the API server does, so there `identity` is what is looked for. */
  grants(subject: string, target: string, identity?: Identity): readonly Grant[];
  /** The command an approver types, e.g. `sallyport approve areq-7f3k`. */
  howToDecide(requestName: string): string;
  /** Called when grants change or are revoked. */
  subscribe(listener: () => void): () => void;
}

/** Parses SQL with PostgreSQL's grammar. `tree` is libpg_query's ParseResult. */
export type SqlParse =
  | {
    readonly outcome: 'parsed';
    readonly tree: unknown;
    /** For texts too long for the synchronous `fingerprint` and `parsePlPgSql`: their answers per statement, in order. */
    readonly fingerprints?: readonly (string | null)[];
    readonly plpgsql?: readonly unknown[];
  }
  | { readonly outcome: 'invalid'; readonly message: string; /** 1-based, in characters; null if unknown. */ readonly position: number | null }
  | { readonly outcome: 'failed'; readonly code: 'PARSE_TIMEOUT' | 'STATEMENT_TOO_DEEP' };

/** PostgreSQL's own grammar, behind size limits and a deadline. */
export interface SqlParser {
  /** Short texts answer synchronously; long ones from a worker with a deadline. Never throws for bad SQL. */
  parse(text: string): SqlParse | Promise<SqlParse>;
  /** PL/pgSQL of a whole CREATE FUNCTION or DO text; null when it does not parse. */
  parsePlPgSql(text: string): unknown;
  /** libpg_query fingerprint (hex) of a text that parses, else null. */
  fingerprint(text: string): string | null;
}

/** Parses shell text. `tree` is the parser's own script node; `core/shell` alone reads it. */
export type ShellParse =
  | { readonly outcome: 'parsed'; readonly tree: unknown }
  | { readonly outcome: 'failed'; readonly code: 'PARSE_TIMEOUT' | 'STATEMENT_TOO_LONG' };

/** A tolerant bash parser behind a size limit (64 KiB) and a deadline (250 ms). */
export interface ShellParser {
  /** Short texts answer synchronously. Never throws for bad shell text. */
  parseShell(text: string): ShellParse | Promise<ShellParse>;
}

/** What a one-time ticket is used for. */
export interface TicketUse {
  readonly target: string;
  readonly account: string;
  /** Address of the client. */
  readonly address: string;
}

/** What became of a ticket; it is gone in any case. `reason` is safe to log. */
export type RedeemedTicket =
  | { readonly outcome: 'redeemed'; readonly identity: Identity }
  | { readonly outcome: 'refused'; readonly reason: 'form' | 'unknown' | 'replica gone' | 'secret' | 'time' | 'target' | 'account' | 'address' };

/** The other replicas, each of which alone knows the tickets that it minted. */
export interface TicketPeers {
  /** Asks the replica that the ticket names to take it out and judge it. Null: it is gone, or did not answer in time. Never rejects. */
  redeem(ticket: SshTicket, use: TicketUse): Promise<RedeemedTicket | null>;
}

/** One login with a device code (RFC 8628) that a person is asked to approve in a browser. */
export interface DeviceGrant {
  /** Printable ASCII, at most 64 characters. */
  readonly userCode: string;
  /** https, printable ASCII, at most 512 characters. */
  readonly verificationUri: string;
  /** The same with the code in it; null where the issuer gives none. */
  readonly verificationUriComplete: string | null;
  readonly expiresInMs: number;
  /** Time between two polls at first. */
  readonly intervalMs: number;
  /** Asks once. 'slower': the caller adds five seconds to its interval from now on. Throws the signal's reason; after a failure of the network it is 'slower'. */
  poll(signal: AbortSignal): Promise<{ readonly outcome: 'pending' } | { readonly outcome: 'slower' } | { readonly outcome: 'refused' | 'expired' } | { readonly outcome: 'token'; readonly token: string }>;
}

/** The device grant of an IdentityProvider that names a client for it. */
export interface DeviceLogin {
  /** Throws SallyportError ISSUER_UNREACHABLE, or the signal's reason. */
  start(provider: ProxyConfig['identityProviders'][number], signal: AbortSignal): Promise<DeviceGrant>;
}
