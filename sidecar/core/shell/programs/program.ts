import type { LoginShellType, ShellWord, ShellWrite } from '../shell-facts.ts';

/** What a command reads: the text of a here-document, what the client sends or a terminal, or something else that cannot be seen. */
export type StandardInput = { readonly text: string } | 'inherited' | 'other';

/** Where a program is looked at. */
export interface Surroundings {
  readonly shell: LoginShellType;
  readonly input: StandardInput;
}

/** What one program does with its words. Absent: starts nothing, reads no shell text, is certain. */
export interface ProgramReading {
  /** Commands that it starts, each as its words; `input` where theirs is not its own. */
  readonly starts?: readonly { readonly words: readonly ShellWord[]; readonly input?: StandardInput }[];
  /** Texts that it hands to a shell. */
  readonly texts?: readonly { readonly text: string; readonly shell: LoginShellType }[];
  /** Files that its arguments tell it to write, where a redirection could have said the same. */
  readonly writes?: readonly ShellWrite[];
  /** Why it cannot be known what runs. */
  readonly problems?: readonly string[];
  /** True when it only starts the command inside. */
  readonly transparent?: boolean;
}

/** Reads the words after the program's name. */
export type ProgramReader = (words: readonly ShellWord[], surroundings: Surroundings) => ProgramReading;

/** A reading that says no more than why. */
export function unclear(...problems: readonly string[]): ProgramReading {
  return { problems };
}

/** The words as one static text with blanks between, null when one is dynamic. */
export function joinStatic(words: readonly ShellWord[]): string | null {
  return words.every((word) => word.kind === 'static') ? words.map(({ text }) => text).join(' ') : null;
}

/** The text of a word as written, for messages and searches. */
export function writtenText(word: ShellWord): string {
  return word.kind === 'static' ? word.text : word.source;
}

/** True when the word may turn out to be an option. */
export function mayBeOption(word: ShellWord): boolean {
  return word.kind === 'static' ? word.text.startsWith('-') && word.text !== '-' : word.dashless !== true;
}

/** A file named by an argument. */
export function writeOf(word: ShellWord): ShellWrite {
  return { path: word.kind === 'static' ? word.text : null, source: writtenText(word).slice(0, 200) };
}
