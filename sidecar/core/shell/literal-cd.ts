import type { ShellParse } from '../ports.ts';
import type { Part, Script } from './tree.ts';

/** A text that is one literal `cd`. */
export type LiteralCd =
  /** `cd`, `cd ~`, `cd --`. */
  | { readonly to: 'home' }
  /** `cd -`. */
  | { readonly to: 'previous' }
  /** `cd DIR`. `underHome`: DIR was written `~/DIR`. */
  | { readonly to: 'directory'; readonly directory: string; readonly underHome: boolean };

/**
 * Reads a text that does nothing but `cd [DIR]` with a literal directory (ssh.md 7): only that moves. Null for every other text, `cd x; ls`, `cd $x`, `cd x >f` and
 * options included. Pure.
 *
 * @param parse what `ShellParser.parseShell` answered for this text.
 */
export function readLiteralCd(parse: ShellParse): LiteralCd | null {
  if (parse.outcome === 'failed') return null;
  const script = parse.tree as Script;
  const [statement, ...more] = script.commands;
  if (statement === undefined || more.length > 0 || (script.errors?.length ?? 0) > 0 || statement.background === true || statement.command.type !== 'Command') return null;
  const { name, prefix, suffix } = statement.command;
  if (name?.text !== 'cd' || prefix.length > 0) return null;
  const words = suffix.map((word) => (word.type === 'Word' ? { source: word.text, text: literalText(word.text, word.value, word.parts) } : null));
  const [first, second, ...rest] = words[0]?.source === '--' ? words.slice(1) : words;
  if (first === null || second !== undefined || rest.length > 0) return null;
  if (first === undefined || first.source === '~' || first.source === '~/') return { to: 'home' };
  if (first.text === null || first.text === '') return null;
  if (first.source === '-') return { to: 'previous' };
  if (first.text.startsWith('-') && words.length === 1) return null;
  if (first.source.startsWith('~')) return first.source.startsWith('~/') ? { to: 'directory', directory: first.text.slice(2), underHome: true } : null;
  return { to: 'directory', directory: first.text, underHome: false };
}

/** The one word that this is, or null where the shell could make another of it. */
function literalText(source: string, value: string, parts: readonly Part[] | undefined): string | null {
  if (parts === undefined) return /[*?[\]{}$`!]/u.test(source.replaceAll(/\\./gu, '')) || value.includes('\n') ? null : value;
  return parts.every((part) => part.type === 'Literal' || part.type === 'SingleQuoted' || (part.type === 'DoubleQuoted' && part.parts.every((inner) => inner.type === 'Literal'))) && !value.includes('\n') && !hasBareGlob(parts) ? value : null;
}

function hasBareGlob(parts: readonly Part[]): boolean {
  return parts.some((part) => part.type === 'Literal' && /[*?[\]{}!]/u.test(part.text.replaceAll(/\\./gu, '')));
}
