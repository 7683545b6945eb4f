import { type Denial, deny } from '../core/errors.ts';
import type { SshItem } from '../core/policy/decision.ts';
import { shellItems } from '../core/policy/ssh-items.ts';
import { checkCommandText } from '../core/shell/check-text.ts';
import { wrapForBash } from '../core/shell/quote.ts';
import { readTransferCommand } from '../core/shell/transfer-command.ts';
import type { ChannelServers } from './channel-servers.ts';
import type { ClientSession } from './client-session.ts';
import { type GateAsk, gateCommand, refuseCommand } from './command-gate.ts';
import type { SshContext } from './context.ts';
import { watchHeldInput } from './held-input.ts';
import { type CommandEnd, runCommand } from './run-command.ts';
import { denialLines } from './words.ts';

/**
 * Serves one `exec` channel: text, inspection, gate (decision, hold, intent), run, exit status. The text is captured once: what is inspected, shown, bound, recorded and sent is this string.
 */
export async function serveExec(context: SshContext, channel: ClientSession, text: string, servers: ChannelServers): Promise<void> {
  const invalid = checkCommandText(text);
  if (invalid !== null) {
    const outcome = await refuseCommand(context, askOf(context, channel, invalidText, []), deny(invalid));
    return channel.finish(denialLines(deny(invalid)), outcome.outcome === 'refused' ? outcome.exitStatus : 126);
  }
  const transfer = readTransferCommand(text);
  if (transfer !== null) return servers.transfer(context, channel, text, transfer);
  const ask = askOf(context, channel, text, shellItems(await context.inspect(text)));
  const input = watchHeldInput(channel);
  const gate = await gateCommand(context, ask, { tell: (lines) => channel.tell(lines.map(context.redact)), cancelled: input.cancelled, hasInput: input.hasInput });
  input.release();
  if (gate.outcome === 'refused') return channel.finish(denialLines(gate.denial).map(context.redact), gate.exitStatus);
  await runPermitted(context, channel, ask, gate);
}

/** Stands for a text that is none: its bytes are on no record. */
const invalidText = '(a text that no shell takes)';

function askOf(context: SshContext, channel: ClientSession, text: string, items: readonly SshItem[]): GateAsk {
  return {
    kind: 'Exec', channel: channel.number, text, items, cwd: null, pty: channel.terminal !== null, environment: channel.environment, stdin: true, wrap: context.ssh.loginShell.wrap, byteExact: false,
    facts: channel.droppedEnvironment.length === 0 ? {} : { dropped_environment: channel.droppedEnvironment },
  };
}

async function runPermitted(context: SshContext, channel: ClientSession, ask: GateAsk, gate: Extract<Awaited<ReturnType<typeof gateCommand>>, { outcome: 'permitted' }>): Promise<void> {
  const { terms } = gate;
  const terminal = terms.pty ? channel.terminal : null;
  const cast = terms.output === 'Binary' ? null : context.recorder.openCast({
    channel: channel.number, terminal: terminal === null ? null : { columns: terminal.columns, rows: terminal.rows, type: terminal.type }, command: context.redact(ask.text),
    title: `${context.account}@${context.session.permit.target.name}`, environment: Object.fromEntries(channel.environment),
  });
  const cancel = new AbortController();
  // Without a terminal of its own, a command has no keyboard: its input ends, and Ctrl-C is a signal; a second one stops it.
  const isKeyboard = channel.terminal !== null && terminal === null;
  let interrupts = 0;
  const interrupt = (send: () => void): void => {
    interrupts += 1;
    if (interrupts === 1) send();
    else cancel.abort();
  };
  const keyboard = isKeyboard ? watchHeldInput(channel) : null;
  const { stream } = channel;
  try {
    const end = await runCommand(
      context,
      { text: ask.wrap ? wrapForBash(ask.text) : ask.text, operation: gate.operation, channel: channel.number, terminal, environment: channel.environment, output: terms.output, crlf: isKeyboard },
      {
        stdout: stream, stderr: stream.stderr, cast, input: isKeyboard || (gate.wasHeld && terms.stdin === 'Closed' && terminal === null) ? null : stream,
        listen: (listener) => {
          channel.listen(listener);
          keyboard?.onInterrupt(listener.signal === undefined ? null : () => interrupt(() => listener.signal?.('INT')));
        },
        stop: AbortSignal.any([channel.closed, context.ended, cancel.signal]),
      },
    );
    if (end.exit !== null && 'status' in end.exit) cast?.exit(end.exit.status);
    finish(context, channel, end, cancel.signal.aborted);
  } finally {
    keyboard?.release();
    await cast?.close();
  }
}

/** The target's own exit status or signal; 126 where the gateway cut the output, 130 for a command that its user stopped, 255 where the target did not run it. */
function finish(context: SshContext, channel: ClientSession, end: CommandEnd, isCancelled: boolean): void {
  const { stream } = channel;
  if (end.denial !== null) return channel.finish(denialLines(end.denial).map(context.redact), statusOf(end.denial));
  if (end.exit === null) return channel.finish(isCancelled ? ['sallyport: stopped; the target did not say that the command has ended'] : [], isCancelled ? 130 : 255);
  if ('status' in end.exit) return channel.finish([], end.exit.status);
  if (!stream.writable || stream.writableEnded) return;
  // ssh2 takes the signal with its prefix off.
  stream.exit(end.exit.signal, end.exit.coreDumped, '');
  stream.stderr.end();
  stream.end();
}

function statusOf({ code }: Denial): number {
  return code === 'TARGET_UNREACHABLE' || code === 'CONNECTION_LOST' ? 255 : 126;
}
