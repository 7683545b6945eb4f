import type { CastHeader } from '../../../contract/audit.ts';
import type { SshLevel } from '../../../contract/proxy-config.ts';
import type { GateOutcome, SshContext } from '../context.ts';
import { gateCommand } from '../command-gate.ts';
import type { SessionChannel } from '../session-channel.ts';
import { cancelOnInterrupt } from './interrupts.ts';
import type { TypedInput } from './typed-input.ts';

/** Asks for a level on a channel: decided, held and recorded as `shell.start` like any command. */
export async function gateShell(context: SshContext, channel: SessionChannel, input: TypedInput, level: Exclude<SshLevel, 'Exec'>, tell: (lines: readonly string[]) => void): Promise<GateOutcome> {
  using cancel = cancelOnInterrupt(channel, input);
  return await gateCommand(context, {
    kind: 'Shell', channel: channel.number, text: level === 'RawShell' ? 'raw shell' : 'command prompt', items: [{ kind: 'level', level }], cwd: null, pty: channel.terminal !== null,
    environment: channel.environment, stdin: true, wrap: false, byteExact: false, facts: { level, ...(channel.droppedEnvironment.length === 0 ? {} : { dropped_environment: channel.droppedEnvironment }) },
  }, { tell: (lines) => tell(lines.map(context.redact)), cancelled: cancel.signal, hasInput: () => false });
}

/** Lines for the user while there is no recording yet: on the terminal, or on stderr without one. */
export function tellUser({ stream, terminal }: SessionChannel, lines: readonly string[]): void {
  if (stream.destroyed || stream.writableEnded) return;
  if (terminal === null) stream.stderr.write(lines.map((text) => `${text}\n`).join(''));
  else stream.write(lines.map((text) => `${text}\r\n`).join(''));
}

/** The terminal as a recording names it: its size of now. */
export function castTerminal({ terminal }: SessionChannel): CastHeader['terminal'] {
  return terminal === null ? null : { columns: terminal.columns, rows: terminal.rows, type: terminal.type };
}
