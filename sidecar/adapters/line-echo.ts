/** A copy of the audit lines for whoever collects the process's output. */
export interface LineEcho {
  /** Writes complete lines, or drops and counts them. Never blocks, never throws. */
  readonly echo: (lines: string) => void;
  /** Lines dropped since the start. */
  readonly dropped: () => number;
}

/**
 * Echoes to a stream with a bound: a reader that stands still costs at most `limitBytes` of memory and the copies, never a command or the log's own lines.
 * Pipes are asynchronous in Node on Linux (checked with a reader that never reads), files and terminals are not.
 */
export function createLineEcho(stream: NodeJS.WritableStream & { readonly writableLength: number }, limitBytes: number = 4_194_304): LineEcho {
  let dropped = 0;
  let broken = false;
  // A closed pipe is an error event, and without a listener it would end the gateway.
  stream.on('error', () => {
    broken = true;
  });
  return {
    echo: (lines) => {
      if (!broken && stream.writableLength + lines.length <= limitBytes) stream.write(lines);
      else for (let at = lines.indexOf('\n'); at >= 0; at = lines.indexOf('\n', at + 1)) dropped += 1;
    },
    dropped: () => dropped,
  };
}
