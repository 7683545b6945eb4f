/** One stretch of SQL text that is not plain code. `start` and `end` are UTF-16 offsets. */
export interface Token {
  readonly kind: 'string' | 'number' | 'comment' | 'quoted' | 'word' | 'operator' | 'open';
  readonly start: number;
  readonly end: number;
}

/**
 * Splits SQL as the server does with `standard_conforming_strings` on: strings of every form (`''`, `E''`, `B''`, `X''`, `N''`, `U&''`, dollar quotes, continued on
 * the next line), numbers, comments (nested), quoted identifiers, words, single operator characters. White space is left out.
 * It decides nothing about a statement: it only finds where literals end. `open` is a token whose end is missing; it reaches to the end of the text.
 */
export function lex(text: string): readonly Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < text.length;) {
    const token = readToken(text, at);
    if (token === null) at += 1;
    else {
      tokens.push(token);
      at = token.end;
    }
  }
  return tokens;
}

/** Splits `target := value` or `target = value` at the first assignment outside brackets; null when there is none. */
export function splitAssignment(text: string): { readonly target: string; readonly value: string } | null {
  let brackets = 0;
  for (const token of lex(text)) {
    if (token.kind !== 'operator') continue;
    const char = text[token.start] ?? '';
    if ('[('.includes(char)) brackets += 1;
    else if ('])'.includes(char)) brackets -= 1;
    else if (brackets === 0 && (char === '=' || (char === ':' && text[token.end] === '='))) {
      return { target: text.slice(0, token.start), value: text.slice(token.end + (char === ':' ? 1 : 0)) };
    }
  }
  return null;
}

function readToken(text: string, start: number): Token | null {
  const char = text.charCodeAt(start);
  if (isSpace(char)) return null;
  const next = text.charCodeAt(start + 1);
  switch (char) {
    case 39: return quoted(text, start, start, false); // '
    case 34: return until(text, start, start, '"', 'quoted');
    case 45: if (next === 45) return { kind: 'comment', start, end: endOfLine(text, start) }; break; // --
    case 47: if (next === 42) return blockComment(text, start); break; // /*
    case 36: return dollar(text, start); // $
    case 46: if (isDigit(next)) return number(text, start); break; // .5
    default: break;
  }
  if (isDigit(char)) return number(text, start);
  if (!isWordStart(char)) return { kind: 'operator', start, end: start + 1 };
  if (next === 39) {
    if (char === 69 || char === 101) return quoted(text, start, start + 1, true); // E'
    if ('bBxXnN'.includes(text[start] ?? '')) return quoted(text, start, start + 1, false);
  }
  if ((char === 85 || char === 117) && next === 38) { // U&
    if (text[start + 2] === '\'') return quoted(text, start, start + 2, false);
    if (text[start + 2] === '"') return until(text, start, start + 2, '"', 'quoted');
  }
  return { kind: 'word', start, end: endOfWord(text, start) };
}

/** A string with its continuations: another quote after white space with a line break in it goes on with the same string. */
function quoted(text: string, start: number, quote: number, backslashes: boolean): Token {
  let at = quote + 1;
  for (;;) {
    const char = text[at];
    if (char === undefined) return { kind: 'open', start, end: text.length };
    if (char === '\\' && backslashes) at += 2;
    else if (char !== '\'') at += 1;
    else if (text[at + 1] === '\'') at += 2;
    else {
      const more = continuation(text, at + 1);
      if (more === null) return { kind: 'string', start, end: at + 1 };
      at = more + 1;
    }
  }
}

/** Where the continuing quote stands, or null. White space may hold `--` comments, and must hold a line break. */
function continuation(text: string, after: number): number | null {
  let lineBreak = false;
  for (let at = after; at < text.length; at += 1) {
    const char = text[at];
    if (char === '\n' || char === '\r') lineBreak = true;
    else if (char === '\'') return lineBreak ? at : null;
    else if (char === '-' && text[at + 1] === '-') at = endOfLine(text, at) - 1;
    else if (!isSpace(text.charCodeAt(at))) return null;
  }
  return null;
}

function until(text: string, start: number, quote: number, mark: string, kind: 'quoted'): Token {
  for (let at = quote + 1; ;) {
    const found = text.indexOf(mark, at);
    if (found < 0) return { kind: 'open', start, end: text.length };
    if (text[found + 1] !== mark) return { kind, start, end: found + 1 };
    at = found + 2;
  }
}

function blockComment(text: string, start: number): Token {
  let depth = 1;
  for (let at = start + 2; at < text.length; at += 1) {
    if (text[at] === '/' && text[at + 1] === '*') { depth += 1; at += 1; }
    else if (text[at] === '*' && text[at + 1] === '/') {
      depth -= 1;
      at += 1;
      if (depth === 0) return { kind: 'comment', start, end: at + 1 };
    }
  }
  return { kind: 'open', start, end: text.length };
}

const dollarTag = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y;

function dollar(text: string, start: number): Token {
  dollarTag.lastIndex = start;
  const tag = dollarTag.exec(text)?.[0];
  if (tag === undefined) { // $1 is a parameter, a lone $ an error
    let end = start + 1;
    while (isDigit(text.charCodeAt(end))) end += 1;
    return { kind: 'operator', start, end };
  }
  const end = text.indexOf(tag, start + tag.length);
  return end < 0 ? { kind: 'open', start, end: text.length } : { kind: 'string', start, end: end + tag.length };
}

const numberForm = /(?:0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|(?:\d(?:_?\d)*(?:\.(?!\.)(?:\d(?:_?\d)*)?)?|\.\d(?:_?\d)*)(?:[eE][+-]?\d(?:_?\d)*)?)/y;

function number(text: string, start: number): Token {
  numberForm.lastIndex = start;
  const form = numberForm.exec(text)?.[0] ?? text[start] ?? '';
  return { kind: 'number', start, end: start + Math.max(1, form.length) };
}

function endOfLine(text: string, start: number): number {
  for (let at = start; at < text.length; at += 1) if (text[at] === '\n' || text[at] === '\r') return at;
  return text.length;
}

function endOfWord(text: string, start: number): number {
  let end = start + 1;
  for (;;) {
    const char = text.charCodeAt(end);
    if (!(isWordStart(char) || isDigit(char) || char === 36)) return end;
    end += 1;
  }
}

function isSpace(char: number): boolean {
  return char === 32 || (char >= 9 && char <= 13);
}

function isDigit(char: number): boolean {
  return char >= 48 && char <= 57;
}

function isWordStart(char: number): boolean {
  return (char >= 97 && char <= 122) || (char >= 65 && char <= 90) || char === 95 || char >= 128;
}
