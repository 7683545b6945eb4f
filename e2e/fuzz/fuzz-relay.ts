import type { Socket } from 'node:net';
import { EqualityBudget } from '../../sidecar/core/session/equality-budget.ts';
import { createTally } from '../../sidecar/core/session/tally.ts';
import { relay } from '../../sidecar/postgres/relay/relay.ts';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { fakeClock } from '../../tools/testkit/fake-clock.ts';
import { aSession, allowAll, backend, FakeApprover, FakeInspector, FakeRecorder, frontend } from '../../tools/testkit/relay-context.ts';
import { readFrames } from './byte-client.ts';
import { backendFrame, frontendFrame, pieces, spoil } from './hostile-frames.ts';
import { memorySockets } from './memory-sockets.ts';
import { type Random, seededRandom } from './random.ts';
import { type Watch, within } from './watch.ts';

/** Which side is hostile. */
export type Side = 'client' | 'server';

const limitMs = 5_000;
const clientTypes = /^[QPBDECSHFdcfX]$/;
const serverTypes = /^[123TtnDCIsENSAZGHdcV]$/;

/**
 * Sends so many random frames through relays in memory, from a hostile client to a server that answers as it should, or from a hostile server to a client
 * that asks as it should. Each session must end when its peers are gone; what leaves on either side must be whole messages of known types.
 *
 * @returns how the sessions ended.
 */
export async function fuzzRelay(side: Side, count: number, seed: number, watch: Watch): Promise<Readonly<Record<string, number>>> {
  const ends: Record<string, number> = {};
  let frames = 0;
  for (let next = seed; frames < count; ) {
    const batch = await Promise.all(Array.from({ length: 32 }, () => session(side, next++, watch)));
    for (const one of batch) {
      frames += one.frames;
      ends[one.end] = (ends[one.end] ?? 0) + 1;
    }
  }
  return ends;
}

async function session(side: Side, seed: number, watch: Watch): Promise<{ readonly frames: number; readonly end: string }> {
  const random = seededRandom(seed);
  const [client, clientEnd] = memorySockets();
  const [server, serverEnd] = memorySockets();
  const clock = fakeClock();
  const inspector = new FakeInspector();
  inspector.masked = random.chance(0.3);
  inspector.slow = random.chance(0.3);
  inspector.pathUnknown = random.chance(0.3);
  const policies = random.chance(0.3) ? { hold: { rules: [{ name: 'all', action: 'Allow' }, { name: 'hold', action: 'RequireApproval', statements: ['Update', 'Delete'], approval: { groups: ['dba'] } }] } } : { oncall: allowAll };
  const where = (): string => `${side}, seed ${seed}`;
  const running = relay({
    client: clientEnd, clientLeftover: Buffer.alloc(0), upstream: serverEnd, upstreamLeftover: Buffer.alloc(0), session: aSession(policies as never, clock), recorder: new FakeRecorder(),
    inspector, approver: new FakeApprover(), clock, digestKey: new Uint8Array(32), equalities: new EqualityBudget(), tally: createTally(),
    log: { info: () => undefined, debug: () => undefined, error: (text, details) => watch.report('logged error', `${where()}: ${text} ${JSON.stringify(details)}`) },
    cancelUpstream: () => Promise.resolve(), onCancelReady: () => undefined,
  });
  const received = { client: readFrames(client), server: readFrames(server) };
  const frames = side === 'client' ? await attackServer(client, server, random) : await attackClient(client, server, random);
  await turn();
  if (random.chance(0.5)) client.end(write.terminate());
  else client.destroy();
  if (random.chance(0.3)) server.destroy();
  const ended = await within(watch, limitMs, where, running);
  await turn();
  for (const [to, types] of [['server', clientTypes], ['client', serverTypes]] as const) {
    for (const { type } of received[to].frames) if (!types.test(type)) watch.report('a message of unknown type left', `${where()}: to the ${to}: ${JSON.stringify(type)}`);
  }
  for (const socket of [client, clientEnd, server, serverEnd]) socket.destroy();
  return { frames, end: ended?.end.reason ?? 'hang' };
}

/** A client that sends anything; the server answers each message as PostgreSQL would. */
async function attackServer(client: Socket, server: Socket, random: Random): Promise<number> {
  answerAsServer(server);
  const frames = Array.from({ length: 1 + random.int(24) }, () => spoil(frontendFrame(random), random, 0.04));
  for (const piece of pieces(Buffer.concat(frames), random)) {
    client.write(piece);
    if (random.chance(0.2)) await turn();
  }
  return frames.length;
}

/** A server that sends anything; the client has asked something. */
async function attackClient(client: Socket, server: Socket, random: Random): Promise<number> {
  server.resume();
  const rounds = Array.from({ length: 1 + random.int(3) }, () => random.pick(conversations));
  client.write(Buffer.concat(rounds.flatMap(({ asked }) => asked)));
  await turn();
  // The right answer up to a random place, something else there, and the rest.
  const right = rounds.flatMap(({ answer }) => answer);
  const at = random.int(right.length + 1);
  const wrong = Array.from({ length: 1 + random.int(3) }, () => spoil(random.chance(0.3) && right[at] ? right[at] : backendFrame(random), random, 0.4));
  const frames = [...right.slice(0, at), ...wrong, ...right.slice(at)];
  for (const piece of pieces(Buffer.concat(frames), random)) {
    server.write(piece);
    if (random.chance(0.2)) await turn();
  }
  return frames.length;
}

