import { readLiteralCd } from '../../core/shell/literal-cd.ts';
import type { SshContext } from '../context.ts';
import { finishChannel } from '../finish-channel.ts';
import { openRawShell } from '../raw-shell.ts';
import type { SessionChannel } from '../session-channel.ts';
import { denialLines } from '../words.ts';
import { openCompletion } from './complete.ts';
import { type Answer, openLinePrompt } from './line-prompt.ts';
import { readOwnCommand } from './own-command.ts';
import { openPlainPrompt } from './plain-prompt.ts';
import { greetingLines, helpLines, promptOf } from './prompt-words.ts';
import { runLine, type ShellParts } from './run-line.ts';
import { openScreen } from './screen.ts';
import { directoryGone, movingText, readDirectory, sentText } from './sent-text.ts';
import { endedStatus, endOf, sayEndWhenItComes } from './session-end.ts';
import { castTerminal, gateShell, tellUser } from './shell-gate.ts';
import { openTypedInput } from './typed-input.ts';

/** Where the shell is, and how its last command ended. */
interface Place {
  /** Null: the account's home. */
  readonly cwd: string | null;
  /** Where it was before; null before the first move. */
  readonly previous: { readonly cwd: string | null } | null;
  readonly status: number;
}

/**
 * Serves a shell at level CommandMode (ssh.md 7): the gateway owns the terminal; each line is one inspected exec on the target. Resolves when the channel is done.
 */
export async function serveCommandMode(context: SshContext, channel: SessionChannel): Promise<void> {
  const input = openTypedInput(channel.stream, context.fail);
  // Whoever types is not idle.
  channel.stream.on('data', () => { context.session.lastActivityMs = context.clock.monotonicMs(); });
  const tell = (lines: readonly string[]): void => tellUser(channel, lines);
  const gate = await gateShell(context, channel, input, 'CommandMode', tell);
  if (gate.outcome === 'refused') {
    if (channel.terminal !== null) tell(denialLines(gate.denial));
    finishChannel(channel.stream, { status: gate.exitStatus, lines: channel.terminal === null ? denialLines(gate.denial) : [] });
    return;
  }
  const cast = context.recorder.openCast({ channel: channel.number, terminal: castTerminal(channel), command: null, title: `${context.account}@${context.session.permit.target.name}`, environment: Object.fromEntries(channel.environment) });
  let status = 255;
  try {
    status = await serveLines(context, channel, input, cast);
    cast.exit(status);
    cast.flush();
  } finally {
    context.recorder.note({
      code: 'shell.end', channel: channel.number, operation: gate.operation, decision: null, approvals: [], request: null, reason: endOf(context)?.code ?? null, facts: { level: 'CommandMode', exit_status: status },
    });
    await cast.close();
  }
  finishChannel(channel.stream, { status, lines: [] });
}

async function serveLines(context: SshContext, channel: SessionChannel, input: ShellParts['input'], cast: ShellParts['cast']): Promise<number> {
  const { terminal } = channel;
  const screen = openScreen(channel.stream, terminal !== null, cast);
  const stop = AbortSignal.any([context.ended, channel.closed]);
  const names = { account: context.account, target: context.session.permit.target.name };
  let place: Place = { cwd: null, previous: null, status: 0 };
  const plain = terminal === null ? openPlainPrompt(input, context.parser) : null;
  const complete = openCompletion(context, channel, () => place.cwd);
  const line = terminal === null ? null : openLinePrompt(input, { write: screen.draw, columns: () => terminal.columns }, context.parser, complete);
  const parts: ShellParts = { context, channel, input, screen, cast, isPasting: () => line?.isPasting() ?? true, endPaste: () => line?.endPaste() };

  const ask = async (): Promise<Answer> => {
    if (line === null) return await (plain as NonNullable<typeof plain>).ask(stop);
    screen.freshLine();
    const prompt = context.redact(promptOf({ ...names, ...place }));
    channel.listen({ resize: (size) => {
      cast.resize(size.columns, size.rows);
      line.resized();
    } });
    const answer = await line.ask(prompt, stop);
    channel.listen({});
    context.session.lastActivityMs = context.clock.monotonicMs();
    if (answer.kind === 'input' || answer.kind === 'invalid') screen.record(`${prompt}${context.redact(answer.text).replaceAll('\n', '\r\n> ')}\r\n`);
    return answer;
  };
  const dropRest = (): void => {
    input.drop(line?.isPasting() ?? false);
    line?.endPaste();
  };

  using _ = { [Symbol.dispose]: sayEndWhenItComes(context, channel, screen) };
  if (terminal !== null) screen.say(greetingLines({ ...names, username: context.session.identity.username }));
  for (;;) {
    const answer = await ask();
    if (context.ended.aborted) return endedStatus;
    switch (answer.kind) {
      case 'end':
        if (terminal !== null && !channel.closed.aborted) screen.say(['logout']);
        return place.status;
      case 'interrupted':
        place = { ...place, status: 130 };
        break;
      case 'invalid':
        screen.say([`sallyport: syntax error: ${answer.problem}`]);
        place = { ...place, status: 2 };
        dropRest();
        if (line === null) return 2;
        break;
      case 'input': {
        const next = await answerInput(parts, place, answer.text);
        place = next.place;
        if (context.ended.aborted) return endedStatus;
        if (next.dropRest) {
          dropRest();
          if (line === null) return place.status;
        }
        if (next.isOver || channel.closed.aborted) return place.status;
        break;
      }
      default:
        return answer satisfies never;
    }
  }
}

