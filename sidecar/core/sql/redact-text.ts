import { lex, type Token } from './lex.ts';

/** A statement's text and what is known of it. */
export interface RedactInput {
  readonly text: string;
  /** UTF-16 offsets of the tree's constants in `text`: each must be the start of a token, or the text was read differently here and nothing of it is shown. */
  readonly constants: readonly number[];
  /** False hides every literal: the statement touches a masked relation, or runs code that may. */
  readonly keepLiterals: boolean;
  /** True hides every string: the statement sets passwords or connection strings. */
  readonly hasSecrets: boolean;
  /** True for a text that holds a regulated value; null when no detector is configured. */
  readonly detect: ((text: string) => boolean) | null;
}

/** What stands for a text of which nothing may be shown. */
export const hiddenText = '********';

/**
 * The statement's text as records and approvers may see it: starts from every literal hidden and puts back those that are safe to show.
 * Whatever stands after a word like `password` stays hidden in any statement.
 */
export function redactStatement(input: RedactInput): string {
  const { text, detect, keepLiterals } = input;
  const hasSecrets = input.hasSecrets || passwordWord.test(text);
  if (keepLiterals && !hasSecrets && detect === null) return text;
  const tokens = lex(text);
  if (!agrees(tokens, input.constants)) return hiddenText;
  let afterPassword = input.hasSecrets;
  const shown = replaceTokens(text, tokens, (token, piece) => {
    if (token.kind === 'word' || token.kind === 'quoted') afterPassword ||= hasSecrets && passwordWord.test(piece);
    switch (token.kind) {
      case 'string': return keepLiterals && !afterPassword && !passwordWord.test(piece) && !isSuspect(piece, detect);
      case 'number': return keepLiterals && !isSuspect(piece, detect);
      case 'comment': return (keepLiterals || !/[\d@]/.test(piece)) && !passwordWord.test(piece) && !isSuspect(piece, detect);
      case 'quoted': return (keepLiterals || isName(piece.slice(piece.indexOf('"') + 1, -1))) && !isSuspect(piece, detect);
      case 'open': return false;
      default: return true;
    }
  });
  if (detect === null || !detect(shown)) return shown;
  const bare = replaceTokens(text, tokens, hidesLiterals);
  return detect(bare) ? hiddenText : bare;
}

/**
 * The same for a text that does not parse: no literal, comment or quoted identifier is shown. Where the text itself leaves open which quotes
 * belong together, nothing from the first of them on is shown.
 */
export function redactUnreadable(text: string, detect: ((text: string) => boolean) | null): string {
  const tokens = lex(text);
  const doubtful = tokens.find((token) => token.kind === 'string' && isDoubtful(text, token));
  const open = tokens.some((token) => token.kind === 'open') ? tokens.find((token) => 'string quoted comment open'.includes(token.kind)) : undefined;
  const cut = Math.min(doubtful?.start ?? text.length, open?.start ?? text.length);
  const shown = replaceTokens(text.slice(0, cut), tokens.filter((token) => token.end <= cut), hidesLiterals) + (cut < text.length ? hiddenText : '');
  return detect?.(shown) ? hiddenText : shown;
}

/** True for a text that can only be a name: letters first and no sign but `_` and `$`, or no digit at all. `1980-02-03` in quotes is a value in the place of a name. */
export function isName(text: string): boolean {
  return !/[\d@]/.test(text) || /^[\p{L}_][\p{L}\p{N}_$]*$/u.test(text);
}

/** Also `passwd`, `user_password`, and `PASSWORD` in any case. */
const passwordWord = /passw/i;

function hidesLiterals(token: Token): boolean {
  return token.kind === 'word' || token.kind === 'operator';
}

/** A literal in an escaped spelling is suspect without being decoded. */
function isSuspect(piece: string, detect: ((text: string) => boolean) | null): boolean {
  if (detect === null) return false;
  if (/^(?:[uU]&|[eE]'[^]*\\|[bBxX]')/.test(piece)) return true;
  return detect(plainValue(piece));
}

/** The value of a plain, national or dollar-quoted string, its continuations joined; any other piece as it is. */
function plainValue(piece: string): string {
  const tag = /^\$[^$]*\$/.exec(piece)?.[0];
  if (tag !== undefined) return piece.slice(tag.length, -tag.length);
  if (!/^[nNeE]?'/.test(piece)) return piece;
  return piece.slice(piece.indexOf('\'') + 1, -1).replace(/'(?:\s|--[^\n\r]*[\n\r])+'/g, '').replaceAll('\'\'', '\'');
}

/** A backslash before a quote: a reader with other settings would end the string elsewhere. */
function isDoubtful(text: string, token: Token): boolean {
  return text.slice(token.start, token.end).includes('\\\'');
}

function replaceTokens(text: string, tokens: readonly Token[], keeps: (token: Token, piece: string) => boolean): string {
  let shown = '';
  let at = 0;
  for (const token of tokens) {
    const piece = text.slice(token.start, token.end);
    if (keeps(token, piece)) continue;
    shown += text.slice(at, token.start) + replacements[token.kind];
    at = token.end;
  }
  return at === 0 ? text : shown + text.slice(at);
}

const replacements: Readonly<Record<Token['kind'], string>> = {
  string: `'${hiddenText}'`, number: hiddenText, comment: `/* ${hiddenText} */`, quoted: `"${hiddenText}"`, word: hiddenText, operator: hiddenText, open: hiddenText,
};

/** True when every constant of the tree starts where a token starts: then both read the same literals. */
function agrees(tokens: readonly Token[], constants: readonly number[]): boolean {
  if (tokens.some((token) => token.kind === 'open')) return false;
  if (constants.length === 0) return true;
  const starts = new Set(tokens.filter((token) => token.kind !== 'comment').map((token) => token.start));
  return constants.every((constant) => starts.has(constant));
}
