/** How durable a record must be before its command is forwarded. */
export type Durability = 'Write' | 'Fsync';

/** The closed list of event names that the proxy writes (docs/audit.md has a row for each). */
export type EventCode =
  | 'auth.failed' | 'session.start' | 'session.end' | 'session.terminated'
  | 'statement.intent' | 'statement.result' | 'statement.denied' | 'statement.held' | 'statement.cancelled'
  | 'request.created' | 'request.decided' | 'request.expired' | 'request.withdrawn'
  | 'policy.changed' | 'log.opened' | 'log.closed' | 'log.recovered' | 'heartbeat' | 'audit.failed' | 'audit.restored'
  | 'evidence.exported' | 'credential.minted' | 'recording.sealed' | SshEventCode;

/** Events of SSH sessions; those with a `.result`, `.end` or `.closed` close an intent. */
export type SshEventCode =
  | 'exec.intent' | 'exec.result' | 'exec.denied' | 'exec.held' | 'exec.cancelled' | 'shell.start' | 'shell.end' | 'command.observed'
  | 'file.intent' | 'file.result' | 'file.denied' | 'forward.open' | 'forward.closed' | 'forward.refused' | 'channel.refused';

/** Who, on what: fixed for a session. */
export interface SessionSubject {
  readonly sessionId: string;
  readonly namespace: string;
  readonly identity: {
    readonly issuer: string; readonly subject: string; readonly username: string; readonly groups: readonly string[]; readonly email: string | null; readonly uid: string | null;
    readonly provider: string; readonly actors: readonly { readonly issuer: string; readonly subject: string }[];
    readonly tokenId: string | null; readonly authTimeMs: number | null; readonly acr: string | null; readonly amr: readonly string[]; readonly expiresAtMs: number;
  };
  readonly client: { readonly ip: string; readonly port: number; readonly applicationName: string | null; readonly requestedUser: string };
  /** `database` is the account of an SSH Target. */
  readonly target: { readonly name: string; readonly uid: string; readonly labels: Readonly<Record<string, string>>; readonly database: string };
  readonly transport: { readonly tlsVersion: string | null; readonly cipher: string | null; /** Of SSH sessions. */ readonly ssh?: SshTransport };
  readonly policies: readonly { readonly name: string; readonly uid: string; readonly generation: number; readonly digest: string }[];
  readonly recording: { readonly content: 'Full' | 'Metadata'; readonly durability: Durability };
  readonly startedAtMs: number;
}

/** Both legs of an SSH session and how the user proved who they are. */
export interface SshTransport {
  readonly authMethod: string;
  /** Key id and serial of a certificate, id of a ticket; never the credential. */
  readonly credentialId: string | null;
  readonly client: { readonly kex: string; readonly cipher: string; readonly software: string };
  readonly target: { readonly kex: string; readonly cipher: string; readonly hostKey: string };
}

/** The server process behind a session, for matching with the target's own log. */
export interface BackendFacts {
  readonly role: string;
  readonly pid: number;
  readonly startedAtMs: number;
  readonly credentialRef: string;
}

/** What policy said, as it stands in a record: effect, reason, and who decided. */
export interface DecisionRecord {
  readonly effect: 'Allow' | 'Deny' | 'RequireApproval';
  readonly reason: string;
  readonly policy: string | null;
  readonly policyUid: string | null;
  readonly policyGeneration: number | null;
  readonly policyDigest: string | null;
  readonly rule: string | null;
  readonly evaluatedAtMs: number;
}

/** One bind parameter as recorded, masked. */
export interface ParameterRecord {
  readonly n: number;
  readonly type: string;
  readonly format: 'text' | 'binary';
  /** Null when hidden: then `hmac` stands for it. */
  readonly value: string | null;
  readonly hmac: string | null;
  readonly redacted: boolean;
  readonly bytes: number;
}

