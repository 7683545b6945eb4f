import type { NestedText } from './collect.ts';
import { isPlainName } from './check-text.ts';
import type { LoginShellType, ShellCommand, ShellUnknown, ShellWord, ShellWrite } from './shell-facts.ts';

/** What a command reads: the text of a here-document, what the client sends or a terminal, or something else that cannot be seen. */
export type StandardInput = { readonly text: string } | 'inherited' | 'other';

/** The circumstances of one command. */
export interface Run {
  readonly shell: LoginShellType;
  /** The command as written, for messages. */
  readonly source: string;
  readonly writes: readonly ShellWrite[];
  readonly input: StandardInput;
  /** Some arguments are assignments, read as such by the shell (`export A=1`). */
  readonly assigned: boolean;
}

/** What one command would run: itself, those that it starts, and texts that it hands to a shell. */
export interface Effects {
  readonly commands: readonly ShellCommand[];
  readonly unknowns: readonly ShellUnknown[];
  readonly nested: readonly NestedText[];
}

/** Says what a command would run, by its words. */
export function interpretCommand(words: readonly ShellWord[], run: Run): Effects {
  const name = words[0];
  if (name?.kind !== 'static') return { commands: [], unknowns: [], nested: [] };
  const unknowns: ShellUnknown[] = [];
  if (!isPlainName(name.text)) unknowns.push({ reason: "the program's name holds characters that are not printable ASCII", source: run.source });
  const program = name.text.slice(name.text.lastIndexOf('/') + 1);
  if (startsOthers.has(program)) unknowns.push({ reason: `${program} may start other programs`, source: run.source });
  return { commands: [{ program, path: name.text, words, writes: run.writes, needsRule: true }], unknowns, nested: [] };
}

const startsOthers: ReadonlySet<string> = new Set(
  ('alias unalias shopt set enable hash trap bind complete source . coproc mapfile readarray let declare typeset local export readonly unset read getopts printf test [ eval exec env nice ionice nohup setsid stdbuf timeout time '
    + 'command builtin chrt taskset flock strace busybox sudo doas su runuser chroot unshare nsenter systemd-run xargs parallel find sh bash dash zsh ksh ash watch ssh script at batch crontab kubectl oc docker podman nerdctl crictl '
    + 'tar rsync git sort man make python python3 perl ruby node php lua awk sed vim vi ex ed emacs nano less more expect gdb tclsh psql mysql sqlite3').split(' '),
);
