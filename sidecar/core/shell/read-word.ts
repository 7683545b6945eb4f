import { hasBrace, scanWord } from './scan-word.ts';
import type { DynamicWord, ShellWord } from './shell-facts.ts';
import type { Part, Word } from './tree.ts';

/** A word, and why it cannot be read for certain (null when it can). */
export interface WordReading {
  readonly word: ShellWord;
  readonly problem: string | null;
}

/** Reads one word of the tree: its text after quote removal, or what is known of a dynamic one. Two readings, the parser's and ours, must agree. */
export function readWord(word: Word): WordReading {
  const scan = scanWord(word.text);
  const parts = word.parts ?? [];
  if (scan.odd) return { word: dynamic(word), problem: 'a word is read in two ways' };
  if (scan.brace || parts.some((part) => part.type === 'BraceExpansion') || hasBrace(skeleton(parts))) return { word: dynamic(word), problem: 'brace expansion is read differently by different shells' };
  if (parts.some(isExtendedGlob) || /[?*+@!]\(/u.test(skeleton(parts))) return { word: dynamic(word), problem: 'an extended pattern is read differently by different shells' };
  const expands = parts.some(isExpansion);
  if (scan.text === null) {
    // `~` and `$'...'` are the two that the parser does not mark.
    if (!expands && !scan.tilde && !word.text.includes("$'") && !word.text.includes('[')) return { word: dynamic(word), problem: 'a word is read in two ways' };
    return { word: dynamicWord(word.text, parts, scan.prefix, scan.tilde), problem: null };
  }
  if (expands || word.value !== scan.text) return { word: dynamic(word), problem: 'a word is read in two ways' };
  return { word: { kind: 'static', text: scan.text }, problem: null };
}

/** Nothing is known of this word. */
function dynamic(word: Word): DynamicWord {
  return { kind: 'dynamic', source: word.text };
}

function dynamicWord(source: string, parts: readonly Part[], prefix: string, tilde: boolean): DynamicWord {
  // A home directory is one word and begins with a slash, or the word stays as it is.
  if (tilde && !parts.some(isExpansion)) return { kind: 'dynamic', source, single: true, ...(prefix === '' ? {} : { prefix }), ...(prefix.startsWith('-') ? {} : { dashless: true as const }) };
  const splits = parts.some(maySplit);
  const globs = parts.some((part) => part.type === 'Glob');
  const number = parts.length === 1 && parts.every(isNumber);
  const leading = splits ? '' : prefix;
  const dashless = number || (leading !== '' && !leading.startsWith('-')) || (!splits && parts[0]?.type === 'ProcessSubstitution');
  const trailing = splits || !globs || tilde ? '' : globSuffix(parts);
  return {
    kind: 'dynamic', source,
    ...(splits || globs ? {} : { single: true as const }),
    ...(leading === '' ? {} : { prefix: leading }),
    ...(trailing === '' ? {} : { suffix: trailing }),
    ...(dashless ? { dashless: true as const } : {}),
  };
}

/** Unquoted text as it stands, everything else as one letter. */
function skeleton(parts: readonly Part[]): string {
  return parts.map((part) => (part.type === 'Literal' ? part.text.replaceAll(/\\[^]/gu, 'q') : part.type === 'Glob' && part.text.length === 1 ? part.text : 'q')).join('');
}

function isExtendedGlob(part: Part): boolean {
  return part.type === 'ExtendedGlob';
}

function isExpansion(part: Part): boolean {
  switch (part.type) {
    case 'Literal':
    case 'SingleQuoted':
    case 'AnsiCQuoted':
      return false;
    case 'DoubleQuoted':
      return part.parts.some(isExpansion);
    default:
      return true;
  }
}

/** Unquoted expansions are split at blanks; a quoted list is as many words as it has. */
function maySplit(part: Part): boolean {
  switch (part.type) {
    case 'SimpleExpansion':
      return !isNumber(part);
    case 'ParameterExpansion':
    case 'CommandExpansion':
      return true;
    case 'DoubleQuoted':
    case 'LocaleString':
      return part.parts.some(isList);
    default:
      return false;
  }
}

function isList(part: Part): boolean {
  if (part.type === 'SimpleExpansion') return part.text === '$@';
  return part.type === 'ParameterExpansion' && (part.parameter === '@' || part.index?.text === '@' || part.prefix === '!' || part.operation?.type === 'Default');
}

/** `$?`, `$#`, `$$`: digits only. */
function isNumber(part: Part): boolean {
  return part.type === 'SimpleExpansion' && (part.text === '$?' || part.text === '$#' || part.text === '$$');
}

function globSuffix(parts: readonly Part[]): string {
  const last = parts.at(-1);
  return last?.type === 'Literal' || last?.type === 'SingleQuoted' ? last.value : '';
}