/** One execution of one statement, written before it is forwarded. */
export interface StatementIntent {
  readonly protocol: 'simple' | 'extended' | 'function';
  /** Prepared statement and portal, empty = unnamed. */
  readonly statementName: string;
  readonly portalName: string;
  readonly kind: string;
  readonly objects: readonly string[];
  readonly fingerprint: string | null;
  /** Whole text, redacted. */
  readonly text: string;
  readonly textRedacted: boolean;
  /** Keyed hash of the original text. */
  readonly textHmac: string;
  readonly parameters: readonly ParameterRecord[];
  readonly transactionStatus: 'I' | 'T' | 'E';
  readonly decision: DecisionRecord;
  readonly approvals: readonly ApprovalRecord[];
  /** Compares a masked column with a value (`predicates: Equality`). */
  readonly usesEquality?: boolean;
  /** Execution that this one continues (portal paging), else null. */
  readonly continues: number | null;
}

/** One counted approval behind a forwarded statement. */
export interface ApprovalRecord {
  readonly request: string;
  readonly requestUid: string;
  readonly scope: string;
  readonly approver: { readonly key: string; readonly username: string };
  readonly decisionUid: string;
  readonly timeMs: number;
  readonly method: string;
  readonly boundDigest: string;
}

/** What became of a forwarded statement. */
export interface StatementResult {
  /** The number `recordIntents` gave. */
  readonly statement: number;
  readonly outcome: 'Completed' | 'Failed' | 'Cancelled' | 'NotForwarded' | 'Unknown';
  readonly commandTag: string | null;
  readonly rows: number;
  readonly bytesFromServer: number;
  readonly bytesToClient: number;
  readonly maskedCells: readonly { readonly name: string; readonly style: string; readonly cells: number }[];
  readonly detectorHits: number;
  readonly sqlstate: string | null;
  readonly firstRowMs: number | null;
  readonly durationMs: number;
  readonly transactionStatus: 'I' | 'T' | 'E' | null;
  readonly limited: boolean;
}

/** A statement that was not forwarded: denied, held, or cancelled while held. */
export interface StatementAttempt {
  readonly event: 'statement.denied' | 'statement.held' | 'statement.cancelled';
  readonly intent: Omit<StatementIntent, 'approvals' | 'continues'>;
  readonly code: string | null;
  readonly request: string | null;
}

/** Why a session ended: the closed list of all records and metrics. */
export type EndReason = 'ClientClosed' | 'TargetClosed' | 'Expired' | 'Revoked' | 'Idle' | 'PolicyChanged' | 'RecorderFailed' | 'ProxyShutdown' | 'ProtocolViolation' | 'Terminated' | 'Failed';

/** What closes a session's record, for summaries of it. */
export interface SessionSeal {
  /** Null when there is no recording. `uri` is relative to the data directory, `sha256` 64 hex digits. */
  readonly recording: { readonly uri: string; readonly sha256: string; /** Absent: sqlrec/1. */ readonly format?: 'asciicast/3' } | null;
  /** Where its chain stands in the log: `log_seq` of its first and last line, and the hash of the last one, 64 hex digits. */
  readonly log: { readonly origin: string; readonly firstSequence: number; readonly lastSequence: number; readonly chainHead: string };
}

/** A result column as the recording shows it. */
export interface RecordedColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly style: string | null;
  readonly format: 0 | 1;
}

/**
 * The record of one session: the audit log's lines and, beside them, the recording. Every method that a command waits for returns a promise
 * that resolves when the record is as durable as the policy asks; it throws SallyportError RECORDER_FAILED or STORAGE_FULL, and then nothing may be forwarded.
 */
export interface SessionRecorder {
  readonly sessionId: string;
  start(subject: SessionSubject, backend: BackendFacts): Promise<void>;
  /** All intents of one input chunk, one append. Returns their statement numbers, 1-based in the session. */
  recordIntents(intents: readonly StatementIntent[]): Promise<readonly number[]> | readonly number[];
  /** Appended with the next write or within 50 ms; the client does not wait for it. */
  recordResult(result: StatementResult): void;
  recordAttempt(attempt: StatementAttempt): Promise<void>;
  /** Recording: columns of a result. */
  describe(statement: number, columns: readonly RecordedColumn[]): void;
  /** Recording: masked DataRow bodies as they will be sent (after the 5-byte header), copied or encoded before return. Written by `flush`. */
  row(statement: number, body: Uint8Array): void;
  /** Recording: a CopyData sample or count. */
  copy(statement: number, direction: 'in' | 'out', chunk: Uint8Array): void;
  /** Recording: an error or notice as delivered. */
  notice(statement: number, kind: 'e' | 'n', fields: { readonly severity: string; readonly sqlstate: string; readonly message: string }): void;
  /** Writes what is buffered; call before the rows go to the client. Throws like recordIntents. Cheap when nothing is buffered. */
  flush(): void;
  end(reason: EndReason, totals: { readonly rows: number; readonly bytes: number; readonly denied: number }): Promise<void>;
  /** After `end`; null when the record could not be closed by it. */
  seal?(): SessionSeal | null;
}

