import type { ServerChannel } from 'ssh2';

/** Writes lines to a channel's stderr, as long as it is open. */
export function stderrTeller(stream: ServerChannel): (lines: readonly string[]) => void {
  return (lines) => {
    if (lines.length > 0 && stream.writable && !stream.writableEnded) stream.stderr.write(lines.map((line) => `${line}\n`).join(''));
  };
}

/** Ends a channel of the client: lines on stderr, the exit status, end of data, close. Does nothing on one that is closed. */
export function finishChannel(stream: ServerChannel, end: { readonly status: number; readonly lines: readonly string[] }): void {
  if (stream.writableEnded) return;
  stderrTeller(stream)(end.lines);
  stream.exit(end.status);
  // The end of the channel does not wait for its stderr by itself.
  stream.stderr.end(() => stream.end());
}
