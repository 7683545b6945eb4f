import fs from 'node:fs';
import { join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { readLines } from '../../sidecar/adapters/line-reader.ts';
import type { CommandIo } from '../gateway-client.ts';
import { readOptions, UsageError } from '../options.ts';
import { KeyControl, play } from '../replay/play.ts';
import { parseEvent, type RecordedEvent } from '../replay/recorded-event.ts';
import { EventRenderer, headerOf } from '../replay/render-event.ts';

export const summary: string = 'play a recorded session in the terminal, or dump it with --text';

const usage = `usage: sallyport replay SESSION --data DIR [--speed N] [--max-wait SECONDS] [--text | --json]

Plays what the user saw, masked as it was, at the speed it happened. The beginning of the session's name is enough.
  --speed N       N times as fast (default 1); keys while playing: space pauses, + and - change the speed, q quits
  --max-wait S    no pause longer than S seconds (default 3)
  --text          everything at once
  --json          the recording's own lines
`;

/** `sallyport replay`. Exit 0, 1 when there is no such recording or it is damaged, 4 on wrong usage. */
export async function run(argv: readonly string[], io: CommandIo): Promise<number> {
  try {
    const { values, flags, rest } = readOptions(argv, { data: 'text', speed: 'text', 'max-wait': 'text', text: 'flag', json: 'flag', help: 'flag' }, { min: argv.includes('--help') ? 0 : 1, max: 1 });
    if (flags.has('help')) {
      io.stdout.write(usage);
      return 0;
    }
    const data = values.data ?? io.env['SALLYPORT_DATA'];
    if (data === undefined) throw new UsageError('--data DIR is needed');
    const speed = positive(values.speed ?? '1', 'speed');
    const maxWaitMs = positive(values['max-wait'] ?? '3', 'max-wait') * 1000;
    const path = findRecording(data, rest[0] ?? '');
    if (typeof path !== 'string') {
      io.stderr.write(`error: ${path.problem}\n`);
      return 1;
    }
    if (flags.has('json')) return await dumpLines(path, io);
    return await show(path, flags.has('text') ? null : { speed, maxWaitMs }, io);
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

async function show(path: string, pace: { readonly speed: number; readonly maxWaitMs: number } | null, io: CommandIo): Promise<number> {
  const lines = recordingLines(path);
  const first = await lines.next();
  const header = first.done === true ? null : headerOf(first.value);
  if (header === null) {
    io.stderr.write('error: this is no sqlrec/1 recording\n');
    return 1;
  }
  const damaged = { lines: 0 };
  const write = (text: string): void => void io.stdout.write(text);
  if (pace === null) {
    const renderer = new EventRenderer();
    write(renderer.header(header));
    for await (const event of events(lines, damaged)) write(renderer.render(event));
  } else {
    const control = new KeyControl(pace.speed);
    const release = listen(io, control);
    try {
      if (!(await play(header, events(lines, damaged), control, pace.maxWaitMs, write))) return 0;
    } finally {
      release();
    }
  }
  if (damaged.lines === 0) return 0;
  io.stderr.write(`error: ${damaged.lines} damaged line(s) were left out\n`);
  return 1;
}

async function* events(lines: AsyncIterable<string>, damaged: { lines: number }): AsyncGenerator<RecordedEvent> {
  for await (const line of lines) {
    const event = parseEvent(line);
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

/** The recording of a session, named whole or by a beginning that is the only one. */
function findRecording(data: string, session: string): string | { readonly problem: string } {
  const directory = join(data, 'recordings');
  const names = fs.existsSync(directory) ? fs.readdirSync(directory).filter((name) => /\.sqlrec(\.gz)?$/.test(name)) : [];
  const own = (name: string): string => name.replace(/\.sqlrec(\.gz)?$/, '');
  const exact = names.filter((name) => own(name) === session);
  const found = exact.length > 0 ? exact : names.filter((name) => name.startsWith(session));
  const sessions = [...new Set(found.map(own))];
  if (sessions.length === 0) return { problem: `no recording of session ${session}; list them with: sallyport sessions --data ${data}` };
  if (sessions.length > 1) return { problem: `${sessions.length} sessions begin with ${session}; give more of the name` };
  return join(directory, found.find((name) => name.endsWith('.gz')) ?? found[0] ?? '');
}

function positive(text: string, option: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new UsageError(`--${option} needs a number above 0`);
  return value;
}
