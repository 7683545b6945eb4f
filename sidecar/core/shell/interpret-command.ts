import { isPlainName } from './check-text.ts';
import { builtinReader } from './programs/builtins.ts';
import { escapeReader } from './programs/escapes.ts';
import { readAt, readCrontab, readEval, readScript, readSsh, readWatch } from './programs/joined-text.ts';
import { readDocker, readFind, readKubernetes, readParallel, readXargs } from './programs/list-feeders.ts';
import { opaqueReader } from './programs/opaque.ts';
import type { ProgramReader, StandardInput } from './programs/program.ts';
import { isShell, shellReader } from './programs/shells.ts';
import { readBusybox, readFlock, readRunuser, readSu, wrapperReader } from './programs/wrappers.ts';
import type { LoginShellType, ShellCommand, ShellUnknown, ShellWord, ShellWrite } from './shell-facts.ts';

/** A text that one of the commands hands to a shell. */
export interface NestedText {
  readonly text: string;
  readonly shell: LoginShellType;
  readonly writes: readonly ShellWrite[];
}

/** The circumstances of one command. */
export interface Run {
  readonly shell: LoginShellType;
  /** The command as written, for messages. */
  readonly source: string;
  readonly writes: readonly ShellWrite[];
  readonly input: StandardInput;
}

/** What one command would run: itself, those that it starts, and texts that it hands to a shell. */
export interface Effects {
  readonly commands: ShellCommand[];
  readonly unknowns: ShellUnknown[];
  readonly nested: NestedText[];
}

/** Longest chain of wrappers. */
const chainLimit = 16;

/** Says what a command would run, by its words. */
export function interpretCommand(words: readonly ShellWord[], run: Run): Effects {
  const effects: Effects = { commands: [], unknowns: [], nested: [] };
  addCommand(effects, words, run, 0);
  return effects;
}

function addCommand(effects: Effects, words: readonly ShellWord[], run: Run, depth: number): void {
  const unknown = (reason: string): void => {
    effects.unknowns.push({ reason, source: run.source });
  };
  const [name, ...rest] = words;
  if (name?.kind !== 'static') return name === undefined ? undefined : unknown("the program's name is an expansion");
  if (depth > chainLimit) return unknown('too many programs start one another');
  if (!isPlainName(name.text)) unknown("the program's name holds characters that are not printable ASCII");
  const program = name.text.slice(name.text.lastIndexOf('/') + 1);
  const reading = readerOf(program)?.(rest, run) ?? {};
  for (const problem of reading.problems ?? []) unknown(problem);
  effects.commands.push({ program, path: name.text, words, writes: [...run.writes, ...(reading.writes ?? [])], needsRule: reading.transparent !== true });
  for (const start of reading.starts ?? []) addCommand(effects, start.words, { ...run, input: start.input ?? run.input }, depth + 1);
  for (const text of reading.texts ?? []) effects.nested.push({ ...text, writes: run.writes });
}

const readers: Readonly<Record<string, ProgramReader>> = {
  flock: readFlock, busybox: readBusybox, su: readSu, runuser: readRunuser, xargs: readXargs, parallel: readParallel, find: readFind,
  kubectl: readKubernetes, oc: readKubernetes, docker: readDocker, podman: readDocker, nerdctl: readDocker, crictl: readDocker,
  eval: readEval, watch: readWatch, ssh: readSsh, script: readScript, at: readAt, crontab: readCrontab,
};

function readerOf(program: string): ProgramReader | undefined {
  if (isShell(program)) return shellReader(program);
  return (Object.hasOwn(readers, program) ? readers[program] : undefined) ?? wrapperReader(program) ?? builtinReader(program) ?? escapeReader(program) ?? opaqueReader(program);
}
