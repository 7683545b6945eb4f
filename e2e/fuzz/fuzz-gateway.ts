import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { allowEverything, startWorld, type World } from '../hosts/gateway.ts';
import { readBind } from '../../sidecar/postgres/wire/bind.ts';
import { readNamed } from '../../sidecar/postgres/wire/named.ts';
import { readParse } from '../../sidecar/postgres/wire/parse.ts';
import type { RawTarget } from '../leaks/raw-client.ts';
import { openByteClient, readFrames } from './byte-client.ts';
import { frontendFrame, pieces, spoil } from './hostile-frames.ts';
import { startupBytes } from './fuzz-startup.ts';
import { type Random, seededRandom } from './random.ts';
import type { Watch } from './watch.ts';

/** What the run through a real gateway showed. */
export interface GatewayFigures {
  readonly sessions: number;
  readonly frames: number;
  readonly startups: number;
  readonly control: { readonly queries: number; readonly slowestMs: number };
  readonly rssMiB: { readonly before: number; readonly peak: number; readonly after: number };
  readonly descriptors: { readonly before: number; readonly after: number };
}

const policies = `${allowEverything}---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: masked}
spec:
  subjects: [{kind: Group, name: ci}]
  targets: {names: [db]}
  rules:
  - {name: all, action: Allow, postgres: {statements: [Select, Insert, Update, Delete, CopyOut, CopyIn, Explain, Set, Create, Lock]}}
  masking:
  - {columns: [public.people.ssn], style: Redact}
  - {detectors: [us-ssn], style: Redact}
`;

/**
 * Sends random frames over TLS to a real gateway with a real PostgreSQL behind it, and random startup packets over real sockets, several at a time.
 *
 * A control session on the same gateway must be answered all the time; afterwards the audit log must verify and the log hold no error.
 */
export async function fuzzGateway(counts: { readonly frames: number; readonly startups: number }, seed: number, watch: Watch): Promise<GatewayFigures> {
  await using world = await startWorld({ policies });
  const targets = await Promise.all(['engineer', 'ci-job'].map(async (id): Promise<RawTarget> => ({ port: world.port, ca: world.ca, user: 'me', database: 'postgres', password: await world.token(id) })));
  const control = await startControl(targets[0] as RawTarget, watch);
  await control.query('create table people (name text, ssn text); create table t (a int4, b text); insert into people values (\'a\', \'123-45-6789\')');
  const rss = watchProcess(world);
  const before = { rss: rss.now(), descriptors: rss.descriptors() };
  const done = { sessions: 0, frames: 0, startups: 0 };
  let next = seed;
  await Promise.all([
    ...Array.from({ length: 6 }, async (_, index) => {
      while (done.frames < counts.frames) {
        done.frames += await attack(targets[index % 2] as RawTarget, next++, watch);
        done.sessions++;
      }
    }),
    ...Array.from({ length: 4 }, async (_, index) => {
      while (done.startups < counts.startups) {
        done.startups++;
        await startupOverSocket(world.port, `127.0.0.${2 + index}`, next++, watch);
      }
    }),
  ]);
  const figures = await control.stop();
  await world.gateway.stop();
  // The log is read once the process has said everything.
  for (const line of world.gateway.stderr().split('\n')) if (line.includes('"level":"error"') || /^\s+at |Error:/.test(line)) watch.report('error in the gateway’s log', line);
  verifyRecords(world, watch);
  return { ...done, control: figures, rssMiB: { before: mib(before.rss), peak: mib(rss.peak()), after: mib(rss.last()) }, descriptors: { before: before.descriptors, after: rss.lastDescriptors() } };
}

const limitMs = 15_000;

/** One session: random frames, mostly legal, until the session is over or the frames are; then a Sync must be answered or the connection be closed. */
async function attack(target: RawTarget, seed: number, watch: Watch): Promise<number> {
  const random = seededRandom(seed);
  const client = await openByteClient(target, limitMs).catch((error: unknown) => watch.report('no session', `seed ${seed}: ${String(error)}`));
  if (!client) return 1;
  // Most sessions stay legal, so that they live long; the others die of the first broken frame.
  const share = random.chance(0.8) ? 0 : 0.05;
  const frames = Array.from({ length: 5 + random.int(share === 0 ? 400 : 40) }, () => spoil(share === 0 ? legalFrame(random) : frontendFrame(random), random, share));
  for (const piece of pieces(Buffer.concat(frames), random)) client.socket.write(piece);
  await endOf(client.socket, random);
  if (!(await client.wait(() => false, limitMs))) watch.report('hang', `gateway, seed ${seed}`);
  client.destroy();
  return frames.length;
}

