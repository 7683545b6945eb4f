import { Writable } from 'node:stream';
import type { CastRecorder } from '../../../contract/audit.ts';
import { shellItems } from '../../core/policy/ssh-items.ts';
import type { ShellFacts } from '../../core/shell/shell-facts.ts';
import { gateCommand } from '../command-gate.ts';
import type { SshContext } from '../context.ts';
import { type CommandEnd, type CommandIo, runCommand } from '../run-command.ts';
import type { ChannelListener, SessionChannel } from '../session-channel.ts';
import { denialLines } from '../words.ts';
import { statusOf } from './exit-status.ts';
import { cancelOnInterrupt, watchInterrupts } from './interrupts.ts';
import type { Screen } from './screen.ts';
import type { TypedInput } from './typed-input.ts';

/** What the commands of one shell share. */
export interface ShellParts {
  readonly context: SshContext;
  readonly channel: SessionChannel;
  readonly input: TypedInput;
  readonly screen: Screen;
  readonly cast: CastRecorder;
  /** A bracketed paste is open: what is still to come of it. */
  readonly isPasting: () => boolean;
  readonly endPaste: () => void;
}

/** One line that the target is to run. */
export interface LineAsk {
  /** What the user typed: inspected, bound, recorded. */
  readonly text: string;
  /** What is sent for it. */
  readonly sent: string;
  readonly cwd: string | null;
  /** Gives the output here instead of to the user, at most this many bytes. */
  readonly collect: { readonly limitBytes: number } | null;
}

/** How a line ended. */
export type LineEnd =
  | { readonly outcome: 'refused'; readonly status: number }
  | { readonly outcome: 'ended'; readonly status: number; readonly output: string; /** By Ctrl-C, pressed twice, or a cut of its output. */ readonly stopped: boolean };

/** Judges one line, waits for approvals, records it, runs it on the target and shows what comes: one inspected exec (ssh.md 7). */
export async function runLine(parts: ShellParts, ask: LineAsk): Promise<LineEnd> {
  const { context, channel, screen, cast } = parts;
  const facts = await context.inspect(ask.text);
  const gate = await passGate(parts, ask, facts);
  if (gate.outcome === 'refused') {
    if (!context.ended.aborted) screen.say(denialLines(gate.denial).map(context.redact));
    return { outcome: 'refused', status: gate.exitStatus };
  }
  if (ask.collect === null) cast.marker(context.redact(ask.text));
  const terminal = gate.terms.pty && ask.collect === null ? channel.terminal : null;
  const run = { text: ask.sent, operation: gate.operation, channel: channel.number, terminal, environment: channel.environment, output: 'Text' as const, crlf: channel.terminal !== null && terminal === null };
  const relay = terminal === null ? await runWithoutTerminal(parts, run, ask.collect) : await runWithTerminal(parts, run, gate.wasHeld);
  if (relay.end.denial !== null && !context.ended.aborted) {
    screen.freshLine();
    screen.say(denialLines(relay.end.denial).map(context.redact));
  }
  return { outcome: 'ended', status: statusOf(relay.end), output: relay.output, stopped: relay.end.stopRequested };
}

async function passGate(parts: ShellParts, ask: LineAsk, facts: ShellFacts): Promise<Awaited<ReturnType<typeof gateCommand>>> {
  const { context, channel, input, screen } = parts;
  using cancel = cancelOnInterrupt(channel, input);
  return await gateCommand(context, {
    kind: 'Exec', channel: channel.number, text: ask.text, items: shellItems(facts), cwd: ask.cwd, pty: channel.terminal !== null && ask.collect === null, environment: channel.environment,
    stdin: false, wrap: context.ssh.loginShell.wrap, byteExact: false, facts: { level: 'CommandMode', ...(ask.collect === null ? {} : { moves: true }) },
  }, { tell: (lines) => screen.say(lines.map(context.redact)), cancelled: cancel.signal, hasInput: () => false });
}

type Run = Parameters<typeof runCommand>[1];
interface Relayed { readonly end: CommandEnd; readonly output: string }

