import type { LoginShellType, ShellWord } from '../shell-facts.ts';
import { type ProgramReader, type ProgramReading, unclear } from './program.ts';

const grammars: Readonly<Record<string, LoginShellType>> = { bash: 'Bash', sh: 'Posix', dash: 'Posix', ash: 'Posix', ksh: 'Posix', zsh: 'Posix' };
/** Letters that change neither grammar nor what is read: the others are not known to us. */
const letters = /^[-+][abcefhlmnpuvxCET]*$/u;
const settings: ReadonlySet<string> = new Set(['errexit', 'nounset', 'pipefail', 'xtrace', 'verbose', 'noglob', 'noclobber', 'noexec', 'allexport', 'monitor', 'notify', 'errtrace', 'functrace', 'privileged', 'posix']);
const longs: ReadonlySet<string> = new Set(['--norc', '--noprofile', '--login', '--posix', '--verbose']);
const asks: ReadonlySet<string> = new Set(['--version', '--help']);

/** True for shells whose `-c` text is read. */
export function isShell(program: string): boolean {
  return Object.hasOwn(grammars, program);
}

/** `sh -c TEXT [NAME ARGUMENT...]`, or the text of a here-document. Everything else that a shell may read is not seen. */
export function shellReader(program: string): ProgramReader {
  return (words, { input }) => {
    const shell = grammars[program] ?? 'Posix';
    const [only] = words;
    if (words.length === 1 && only?.kind === 'static' && asks.has(only.text)) return {};
    const start = readShellOptions(words);
    if (typeof start === 'string') return unclear(start);
    const [first] = start.rest;
    if (start.command) {
      if (first === undefined) return unclear('the shell text is missing');
      if (first.kind === 'dynamic') return unclear('the shell text is an expansion');
      return textReading(first.text, shell, program);
    }
    if (first !== undefined) return unclear('a script is not read');
    return typeof input === 'string' ? unclear('a shell reads commands that cannot be seen') : textReading(input.text, shell, program);
  };
}

function textReading(text: string, shell: LoginShellType, program: string): ProgramReading {
  // zsh and ksh read these otherwise than the shells whose grammar is known.
  const otherwise = program === 'zsh' || program === 'ksh' ? /(?:^|[\s;&|(])(?:=|repeat\b|foreach\b|nocorrect\b|noglob\b|-\s)|[~^#]|\((?![)\s])|\*\*/u.exec(text) : null;
  return { texts: [{ text, shell }], ...(otherwise === null ? {} : { problems: [`${program} may read this text otherwise`] }) };
}

function readShellOptions(words: readonly ShellWord[]): { readonly command: boolean; readonly rest: readonly ShellWord[] } | string {
  let command = false;
  let at = 0;
  for (;;) {
    const word = words[at];
    if (word === undefined) return { command, rest: [] };
    if (word.kind === 'dynamic') return word.dashless === true ? { command, rest: words.slice(at) } : 'an expansion may be an option';
    const { text } = word;
    if (text === '--' || text === '-') return { command, rest: words.slice(at + 1) };
    if (!/^[-+]/u.test(text)) return { command, rest: words.slice(at) };
    const next = words[at + 1];
    if (text.startsWith('--')) {
      if (!longs.has(text)) return `the option ${text} is not known`;
    } else if (/^[-+][a-zA-Z]*o$/u.test(text) && letters.test(text.slice(0, -1))) {
      if (next?.kind !== 'static' || !settings.has(next.text)) return 'a setting of the shell is not known';
      at += 1;
      command ||= text.startsWith('-') && text.includes('c');
    } else if (letters.test(text)) {
      command ||= text.startsWith('-') && text.includes('c');
    } else {
      return `the option ${text} is not known`;
    }
    at += 1;
  }
}
