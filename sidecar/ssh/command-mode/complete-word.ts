/** The word at the cursor that Tab is to complete. */
export interface WordAtCursor {
  /** The name of a program, or a file. */
  readonly kind: 'program' | 'file';
  /** After quote removal. */
  readonly text: string;
  /** How it is quoted where the cursor stands. */
  readonly quote: '' | "'" | '"';
}

/** Reads the word before the cursor. Null where an expansion or a comment stands in it: nothing is guessed. Pure. */
export function readWordAtCursor(before: string): WordAtCursor | null {
  let text = '';
  let quote: WordAtCursor['quote'] = '';
  let isWord = false;
  let isProgram = true;
  for (let at = 0; at < before.length; at++) {
    const char = before[at] ?? '';
    if (quote === "'") {
      if (char === "'") quote = '';
      else text += char;
    } else if (char === '\\') {
      const next = before[at + 1];
      if (next === undefined) return null;
      text += quote === '"' && !'$`"\\'.includes(next) ? `\\${next}` : next;
      isWord = true;
      at++;
    } else if (char === '"') {
      quote = quote === '"' ? '' : '"';
      isWord = true;
    } else if (char === '$' || char === '`') {
      return null;
    } else if (quote === '"') {
      text += char;
    } else if (char === "'") {
      quote = "'";
      isWord = true;
    } else if (' \t\n|&;()<>'.includes(char)) {
      if ('\n|&;('.includes(char)) isProgram = true;
      else if ('<>'.includes(char) || (isWord && !/^[A-Za-z_]\w*=/u.test(text))) isProgram = false;
      text = '';
      isWord = false;
    } else {
      if ('*?[{#!'.includes(char)) return null;
      text += char;
      isWord = true;
    }
  }
  return { kind: isProgram && !text.includes('/') ? 'program' : 'file', text, quote };
}

/** What is added at the cursor for the part of a name that is missing; `isWhole` closes the word, unless it is a directory that goes on. */
export function writeRest(rest: string, quote: WordAtCursor['quote'], isWhole: boolean): string {
  const end = isWhole && !rest.endsWith('/') ? `${quote} ` : '';
  switch (quote) {
    case '':
      return rest.replaceAll(/[^\p{L}\p{N}_@%+=:,./-]/gu, '\\$&') + end;
    case '"':
      return rest.replaceAll(/[$`"\\]/gu, '\\$&') + end;
    case "'":
      return rest.replaceAll("'", `'\\''`) + end;
    default:
      return quote satisfies never;
  }
}

/** The longest beginning that all names share. */
export function sharedStart(names: readonly string[]): string {
  const [first = '', ...others] = names;
  const shared = others.reduce((length, name) => {
    let at = 0;
    while (at < length && name[at] === first[at]) at++;
    return at;
  }, first.length);
  // Not half a character.
  return /[\uD800-\uDBFF]$/u.test(first.slice(0, shared)) ? first.slice(0, shared - 1) : first.slice(0, shared);
}
