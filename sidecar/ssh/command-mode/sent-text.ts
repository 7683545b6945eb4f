import type { LiteralCd } from '../../core/shell/literal-cd.ts';
import { shellQuote, wrapForBash } from '../../core/shell/quote.ts';

/** Exit status by which the target says that the directory is gone. */
export const directoryGone = 125;

/**
 * What the target's shell gets for one input: the input itself, in the directory of the prompt. A pure function of what was judged: text, directory and wrap.
 *
 * @param cwd null: the account's home, where sshd starts every command.
 */
export function sentText(text: string, cwd: string | null, wrap: boolean): string {
  const judged = wrap ? wrapForBash(text) : text;
  // Not `&&`: it would bind to the first command of the text only.
  return cwd === null ? judged : `cd -- ${shellQuote(cwd)} || exit ${directoryGone}\n${judged}`;
}

/** What the target's shell gets for a literal `cd`; it prints where it is then. Null: nothing needs to be sent, the way leads home. @param previous where it was before; null: home. */
export function movingText(cd: LiteralCd, cwd: string | null, previous: string | null, wrap: boolean): string | null {
  const moves = movesOf(cd, cwd, previous);
  if (moves === null) return null;
  const text = [...moves.map((directory) => `cd -- ${directory}`), 'pwd -P'].join(' && ');
  return wrap ? wrapForBash(text) : text;
}

function movesOf(cd: LiteralCd, cwd: string | null, previous: string | null): readonly string[] | null {
  switch (cd.to) {
    case 'home':
      return null;
    case 'previous':
      return previous === null ? null : [shellQuote(previous)];
    case 'directory':
      return cd.underHome ? [`~/${shellQuote(cd.directory)}`] : [...(cwd === null ? [] : [shellQuote(cwd)]), shellQuote(cd.directory)];
    default:
      return cd satisfies never;
  }
}

/** The directory that `pwd -P` printed: the last line, since a start file of the account may print before. Null where it is none. */
export function readDirectory(output: string): string | null {
  const line = output.endsWith('\n') ? output.slice(0, -1).split('\n').at(-1) ?? '' : '';
  return line.startsWith('/') && Buffer.byteLength(line) <= 4096 && !/[\p{Cc}\p{Cf}\uFFFD]/u.test(line) ? line : null;
}
