import type { ShellParser } from '../../sidecar/core/ports.ts';
import { classifyShell } from '../../sidecar/core/shell/classify.ts';
import type { ShellCommand, ShellFacts, ShellWord } from '../../sidecar/core/shell/shell-facts.ts';
import type { CommandLine } from './shell-grammar.ts';
import type { ShellSandbox } from './shell-sandbox.ts';

/** One text that inspection read otherwise than the shell. */
export interface ShellDivergence {
  readonly text: string;
  readonly shell: 'bash' | 'dash';
  readonly what: string;
}

/** How one text ended: `certain` when inspection had no unknown. */
export interface ShellComparison {
  readonly divergence: ShellDivergence | null;
  readonly certain: boolean;
  readonly parses: boolean;
  readonly started: number;
}

/** Compares what inspection says with what the shell did: a text that does not parse is Unknown, and every program that started was listed. */
export async function compareShell({ text, runnable }: CommandLine, shell: 'bash' | 'dash', sandbox: ShellSandbox, parser: ShellParser): Promise<ShellComparison> {
  const facts = await classifyShell(text, shell === 'bash' ? 'Bash' : 'Posix', parser);
  const certain = facts.unknowns.length === 0;
  // What is Unknown is never forwarded, so nothing has to be compared.
  const run = await sandbox.run(text, shell, runnable && certain);
  const missed = (run.started ?? []).find((words) => !facts.commands.some((command) => covers(command, words)));
  const what = !certain ? null : !run.parses ? 'bash -n refuses it' : missed === undefined ? null : `started unseen: ${JSON.stringify(missed)}; listed: ${show(facts)}`;
  return { divergence: what === null ? null : { text, shell, what }, certain, parses: run.parses, started: run.started?.length ?? 0 };
}

function show({ commands }: ShellFacts): string {
  return commands.map(({ words }) => words.map((word) => (word.kind === 'static' ? JSON.stringify(word.text) : `<${word.source}>`)).join(' ')).join(' ; ');
}

/** Whether a listed command is how a program was started: static words as they are, dynamic ones as what is claimed of them. */
function covers({ program, words }: ShellCommand, started: readonly string[]): boolean {
  return program === started[0] && matches(words.slice(1), started.slice(1));
}

function matches(words: readonly ShellWord[], started: readonly string[]): boolean {
  const [word, ...rest] = words;
  if (word === undefined) return started.length === 0;
  if (word.kind === 'static') return word.text === started[0] && matches(rest, started.slice(1));
  const fits = (text: string): boolean => text.startsWith(word.prefix ?? '') && text.endsWith(word.suffix ?? '') && (word.dashless !== true || !text.startsWith('-'));
  if (word.single === true) return started[0] !== undefined && fits(started[0]) && matches(rest, started.slice(1));
  for (let taken = 0; taken <= started.length; taken += 1) {
    if (matches(rest, started.slice(taken))) return true;
    if (taken < started.length && !fits(started[taken] as string)) return false;
  }
  return false;
}