interface Answered { readonly place: Place; readonly isOver: boolean; readonly dropRest: boolean }

async function answerInput(parts: ShellParts, place: Place, text: string): Promise<Answered> {
  const { context, screen } = parts;
  const goesOn = (next: Partial<Place>, dropRest = false): Answered => ({ place: { ...place, ...next }, isOver: false, dropRest });
  const parsed = context.parser.parseShell(text);
  const parse = parsed instanceof Promise ? await parsed : parsed;
  if (isBlank(text)) return goesOn({});
  const own = readOwnCommand(text);
  switch (own?.kind) {
    case 'exit':
      return { place: { ...place, status: own.status ?? place.status }, isOver: true, dropRest: false };
    case 'help':
      screen.say(helpLines);
      return goesOn({ status: 0 });
    case 'raw': {
      const raw = await openRawShell(context, parts.channel, parts);
      return goesOn({ status: raw.status }, raw.outcome === 'refused');
    }
    default:
  }
  const cd = readLiteralCd(parse);
  return cd === null ? await runOnTarget(parts, place, text) : await move(parts, place, text, cd);
}

async function runOnTarget(parts: ShellParts, place: Place, text: string): Promise<Answered> {
  const { context, screen } = parts;
  const end = await runLine(parts, { text, sent: sentText(text, place.cwd, context.ssh.loginShell.wrap), cwd: place.cwd, collect: null });
  if (end.outcome === 'refused') return { place: { ...place, status: end.status }, isOver: false, dropRest: true };
  if (end.status === directoryGone && place.cwd !== null) {
    screen.freshLine();
    screen.say([`sallyport: exit status ${directoryGone}: ${context.redact(place.cwd)} may be gone; back to the home directory`]);
    return { place: { cwd: null, previous: { cwd: place.cwd }, status: end.status }, isOver: false, dropRest: true };
  }
  return { place: { ...place, status: end.status }, isOver: false, dropRest: end.stopped };
}

async function move(parts: ShellParts, place: Place, text: string, cd: NonNullable<ReturnType<typeof readLiteralCd>>): Promise<Answered> {
  const { context, screen } = parts;
  const goesOn = (next: Partial<Place>, dropRest = false): Answered => ({ place: { ...place, ...next }, isOver: false, dropRest });
  if (cd.to === 'previous' && place.previous === null) {
    screen.say(['sallyport: cd: there is no directory before this one']);
    return goesOn({ status: 1 });
  }
  const sent = movingText(cd, place.cwd, place.previous?.cwd ?? null, context.ssh.loginShell.wrap);
  if (sent === null) return goesOn({ cwd: null, previous: { cwd: place.cwd }, status: 0 });
  const end = await runLine(parts, { text, sent, cwd: place.cwd, collect: { limitBytes: 64 * 1024 } });
  if (end.outcome === 'refused' || end.status !== 0) return goesOn({ status: end.status }, end.outcome === 'refused' || end.stopped);
  const directory = readDirectory(end.output);
  if (directory === null) {
    screen.say(['sallyport: cd: the target did not say where that is']);
    return goesOn({ status: 1 });
  }
  if (cd.to === 'previous') screen.say([context.redact(directory)]);
  return goesOn({ cwd: directory, previous: { cwd: place.cwd }, status: 0 });
}

/** Blank lines and comments: nothing is sent. */
function isBlank(text: string): boolean {
  return text.split('\n').every((line) => /^\s*(?:#.*)?$/u.test(line));
}
