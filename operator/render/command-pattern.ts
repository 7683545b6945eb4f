/** A command pattern as its words, or why it is none. */
export type CommandPattern = { readonly outcome: 'words'; readonly words: readonly string[] } | { readonly outcome: 'refused'; readonly message: string };

/**
 * Splits a command of a rule into words, as a shell would split a plain command: blanks part, `'...'`, `"..."` and a backslash keep. A whole word `*` is any one word, a final `**` any words.
 *
 * Everything that a shell would do more with is refused, and so is a star that is not a whole word: an author who writes `/srv/*.log` or `a | b` means something that a rule does not do,
 * and a Deny rule that silently matches nothing is worse than none.
 */
export function splitCommandPattern(text: string): CommandPattern {
  const words: string[] = [];
  for (const [, word = ''] of text.matchAll(/[ \t]*((?:'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^ \t'"\\])+|['"\\].*)/gsy)) {
    const read = readWord(word);
    if (read.outcome === 'refused') return read;
    words.push(read.text);
  }
  const [program] = words;
  if (program === undefined) return { outcome: 'refused', message: 'name a program' };
  if (program === '**' || program === '') return { outcome: 'refused', message: 'a pattern begins with the name of a program, or * for any' };
  if (words.slice(0, -1).includes('**')) return { outcome: 'refused', message: '** stands for any words, so it can only be the last one' };
  return { outcome: 'words', words };
}

type Word = { readonly outcome: 'read'; readonly text: string } | { readonly outcome: 'refused'; readonly message: string };

function readWord(word: string): Word {
  if (word === '*' || word === '**') return { outcome: 'read', text: word };
  let text = '';
  for (const [piece] of word.matchAll(/'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^'"\\]|['"\\]/gs)) {
    if (piece.length === 1 && /['"\\]/.test(piece)) return { outcome: 'refused', message: 'a quote or backslash has nothing that ends it' };
    if (piece.length === 1 && /[$`|&;<>(){}[\]!?~#]/.test(piece)) return { outcome: 'refused', message: `a pattern is plain words: put ${piece} in quotes if it belongs to one` };
    if (piece[0] === '"' && /[$`]/.test(piece)) return { outcome: 'refused', message: 'double quotes with $ or ` are not plain: use single quotes' };
    text += piece[0] === "'" ? piece.slice(1, -1) : piece[0] === '"' ? piece.slice(1, -1).replaceAll(/\\(["\\])/g, '$1') : piece[0] === '\\' ? piece.slice(1) : piece;
  }
  if (text.includes('*')) return { outcome: 'refused', message: '* stands for one whole word and ** for all that follow; a star inside a word or in quotes is not supported' };
  if ([...text].some((sign) => (sign.codePointAt(0) ?? 0) < 0x20 || sign === '\u007f' || sign === '\ufffd')) return { outcome: 'refused', message: 'control characters never pass' };
  return { outcome: 'read', text };
}