/** One event of an SSH session. */
export interface SshEvent {
  readonly code: SshEventCode;
  /** Of the session, 1-based; 0 for the connection itself. */
  readonly channel: number;
  /** What `record` answered for the intent that this event closes or belongs to; null for an intent or an event of its own. */
  readonly operation: number | null;
  readonly decision: DecisionRecord | null;
  readonly approvals: readonly ApprovalRecord[];
  /** Name of the AccessRequest, for held, denied and cancelled ones. */
  readonly request: string | null;
  /** Error code of a refusal. */
  readonly reason: string | null;
  /** What was asked or what came of it, redacted: plain JSON, keys in snake_case, at most 64 KiB (longer texts are cut and marked). */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** What a recording of one channel begins with. */
export interface CastHeader {
  readonly channel: number;
  /** Null without a terminal; then 80x24 is written and `sallyport.pty` is false. */
  readonly terminal: { readonly columns: number; readonly rows: number; readonly type: string } | null;
  /** Redacted; null for a shell. */
  readonly command: string | null;
  readonly title: string;
  /** Only names of the allow-list. */
  readonly environment: Readonly<Record<string, string>>;
}

/** The recording of one channel, asciicast v3. What is written was masked before. Errors surface in `flush`, which comes before the bytes go to the user. */
export interface CastRecorder {
  /** Any bytes of the channel's output, cut anywhere; UTF-8 is put together across calls, for each stream by itself. */
  output(bytes: Uint8Array, stream?: 'stdout' | 'stderr'): void;
  resize(columns: number, rows: number): void;
  marker(label: string): void;
  exit(status: number): void;
  /** Throws SallyportError RECORDER_FAILED, STORAGE_FULL: then nothing may go to the user. */
  flush(): void;
  close(): Promise<void>;
}

/** The record of one SSH session. */
export interface SshSessionRecorder {
  readonly sessionId: string;
  start(subject: SessionSubject, backend: BackendFacts): Promise<void>;
  /** Resolves with the operation's number when the record is as durable as the policy asks; throws SallyportError RECORDER_FAILED or STORAGE_FULL, and then nothing may be forwarded. */
  record(event: SshEvent): Promise<number>;
  /** Written within 50 ms; nobody waits. For results. Never throws. */
  note(event: SshEvent): void;
  openCast(header: CastHeader): CastRecorder;
  end(reason: EndReason, totals: { readonly bytes: number; readonly denied: number }): Promise<void>;
  /** After `end`; null when the record could not be closed by it. */
  seal?(): SessionSeal | null;
}

/** Opens session records; refuses while the store cannot take them. */
export interface RecorderFactory {
  /** Null when sessions can be recorded, else why not. */
  unavailable(): 'RECORDER_FAILED' | 'STORAGE_FULL' | null;
  open(sessionId: string): SessionRecorder;
  openSsh(sessionId: string): SshSessionRecorder;
  /** A login that failed: no session exists. `identity` may be unknown. */
  authFailed(facts: { readonly sessionId: string; readonly code: string; readonly client: { readonly ip: string; readonly port: number }; readonly target: string; readonly requestedUser: string; readonly username: string | null; readonly issuer: string | null }): Promise<void>;
  /** Requests and decisions, policy changes, process life: events outside a session's statements. */
  event(code: EventCode, facts: Readonly<Record<string, unknown>>): Promise<void>;
  /** Called when a session must end because its record cannot go on. */
  onFailure(listener: (code: 'RECORDER_FAILED' | 'STORAGE_FULL') => void): void;
  close(): Promise<void>;
}
