/** A piece of a script that the walk has read as a whole, by its place in the source. */
export interface Leaf {
  /** `prefix` is `!` or `time`, behind which a command must follow. */
  readonly kind: 'word' | 'redirection' | 'function' | 'compound' | 'prefix';
  readonly pos: number;
  readonly end: number;
}

/**
 * Checks that nothing of a script was left out or torn apart: between the pieces that were read stand only blanks, comments, operators and
 * reserved words, and two words are never neighbours without a blank. The parser is tolerant, so a tree alone proves nothing.
 *
 * @returns the first place that does not fit, null when all does.
 */
export function findGap(source: string, start: number, end: number, leaves: readonly Leaf[]): string | null {
  const outline = outlineOf(source, start, end, leaves);
  return outline === null ? source.slice(start, end) : checkOutline(outline);
}

const marks = { word: '\u0001', redirection: '\u0002', function: '\u0003', compound: '\u0001', prefix: '\u0004' } as const;

/** The source with each piece as one mark; null when pieces overlap. */
function outlineOf(source: string, start: number, end: number, leaves: readonly Leaf[]): string | null {
  const sorted = leaves.toSorted((left, right) => left.pos - right.pos || right.end - left.end);
  let outline = '';
  let at = start;
  for (const leaf of sorted) {
    // Words inside a larger piece were read with it.
    if (leaf.end <= at && leaf.pos < at) continue;
    if (leaf.pos < at || leaf.end > end) return null;
    outline += source.slice(at, leaf.pos) + marks[leaf.kind];
    at = leaf.end;
  }
  return outline + source.slice(at, end);
}

const tokens = /[ \t]+|\\\n|\n|#[^\n]*|&&|\|\||\|&|\||;;&|;;|;&|;|&|\(|\)|(?:if|then|elif|else|fi|for|while|until|do|done|case|in|esac|select|function|time|coproc)(?![^\s;&|()#\u0001-\u0004])|[{}!](?![^\s;&|()\u0001-\u0004])|[\u0001-\u0004]/uy;

const separators: ReadonlySet<string> = new Set([';', '&', '&&', '||', '|', '|&']);

function checkOutline(outline: string): string | null {
  /** What the last word-like token was, with nothing between. */
  let touching: 'word' | 'redirection' | null = null;
  /** The last token that is no blank. */
  let last = '';
  tokens.lastIndex = 0;
  for (let at = 0; at < outline.length; at = tokens.lastIndex) {
    tokens.lastIndex = at;
    const token = tokens.exec(outline)?.[0];
    const place = outline.slice(Math.max(0, at - 20), at + 20);
    if (token === undefined) return place;
    if (token === '\\\n') continue;
    if (token.startsWith('#') && touching !== null) return place;
    // What has to end a command ends nothing here; `((` is arithmetic for some shells and two subshells for others.
    if (separators.has(token) && !/^[\u0001-\u0003)}\]]|^(?:fi|done|esac)$/u.test(last)) return place;
    if (token === '(' && outline[at - 1] === '(') return place;
    // `name (` is a function's beginning and nothing else.
    if (token === '(' && last === marks.word) return place;
    const wordLike = /^[a-z{}!\u0001\u0003\u0004]/u.test(token);
    if (wordLike && touching !== null) return place;
    touching = wordLike ? 'word' : token === marks.redirection ? 'redirection' : null;
    if (!/^[ \t#]/u.test(token)) last = token;
  }
  return null;
}
