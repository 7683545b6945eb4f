import type { CastRecorder } from '../../contract/audit.ts';
import { statusOf } from './command-mode/exit-status.ts';
import { openScreen, type Screen } from './command-mode/screen.ts';
import { sayEndWhenItComes } from './command-mode/session-end.ts';
import { castTerminal, gateShell, tellUser } from './command-mode/shell-gate.ts';
import { openTypedInput, type TypedInput } from './command-mode/typed-input.ts';
import type { SshContext } from './context.ts';
import { finishChannel } from './finish-channel.ts';
import { type CommandObserver, observeCommands } from './observe-commands.ts';
import { runCommand } from './run-command.ts';
import type { SessionChannel } from './session-channel.ts';
import { denialLines } from './words.ts';

/** What a raw shell on an open channel uses. */
export interface RawParts {
  readonly input: TypedInput;
  readonly screen: Screen;
  readonly cast: CastRecorder;
}

/**
 * Serves a raw shell (ssh.md 7): the account's own login shell, recorded, masked as a terminal (best effort), cut when the session ends. Who, when, which account, how long and the end are enforced;
 * which commands run is not: they are read off the screen and noted as `command.observed`.
 *
 * Resolves when the channel is done.
 */
export async function serveRawShell(context: SshContext, channel: SessionChannel): Promise<void> {
  const input = openTypedInput(channel.stream, context.fail);
  const gate = await gateShell(context, channel, input, 'RawShell', (lines) => tellUser(channel, lines));
  if (gate.outcome === 'refused') {
    if (channel.terminal !== null) tellUser(channel, denialLines(gate.denial));
    finishChannel(channel.stream, { status: gate.exitStatus, lines: channel.terminal === null ? denialLines(gate.denial) : [] });
    return;
  }
  const cast = context.recorder.openCast({
    channel: channel.number, terminal: castTerminal(channel), command: null, title: `raw shell: ${context.account}@${context.session.permit.target.name}`, environment: Object.fromEntries(channel.environment),
  });
  const screen = openScreen(channel.stream, channel.terminal !== null, cast);
  const stopSaying = sayEndWhenItComes(context, channel, screen);
  try {
    const { status } = await relayRawShell(context, channel, { input, screen, cast }, gate);
    cast.exit(status);
    cast.flush();
    finishChannel(channel.stream, { status, lines: [] });
  } finally {
    stopSaying();
    await cast.close();
  }
}

/** Asks for a raw shell from the command prompt, on its channel and in its recording; resolves when that shell ended, and the prompt goes on. */
export async function openRawShell(context: SshContext, channel: SessionChannel, parts: RawParts): Promise<{ readonly outcome: 'refused' | 'ended'; readonly status: number }> {
  const gate = await gateShell(context, channel, parts.input, 'RawShell', parts.screen.say);
  if (gate.outcome === 'refused') {
    if (!context.ended.aborted) parts.screen.say(denialLines(gate.denial));
    return { outcome: 'refused', status: gate.exitStatus };
  }
  parts.cast.marker('raw shell');
  return { outcome: 'ended', ...await relayRawShell(context, channel, parts, gate) };
}

async function relayRawShell(context: SshContext, channel: SessionChannel, { input, screen, cast }: RawParts, gate: { readonly operation: number; readonly wasHeld: boolean }): Promise<{ readonly status: number }> {
  const { terminal } = channel;
  // What was typed while an approver looked was not meant for this shell.
  if (gate.wasHeld) input.drop(false);
  if (terminal !== null) screen.say(['sallyport: raw shell: recorded; commands are not judged one by one.']);
  const observer = terminal === null ? null : observeCommands(terminal, (text) => noteCommand(context, channel, gate.operation, text));
  const lent = input.lend((bytes) => observer?.typed(bytes));
  try {
    const end = await runCommand(context, { text: null, operation: gate.operation, channel: channel.number, terminal, environment: channel.environment, output: 'Text', crlf: false }, {
      stdout: screen.stdout, stderr: screen.stderr, input: lent.stream, cast: observedCast(cast, observer), listen: (listener) => channel.listen(listener), stop: AbortSignal.any([channel.closed, context.ended]),
    });
    if (end.denial !== null && !context.ended.aborted) screen.say(denialLines(end.denial));
    return { status: statusOf(end) };
  } finally {
    lent.end();
    await observer?.close();
    channel.listen({});
  }
}

/** The recording of a shell goes on, or is closed by its owner; the observer sees what is recorded: masked, before the user does. */
function observedCast(cast: CastRecorder, observer: CommandObserver | null): CastRecorder {
  return {
    output: (bytes, stream) => {
      cast.output(bytes, stream);
      observer?.shown(bytes);
    },
    resize: (columns, rows) => {
      cast.resize(columns, rows);
      observer?.resize(columns, rows);
    },
    marker: (label) => cast.marker(label), exit: () => undefined, flush: () => cast.flush(), close: () => Promise.resolve(),
  };
}

function noteCommand(context: SshContext, channel: SessionChannel, operation: number, text: string): void {
  context.recorder.note({
    code: 'command.observed', channel: channel.number, operation, decision: null, approvals: [], request: null, reason: null, facts: { text: context.redact(text), basis: 'reconstructed, not enforced' },
  });
}
