/** One word of a command after quote removal. A dynamic one holds an expansion: it may become several words, an option, or nothing. */
export type ShellWord =
  | { readonly kind: 'static'; readonly text: string }
  | DynamicWord;

/** A word whose text is known only when the shell runs it. What is absent is not known. */
export interface DynamicWord {
  readonly kind: 'dynamic';
  /** The word as written. */
  readonly source: string;
  /** True when it becomes exactly one word, as `"$x"` does. */
  readonly single?: true;
  /** Every word that it becomes begins with this text: `/tmp/` for `"/tmp/$x"`. */
  readonly prefix?: string;
  /** Every word that it becomes ends with this text: `.log` for `*.log`. */
  readonly suffix?: string;
  /** True when no word that it becomes begins with a dash. */
  readonly dashless?: true;
}

/** A file that a redirection writes. `path` is null when it is dynamic. `/dev/null` and descriptors are left out. */
export interface ShellWrite {
  readonly path: string | null;
  /** As written. */
  readonly source: string;
}

/** One command that the shell would run, or that one of its commands would run for it. */
export interface ShellCommand {
  /** Last element of the program's path. */
  readonly program: string;
  /** The program as written, after quote removal. */
  readonly path: string;
  /** Every word, the program first. */
  readonly words: readonly ShellWord[];
  /** Of the whole command, those of the compound commands around it included. */
  readonly writes: readonly ShellWrite[];
  /** False for wrappers that only start the command inside (`nice`, `env`): a rule for the inner one is enough. */
  readonly needsRule: boolean;
}

/** Something that cannot be read for certain. */
export interface ShellUnknown {
  /** A sentence for users and approvers. */
  readonly reason: string;
  /** The part of the text, at most 200 characters. */
  readonly source: string;
}

/** What a command text would run: every command at any depth, wrappers unwrapped, and everything that may run beyond them. */
export interface ShellFacts {
  readonly commands: readonly ShellCommand[];
  readonly unknowns: readonly ShellUnknown[];
}

/** The grammar of the account's login shell. */
export type LoginShellType = 'Bash' | 'Posix';
