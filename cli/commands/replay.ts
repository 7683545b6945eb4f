import fs from 'node:fs';
import { createGunzip } from 'node:zlib';
import { readLines } from '../../sidecar/adapters/line-reader.ts';
import type { CommandIo } from '../gateway-client.ts';
import { readOptions, UsageError } from '../options.ts';
import { type CastEvent, castHeaderOf, type CastView, parseCastEvent, screenView, textView } from '../replay/cast.ts';
import { findRecordings, type SessionRecordings } from '../replay/find-recordings.ts';
import { KeyControl, play } from '../replay/play.ts';
import { parseEvent, type RecordedEvent } from '../replay/recorded-event.ts';
import { EventRenderer, headerOf } from '../replay/render-event.ts';
import { AsciicastWriter } from '../replay/to-asciicast.ts';

export const summary: string = 'play a recorded session in the terminal, or dump it with --text';

const usage = `usage: sallyport replay SESSION --data DIR [--channel N] [--speed N] [--max-wait SECONDS] [--text | --json | --asciicast]

Plays what the user saw, masked as it was, at the speed it happened. The beginning of the session's name is enough.
  --channel N     one channel of an SSH session (default: all, one after the other)
  --speed N       N times as fast (default 1); keys while playing: space pauses, + and - change the speed, q quits
  --max-wait S    no pause longer than S seconds (default 3)
  --text          everything at once
  --json          the recording's own lines
  --asciicast     an asciicast v3 of one channel, for asciinema 3 and asciinema-player 3.10 or newer
`;

/** `sallyport replay`. Exit 0, 1 when there is no such recording or it is damaged, 4 on wrong usage. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  try {
    const { values, flags, rest } = readOptions(argv, { data: 'text', speed: 'text', 'max-wait': 'text', channel: 'text', text: 'flag', json: 'flag', asciicast: 'flag', help: 'flag' }, { min: argv.includes('--help') ? 0 : 1, max: 1 });
    if (flags.has('help')) {
      io.stdout.write(usage);
      return 0;
    }
    const data = values.data ?? io.env['SALLYPORT_DATA'];
    if (data === undefined) throw new UsageError('--data DIR is needed');
    const speed = positive(values.speed ?? '1', 'speed');
    const maxWaitMs = positive(values['max-wait'] ?? '3', 'max-wait') * 1000;
    const channel = values.channel === undefined ? null : positive(values.channel, 'channel');
    const found = findRecordings(data, rest[0] ?? '');
    if (found.kind === 'problem') return failed(io, found.problem);
    const pace = flags.has('text') ? null : { speed, maxWaitMs };
    const raw = flags.has('asciicast') ? 'asciicast' : flags.has('json') ? 'json' : null;
    return found.kind === 'sqlrec' ? await playStatements(found.path, raw, pace, io) : await playChannels(found, channel, raw, pace, io);
  } catch (error) {
    if (error instanceof UsageError) {
      io.stderr.write(`error: ${error.message}\n${usage}`);
      return 4;
    }
    if ((error as NodeJS.ErrnoException).code?.startsWith('Z_') !== true) throw error;
    io.stderr.write('error: the recording is damaged from here on; sallyport audit verify tells more\n');
    return 1;
  }
}

type Pace = { readonly speed: number; readonly maxWaitMs: number } | null;
type Raw = 'json' | 'asciicast' | null;

async function playStatements(path: string, raw: Raw, pace: Pace, io: CommandIo): Promise<number> {
  if (raw === 'json') return await dumpLines(path, io);
  const lines = recordingLines(path);
  const first = await lines.next();
  const header = first.done === true ? null : headerOf(first.value);
  if (header === null) return failed(io, 'this is no sqlrec/1 recording');
  const damaged = { lines: 0 };
  const write = (text: string): void => void io.stdout.write(text);
  if (raw === 'asciicast') {
    const writer = new AsciicastWriter();
    for (const line of writer.header(header)) write(`${line}\n`);
    for await (const event of events(lines, parseEvent, damaged)) for (const line of writer.event(event)) write(`${line}\n`);
    return reportDamage(damaged, io);
  }
  const renderer = new EventRenderer();
  write(renderer.header(header));
  const shown = await showEvents(events(lines, parseEvent, damaged), pace, io, (event: RecordedEvent) => write(renderer.render(event)));
  return shown ? reportDamage(damaged, io) : 0;
}

async function playChannels(found: Extract<SessionRecordings, { kind: 'casts' }>, channel: number | null, raw: Raw, pace: Pace, io: CommandIo): Promise<number> {
  const channels = found.channels.filter((one) => channel === null || one.channel === channel);
  const first = channels[0];
  if (first === undefined) return failed(io, `no recording of channel ${channel}; there are: ${found.channels.map((one) => one.channel).join(', ')}`);
  if (raw !== null) {
    if (channels.length > 1) return failed(io, `the session has ${channels.length} channels; name one: --channel ${channels.map((one) => one.channel).join(' | ')}`);
    return await dumpLines(first.path, io);
  }
  // Into a file or a pipe goes text: sequences are for a screen.
  const onScreen = pace !== null && (io.stdout as NodeJS.WriteStream).isTTY;
  const damaged = { lines: 0 };
  for (const { path } of channels) {
    const view = onScreen ? screenView() : textView();
    const outcome = await playChannel(path, view, onScreen ? pace : null, io, damaged);
    if (outcome !== null) return outcome;
  }
  return reportDamage(damaged, io);
}

/** @returns null to go on with the next channel. */
async function playChannel(path: string, view: CastView, pace: Pace, io: CommandIo, damaged: { lines: number }): Promise<number | null> {
  const lines = recordingLines(path);
  const first = await lines.next();
  const header = first.done === true ? null : castHeaderOf(first.value);
  if (header === null) return failed(io, 'this is no asciicast v3 recording');
  io.stdout.write(view.header(header));
  try {
    return (await showEvents(events(lines, parseCastEvent, damaged), pace, io, (event: CastEvent) => void io.stdout.write(view.render(event)))) ? null : 0;
  } finally {
    io.stdout.write(view.end());
  }
}

