/** Longest line that is read; a record has at most 64 KiB. */
const maxLineBytes = 4_194_304;

/** Complete lines without LF; `torn` is set with the last batch when the file does not end with LF. */
export interface LineBatch {
  readonly lines: readonly Buffer[];
  readonly torn: Buffer | null;
}

/**
 * Splits a byte stream into batches of lines. The lines are views of the chunk: use them before the next batch.
 * A line over 4 MiB is given out in pieces, so that a broken file cannot fill the memory; no piece is a valid record.
 */
export async function* readLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<LineBatch> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    const part = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const all = rest.length === 0 ? part : Buffer.concat([rest, part]);
    const lines: Buffer[] = [];
    let from = 0;
    for (let end = all.indexOf(10); end >= 0; end = all.indexOf(10, from)) {
      lines.push(all.subarray(from, end));
      from = end + 1;
    }
    rest = all.subarray(from);
    if (rest.length > maxLineBytes) {
      lines.push(rest);
      rest = Buffer.alloc(0);
    }
    if (lines.length > 0) yield { lines, torn: null };
  }
  if (rest.length > 0) yield { lines: [], torn: rest };
}