/** Standard input is at its end. Ctrl-C sends INT, once more stops. */
async function runWithoutTerminal({ context, channel, input, screen, cast }: ShellParts, run: Run, collect: LineAsk['collect']): Promise<Relayed> {
  const stop = new AbortController();
  let listener: ChannelListener = {};
  let presses = 0;
  let isWaiting = false;
  const press = (): void => {
    presses += 1;
    screen.draw('^C\r\n');
    if (presses > 1) stop.abort();
    else if (listener.signal === undefined) isWaiting = true;
    else listener.signal('INT');
  };
  const listen: CommandIo['listen'] = (next) => {
    listener = next;
    channel.listen(next);
    // Pressed while the target was still opening its channel.
    if (isWaiting) next.signal?.('INT');
    isWaiting = false;
  };
  const unwatch = watchInterrupts(channel, input, press);
  const collected = collect === null ? null : openCollector(collect.limitBytes);
  try {
    const end = await runCommand(context, run, {
      stdout: collected?.stream ?? screen.stdout, stderr: screen.stderr, input: null, cast: collected === null ? commandCast(cast) : silentCast, listen, stop: AbortSignal.any([stop.signal, channel.closed, context.ended]),
    });
    return { end, output: collected?.text() ?? '' };
  } finally {
    unwatch();
    channel.listen({});
  }
}

/** A channel of its own with the user's terminal: bytes pass both ways as they come, until the program ends. */
async function runWithTerminal(parts: ShellParts, run: Run, wasHeld: boolean): Promise<Relayed> {
  const { context, channel, input, screen, cast } = parts;
  // What was typed while an approver looked, and what is left of a paste, was not meant for a program that has the terminal.
  if (wasHeld || parts.isPasting()) input.drop(parts.isPasting());
  parts.endPaste();
  const lent = input.lend();
  try {
    const end = await runCommand(context, run, { stdout: screen.stdout, stderr: screen.stdout, input: lent.stream, cast: commandCast(cast), listen: (next) => channel.listen(next), stop: AbortSignal.any([channel.closed, context.ended]) });
    // A program that did not end by itself leaves the terminal as it was: alternate screen, hidden cursor, mouse reports.
    if (end.exit === null || !('status' in end.exit)) screen.draw('\x1b[!p\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?25h\x1b[0m\r\n');
    return { end, output: '' };
  } finally {
    lent.end();
    channel.listen({});
  }
}

/** Runs a permitted command of the prompt's own: its output is masked like any, goes nowhere else, and is empty when it is longer than the limit. Standard error is dropped. */
export async function collectQuietly(context: SshContext, channel: SessionChannel, run: Pick<Run, 'text' | 'operation'>, limitBytes: number, stop: AbortSignal): Promise<{ readonly output: string; readonly status: number }> {
  const collected = openCollector(limitBytes);
  const dropped = openCollector(0);
  const end = await runCommand(context, { ...run, channel: channel.number, terminal: null, environment: channel.environment, output: 'Text', crlf: false }, {
    stdout: collected.stream, stderr: dropped.stream, input: null, cast: silentCast, listen: () => undefined, stop: AbortSignal.any([stop, channel.closed, context.ended, AbortSignal.timeout(completionMs)]),
  });
  return { output: collected.text(), status: statusOf(end) };
}

/** Longest wait for a completion. */
const completionMs = 5000;

/** The recording goes on when a command ends. */
function commandCast(cast: CastRecorder): CastRecorder {
  return { output: (bytes, stream) => cast.output(bytes, stream), resize: (columns, rows) => cast.resize(columns, rows), marker: (label) => cast.marker(label), exit: () => undefined, flush: () => cast.flush(), close: async () => undefined };
}

const silentCast: CastRecorder = { output: () => undefined, resize: () => undefined, marker: () => undefined, exit: () => undefined, flush: () => undefined, close: async () => undefined };

function openCollector(limitBytes: number): { readonly stream: Writable; readonly text: () => string } {
  const chunks: Buffer[] = [];
  let length = 0;
  const stream = new Writable({
    decodeStrings: true,
    write: (chunk: Buffer, _encoding, done) => {
      length += chunk.length;
      if (length <= limitBytes) chunks.push(Buffer.from(chunk));
      done();
    },
  });
  return { stream, text: () => (length > limitBytes ? '' : Buffer.concat(chunks).toString('utf8').replaceAll('\r\n', '\n')) };
}
