import { Writable } from 'node:stream';
import type { ServerChannel } from 'ssh2';
import type { CastRecorder } from '../../../contract/audit.ts';

/** The user's side of a shell: what is written here was masked before. */
export interface Screen {
  /** Lines of our own, recorded and shown. */
  readonly say: (lines: readonly string[]) => void;
  /** Shown and not recorded: the editor's drawing, in which something may stand that was typed and taken back. */
  readonly draw: (text: string) => void;
  /** Recorded and not shown. */
  readonly record: (text: string) => void;
  /** Where commands write; keeps track of the column, so that a prompt never overwrites a line without an end. */
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Ends a line that a command left open. */
  readonly freshLine: () => void;
}

/** Opens the user's side. With a terminal everything goes to stdout, lines end with CRLF; without one our own lines go to stderr. */
export function openScreen(stream: ServerChannel, hasTerminal: boolean, cast: CastRecorder): Screen {
  let isOpen = false;
  const put = (text: string): void => {
    if (!stream.destroyed && !stream.writableEnded) (hasTerminal ? stream : stream.stderr).write(text);
  };
  const eol = hasTerminal ? '\r\n' : '\n';
  const relay = (to: () => Writable): Writable => new Writable({
    decodeStrings: true,
    write: (chunk: Buffer, _encoding, done) => {
      const last = chunk.at(-1);
      if (last !== undefined) isOpen = last !== 0x0a;
      pass(to(), stream, chunk, done);
    },
  });
  return {
    say: (lines) => {
      const text = lines.map((line) => `${line}${eol}`).join('');
      cast.output(Buffer.from(text), hasTerminal ? 'stdout' : 'stderr');
      cast.flush();
      put(text);
    },
    draw: put,
    record: (text) => {
      cast.output(Buffer.from(text));
      cast.flush();
    },
    stdout: relay(() => stream),
    stderr: relay(() => (hasTerminal ? stream : stream.stderr)),
    freshLine: () => {
      if (isOpen && hasTerminal) {
        cast.output(Buffer.from(eol));
        put(eol);
      }
      isOpen = false;
    },
  };
}

/** Writes on; ssh2 answers each chunk in its callback, once the window has taken it, and not always with `drain`. What is written to a closed channel is lost, as on a wire. */
function pass(to: Writable, channel: ServerChannel, chunk: Buffer, done: () => void): void {
  if (channel.destroyed || channel.writableEnded) return done();
  let isDone = false;
  const once = (): void => {
    if (isDone) return;
    isDone = true;
    channel.off('close', once);
    done();
  };
  channel.on('close', once);
  to.write(chunk, once);
}