const { parseComplete, bindComplete, closeComplete, noData, parameterDescription } = backend;
const rows = [backend.rowDescription('a'), backend.row('1'), backend.row(null), backend.complete('SELECT 2')];
const unnamed = (text: string): readonly Buffer[] => [write.parse('', text), write.bind('', ''), write.execute(''), write.sync()];

/** What a client asks, and what PostgreSQL answers. */
const conversations: readonly { readonly asked: readonly Buffer[]; readonly answer: readonly Buffer[] }[] = [
  { asked: [write.query('select 1')], answer: [...rows, backend.ready()] },
  { asked: [write.query('select 1; select 2')], answer: [...rows, ...rows, backend.ready()] },
  { asked: [write.query('begin'), write.query('insert into t values (1)')], answer: [backend.complete('BEGIN'), backend.ready('T'), backend.error('42P01'), backend.ready('E')] },
  { asked: [write.query('')], answer: [backend.emptyQuery, backend.ready()] },
  { asked: [write.query('copy t to stdout')], answer: [backend.copyOut(), backend.copyData('1\n'), backend.copyDone, backend.complete('COPY 1'), backend.ready()] },
  { asked: [write.query('copy t from stdin'), frontend.copyData('1\n'), frontend.copyDone], answer: [backend.copyIn(), backend.complete('COPY 1'), backend.ready()] },
  { asked: unnamed('select 1'), answer: [parseComplete, bindComplete, backend.row('1'), backend.complete('SELECT 1'), backend.ready()] },
  { asked: unnamed('copy t from stdin'), answer: [parseComplete, bindComplete, backend.copyIn(), backend.error('22P02'), backend.ready()] },
  { asked: unnamed('select nope'), answer: [backend.error('42703'), backend.ready()] },
  {
    asked: [write.parse('a', 'select 1'), write.describe('S', 'a'), write.bind('', 'a'), write.describe('P', ''), write.execute('', 5), write.close('S', 'a'), write.sync()],
    answer: [parseComplete, parameterDescription, backend.rowDescription('a'), bindComplete, backend.rowDescription('a'), backend.row('1'), backend.portalSuspended, closeComplete, backend.ready()],
  },
  { asked: [write.parse('b', 'insert into t values (1)'), write.describe('S', 'b'), write.close('S', 'b'), write.sync()], answer: [parseComplete, parameterDescription, noData, closeComplete, backend.ready()] },
  { asked: [frontend.functionCall(177)], answer: [write.frame('V', Buffer.from([255, 255, 255, 255])), backend.ready()] },
  { asked: [], answer: [backend.notice('n'), backend.notification, write.parameterStatus('TimeZone', 'UTC')] },
];

/** Says what PostgreSQL says to whole messages: complete, and failed for what stands in place of a refused one. */
function answerAsServer(server: Socket): void {
  let failed = false;
  let pending = Buffer.alloc(0);
  server.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    const answers: Buffer[] = [];
    while (pending.length >= 5 && pending.length >= pending.readUInt32BE(1) + 1) {
      const end = pending.readUInt32BE(1) + 1;
      const type = String.fromCharCode(pending[0] as number);
      const body = pending.subarray(5, end).toString('latin1');
      pending = pending.subarray(end);
      if (failed && type !== 'S') continue;
      if (type === 'S') failed = false;
      const answer = answerTo(type, body);
      if (answer.failed) failed = true;
      answers.push(...answer.frames);
    }
    if (answers.length > 0 && !server.destroyed) server.write(Buffer.concat(answers));
  });
}

function answerTo(type: string, body: string): { readonly frames: readonly Buffer[]; readonly failed?: boolean } {
  switch (type) {
    case 'Q':
      if (body.startsWith('sallyport refused')) return { frames: [backend.error('42601'), backend.ready()] };
      return { frames: [...body.slice(0, -1).split(';').filter((part) => part.trim() !== '').flatMap((part) => (part.trim().startsWith('select') ? [backend.rowDescription('a'), backend.row('1'), backend.complete('SELECT 1')] : [backend.complete('BEGIN')])), backend.ready()] };
    case 'P': return { frames: [backend.parseComplete] };
    case 'B': return { frames: [backend.bindComplete] };
    case 'D': return { frames: body.startsWith('S') ? [backend.parameterDescription, backend.rowDescription('a')] : [backend.rowDescription('a')] };
    case 'E': return body.startsWith('sallyport_refused') ? { frames: [backend.error('34000')], failed: true } : body.startsWith('sallyport_own') ? { frames: [backend.row('public'), backend.complete('SELECT 1')] } : { frames: [backend.row('1'), backend.complete('SELECT 1')] };
    case 'C': return { frames: [backend.closeComplete] };
    case 'S': return { frames: [backend.ready()] };
    case 'F': return { frames: [write.frame('V', Buffer.from([255, 255, 255, 255])), backend.ready()] };
    default: return { frames: [] };
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
