import type { Approval, SshLevel, StatementClass } from '../../../contract/proxy-config.ts';
import type { Denial } from '../errors.ts';
import type { ShellCommand } from '../shell/shell-facts.ts';

/** Names the policy and rule that decided; `rule` is null when nothing matched or the policy itself decided (access). */
export interface DecidedBy {
  readonly policy: string;
  readonly policyUid: string;
  readonly policyGeneration: number;
  readonly policyDigest: string;
  readonly rule: string | null;
}

/** One (class, object) pair of a statement, objects resolved: `schema.name`, a function's name, `*` for opaque, null for none. */
export interface CommandPair {
  readonly class: StatementClass;
  readonly object: { readonly schema: string; readonly name: string } | '*' | null;
  /** For Update, Delete and Select pairs: whether a WHERE restricts it; null where the question makes no sense. */
  readonly where: 'Missing' | 'Present' | null;
  /** Partitioned parents and inheritance parents of `object`, all generations: a rule that names one of them matches the child. */
  readonly ancestors?: readonly { readonly schema: string; readonly name: string }[];
}

/** What one command asks for, in the words policies use. Protocol code makes it, `review-command.ts` judges it. */
export type CommandFacts = StatementCommand | SshCommand;

/** One SQL statement. */
export interface StatementCommand {
  /** Class of the outermost statement, for records. */
  readonly kind: StatementClass;
  /** Every pair, nested statements included. Empty means: needs no rule (Transaction, Show, free SET, an empty query). */
  readonly pairs: readonly CommandPair[];
  readonly database: string;
}

/** One thing that an SSH request asks for. Every item of a command must be permitted. */
export type SshItem =
  | { readonly kind: 'command'; readonly command: ShellCommand }
  /** Never allowed: denied, or approved where a rule says `unknown: true`. */
  | { readonly kind: 'unknown'; readonly reason: string }
  | { readonly kind: 'level'; readonly level: Exclude<SshLevel, 'Exec'> }
  /** `path` is absolute and resolved where the protocol can tell, else as the client wrote it. `bytes`: known size of a write, else null. */
  | {
    readonly kind: 'file'; readonly operation: 'Read' | 'Write' | 'List'; readonly path: string; readonly bytes: number | null;
    /** What lies below the path, where it is a directory: `All` of it is meant too, so only a pattern that ends with `**` permits it; `Moved` along, so rules that deny or hold something there speak up. */
    readonly below?: 'All' | 'Moved';
  }
  /** `destination` is `host:port` as written. */
  | { readonly kind: 'forward'; readonly direction: 'to' | 'listen'; readonly destination: string }
  | { readonly kind: 'agent' }
  | { readonly kind: 'x11' };

/** One SSH command, shell, file operation or forward. */
export interface SshCommand {
  readonly kind: 'Exec' | 'Shell' | 'File' | 'Forward' | 'Agent' | 'X11';
  readonly account: string;
  /** Empty (a comment, an empty line) needs no rule. */
  readonly items: readonly SshItem[];
}

/** How a permitted SSH command may run: what every rule that permits a part of it says. */
export interface SshTerms {
  readonly pty: boolean;
  readonly stdin: 'Closed' | 'Attach';
  readonly output: 'Text' | 'Binary';
  readonly unmasked: boolean;
  /** Most bytes that a file operation may move; null = no limit. */
  readonly maxBytes: number | null;
}

/** The outcome of one command under D1. */
export type Decision =
  | { readonly effect: 'Allow'; readonly by: readonly DecidedBy[]; /** Of SSH commands. */ readonly terms?: SshTerms }
  | { readonly effect: 'RequireApproval'; readonly by: DecidedBy; readonly approval: Approval; readonly message: string | null }
  | { readonly effect: 'Deny'; readonly by: DecidedBy | null; readonly denial: Denial };

/** Limits of a session: the strictest of all matching policies; null = none. */
export interface SessionLimits {
  readonly sessionSeconds: number | null;
  readonly idleSeconds: number | null;
  readonly concurrentSessions: number | null;
  readonly rowsPerStatement: number | null;
  readonly bytesPerStatement: number | null;
}

/** A grant that an approval gave: opens OnRequest access or covers a rule for a session or a window. */
export interface Grant {
  readonly requestName: string;
  readonly requestUid: string;
  readonly policyUid: string;
  readonly policyGeneration: number;
  /** Null: a grant for opening sessions. */
  readonly rule: string | null;
  readonly scope: 'Session' | 'Window';
  /** The session that asked, for scope Session. */
  readonly sessionId: string | null;
  readonly subject: string;
  /** Agents that acted for the subject when it asked; a grant serves only a session with the same ones (security.md A1). Absent means none. */
  readonly actorKeys?: readonly string[];
  readonly target: string;
  /** The database that the approver was shown; absent: all of the target's. */
  readonly database?: string;
  readonly expiresAtMs: number;
  readonly approvers: readonly string[];
}