/** @returns false when the viewer quit. */
async function showEvents<T extends { readonly waitMs: number }>(all: AsyncIterable<T>, pace: Pace, io: CommandIo, show: (event: T) => void): Promise<boolean> {
  if (pace === null) {
    for await (const event of all) show(event);
    return true;
  }
  const control = new KeyControl(pace.speed);
  const release = listen(io, control);
  try {
    return await play(all, control, pace.maxWaitMs, show);
  } finally {
    release();
  }
}

function reportDamage(damaged: { readonly lines: number }, io: CommandIo): number {
  return damaged.lines === 0 ? 0 : failed(io, `${damaged.lines} damaged line(s) were left out`);
}

function failed(io: CommandIo, problem: string): 1 {
  io.stderr.write(`error: ${problem}\n`);
  return 1;
}

async function* events<T>(lines: AsyncIterable<string>, parse: (line: string) => T | null, damaged: { lines: number }): AsyncGenerator<T> {
  for await (const line of lines) {
    const event = parse(line);
    if (event === null) damaged.lines += 1;
    else yield event;
  }
}

async function dumpLines(path: string, io: CommandIo): Promise<number> {
  for await (const line of recordingLines(path)) io.stdout.write(`${line}\n`);
  return 0;
}

/** Keys only where somebody types; raw mode, so that a key works without Enter. */
function listen(io: CommandIo, control: KeyControl): () => void {
  const stdin = io.stdin as (NodeJS.ReadStream & { isTTY?: boolean }) | undefined;
  if (stdin?.isTTY !== true) return () => undefined;
  const onData = (typed: Buffer): void => control.keys(typed.toString('latin1'));
  stdin.setRawMode(true);
  stdin.on('data', onData);
  stdin.resume();
  return () => {
    stdin.off('data', onData);
    stdin.setRawMode(false);
    stdin.pause();
  };
}

async function* recordingLines(path: string): AsyncGenerator<string> {
  const file = fs.createReadStream(path, { highWaterMark: 262_144 });
  for await (const batch of readLines(path.endsWith('.gz') ? file.pipe(createGunzip()) : file)) for (const line of batch.lines) yield line.toString('utf8');
}

function positive(text: string, option: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new UsageError(`--${option} needs a number above 0`);
  return value;
}
