import { decodeAnsiC } from './ansi-c.ts';

/** What one word as written says by itself, read without the parser. */
export interface WordScan {
  /** Text after quote removal; null when an expansion stands in it. */
  readonly text: string | null;
  /** Text before the first expansion. */
  readonly prefix: string;
  /** An unquoted `~` that is replaced by a directory. */
  readonly tilde: boolean;
  /** `{a,b}` or `{1..9}` before the first other expansion. */
  readonly brace: boolean;
  /** An unquoted character that no word can hold. */
  readonly odd: boolean;
}

/** Quote removal on a word as written: our own second reading, so that a wrong one of the parser is noticed. */
export function scanWord(source: string): WordScan {
  let text = '';
  let expansion = false;
  let tilde = false;
  let odd = false;
  let prefix: string | null = null;
  /** Unquoted characters as they stand, quoted ones as a letter: what brace expansion looks at. */
  let bare = '';
  const expand = (): void => {
    prefix ??= text;
    expansion = true;
  };
  let at = 0;
  while (at < source.length && !expansion) {
    const char = source[at] as string;
    const next = source[at + 1];
    if (char === '\\') {
      if (next === undefined) odd = true;
      else if (next !== '\n') {
        text += next;
        bare += 'q';
      }
      at += 2;
    } else if (char === "'") {
      const end = source.indexOf("'", at + 1);
      if (end < 0) return { text: null, prefix: text, tilde, brace: false, odd: true };
      text += source.slice(at + 1, end);
      bare += 'q';
      at = end + 1;
    } else if (char === '"') {
      const quoted = scanDoubleQuoted(source, at + 1);
      text += quoted.text;
      bare += 'q';
      if (quoted.end === null) expand();
      else at = quoted.end;
    } else if (char === '$' && next === "'") {
      const decoded = decodeAnsiC(source, at + 2);
      if (decoded.end < 0) return { text: null, prefix: text, tilde, brace: false, odd: true };
      if (decoded.text === null) expand();
      else {
        text += decoded.text;
        bare += 'q';
        at = decoded.end;
      }
    } else if (char === '`' || (char === '$' && (next === '"' || startsExpansion(next)))) {
      expand();
    } else if ((char === '<' || char === '>') && next === '(') {
      expand();
    } else if (char === '*' || char === '?' || (char === '[' && source !== '[')) {
      expand();
    } else if (char === '~' && (at === 0 || source[at - 1] === ':' || source[at - 1] === '=')) {
      tilde = true;
      expand();
    } else {
      if (' \t\n()<>;&|'.includes(char)) odd = true;
      text += char;
      bare += char;
      at += 1;
    }
  }
  return { text: expansion ? null : text, prefix: prefix ?? text, tilde, brace: hasBrace(bare), odd };
}

/** Whether unquoted text holds a brace expansion, `{a,b}` or `{1..9}`. */
export function hasBrace(bare: string): boolean {
  const from = bare.indexOf('{');
  const to = bare.lastIndexOf('}');
  return from >= 0 && to > from && /,|\.\./u.test(bare.slice(from, to));
}

/** `end` is null when an expansion begins inside; `text` is what stands before it. */
function scanDoubleQuoted(source: string, start: number): { readonly text: string; readonly end: number | null } {
  let text = '';
  let at = start;
  while (at < source.length) {
    const char = source[at] as string;
    const next = source[at + 1];
    if (char === '"') return { text, end: at + 1 };
    if (char === '`' || (char === '$' && startsExpansion(next))) return { text, end: null };
    if (char === '\\' && next !== undefined && '$`"\\\n'.includes(next)) {
      if (next !== '\n') text += next;
      at += 2;
    } else {
      text += char;
      at += 1;
    }
  }
  return { text, end: null };
}

/** After `$`. A backslash may be a line continuation inside the name. */
function startsExpansion(next: string | undefined): boolean {
  return next !== undefined && /[A-Za-z0-9_@*#?$!{([\\-]/u.test(next);
}