/** No Terminate, and nothing that breaks the protocol in every state. */
function legalFrame(random: Random): Buffer {
  for (;;) {
    const frame = frontendFrame(random);
    if (isWellFormed(frame)) return frame;
  }
}

function isWellFormed(frame: Buffer): boolean {
  const type = String.fromCharCode(frame[0] as number);
  const body = frame.subarray(5);
  try {
    if (type === 'P') readParse(frame, 0, frame.length);
    else if (type === 'B') readBind(frame, 0, frame.length);
    else if (type === 'D' || type === 'C') readNamed(frame, 0, frame.length);
    else if (type === 'Q') return body.indexOf(0) === body.length - 1;
    return type !== 'p' && type !== 'X';
  } catch {
    return false;
  }
}

/** Leaves a COPY and a pipeline, or cuts the line; a frame that declares more than was sent never gets there, so the line is cut in the end. */
async function endOf(socket: Socket, random: Random): Promise<void> {
  if (random.chance(0.3)) {
    socket.destroy();
    return;
  }
  socket.write(Buffer.concat([write.frame('f', Buffer.from('no\0')), write.sync(), write.terminate()]));
  const cut = setTimeout(() => { socket.destroy(); }, 1_000);
  socket.once('close', () => clearTimeout(cut));
  await Promise.resolve();
}

async function startupOverSocket(port: number, localAddress: string, seed: number, watch: Watch): Promise<void> {
  const random = seededRandom(seed);
  const socket = connect({ host: '127.0.0.1', port, localAddress });
  const client = readFrames(socket);
  const bytes = startupBytes(random);
  for (const piece of pieces(bytes, random)) socket.write(piece);
  socket.end();
  if (!(await client.wait(() => false, limitMs))) watch.report('hang', `startup over a socket, seed ${seed}: ${bytes.toString('hex').slice(0, 200)}`);
  client.destroy();
}

/** A session beside the hostile ones: a query every 50 ms, each answered. */
async function startControl(target: RawTarget, watch: Watch): Promise<{ query(text: string): Promise<void>; stop(): Promise<GatewayFigures['control']> }> {
  const client = await openByteClient(target, limitMs);
  let [queries, slowestMs, running] = [0, 0, true];
  const query = async (text: string): Promise<void> => {
    const [started, from] = [performance.now(), client.frames.length];
    client.socket.write(write.query(text));
    const answered = await client.wait((frames) => frames.slice(from).some(({ type }) => type === 'Z'), limitMs);
    if (!answered || client.closed) watch.report('control session', client.closed ? 'closed' : 'not answered');
    slowestMs = Math.max(slowestMs, performance.now() - started);
    queries++;
  };
  const loop = (async (): Promise<void> => {
    while (running && !client.closed) {
      await query('select 1');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  return {
    query: async (text) => {
      const other = await openByteClient(target, limitMs);
      const from = other.frames.length;
      other.socket.write(write.query(text));
      await other.wait((frames) => frames.slice(from).some(({ type }) => type === 'Z'), limitMs);
      other.destroy();
    },
    stop: async () => {
      running = false;
      await loop;
      client.destroy();
      return { queries, slowestMs: Math.round(slowestMs) };
    },
  };
}

/** Resident set and descriptors of the gateway, from /proc. */
function watchProcess(world: World): { now(): number; peak(): number; last(): number; descriptors(): number; lastDescriptors(): number } {
  const { pid } = world.gateway.child;
  let [peak, last, lastDescriptors] = [0, 0, 0];
  const now = (): number => Number(/VmRSS:\s+(\d+)/.exec(readProc(`/proc/${pid}/status`))?.[1] ?? 0) * 1_024;
  const descriptors = (): number => spawnSync('ls', [`/proc/${pid}/fd`]).stdout.toString().split('\n').length - 1;
  const timer = setInterval(() => {
    const read = now();
    if (read === 0) return clearInterval(timer);
    last = read;
    lastDescriptors = descriptors();
    peak = Math.max(peak, read);
  }, 500);
  timer.unref();
  return { now, peak: () => peak, last: () => last, descriptors, lastDescriptors: () => lastDescriptors };
}

function readProc(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

const programPath = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));

function verifyRecords(world: World, watch: Watch): void {
  const verified = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', programPath, 'audit', 'verify', '--data', world.dataDirectory], { encoding: 'utf8' });
  if (verified.status !== 0) watch.report('audit verify', `${verified.stdout}${verified.stderr}`.slice(0, 2_000));
}

function mib(bytes: number): number {
  return Math.round(bytes / 1_048_576);
}
