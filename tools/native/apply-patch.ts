/** One hunk of a patch without context lines: from `line` (1-based) on, `removed` stand, and `added` shall. */
interface Hunk {
  readonly line: number;
  readonly removed: readonly string[];
  readonly added: readonly string[];
}

/** What a patch does to one file, path relative to the package. */
export interface FilePatch {
  readonly path: string;
  readonly hunks: readonly Hunk[];
}

/**
 * Reads a unified diff without context (`diff -U0`); lines before its first file are a remark.
 *
 * @throws for anything that is no such diff.
 */
export function parsePatch(text: string): readonly FilePatch[] {
  const files: { readonly path: string; readonly hunks: { readonly line: number; readonly removed: string[]; readonly added: string[] }[] }[] = [];
  for (const line of text.split('\n')) {
    const header = /^@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@/.exec(line);
    const hunk = files.at(-1)?.hunks.at(-1);
    if (line.startsWith('+++ b/')) files.push({ path: line.slice(6), hunks: [] });
    else if (line.startsWith('--- a/') || files.length === 0 || line === '') continue;
    // An insertion names the line that it follows.
    else if (header) files.at(-1)?.hunks.push({ line: Number(header[1]) + (header[2] === '0' ? 1 : 0), removed: [], added: [] });
    else if (hunk && line.startsWith('-')) hunk.removed.push(line.slice(1));
    else if (hunk && line.startsWith('+')) hunk.added.push(line.slice(1));
    else throw new Error(`not a line of a patch without context: ${line}`);
  }
  return files;
}

/**
 * Applies the hunks of one file, exactly where they say. Pure.
 *
 * @param reverse takes the patch away instead.
 * @throws when the file does not hold the lines that a hunk replaces.
 */
export function applyHunks(text: string, hunks: readonly Hunk[], reverse = false): string {
  const lines = text.split('\n');
  // Places move by what earlier hunks added: known for a reversal, and no matter when the last hunk goes first.
  let moved = 0;
  const placed = hunks.map((hunk) => {
    const at = hunk.line - 1 + (reverse ? moved : 0);
    moved += hunk.added.length - hunk.removed.length;
    return reverse ? { at, removed: hunk.added, added: hunk.removed } : { at, removed: hunk.removed, added: hunk.added };
  });
  for (const { at, removed, added } of placed.reverse()) {
    if (removed.some((line, i) => lines[at + i] !== line)) throw new Error(`line ${at + 1} is not what the patch replaces`);
    lines.splice(at, removed.length, ...added);
  }
  return lines.join('\n');
}
