import { readStartup } from '../../sidecar/postgres/startup.ts';
import { int32 } from '../leaks/raw-client.ts';
import { memorySockets } from './memory-sockets.ts';
import { pieces } from './hostile-frames.ts';
import { type Random, seededRandom } from './random.ts';
import { type Watch, within } from './watch.ts';

const limitMs = 5_000;

/** Sends so many random startup packets to `readStartup`; each must be answered, refused or dropped, and close. */
export async function fuzzStartup(count: number, seed: number, watch: Watch): Promise<Readonly<Record<string, number>>> {
  const outcomes: Record<string, number> = {};
  for (let from = 0; from < count; from += 64) {
    await Promise.all(Array.from({ length: Math.min(64, count - from) }, async (_, index) => {
      const outcome = await startOnce(seed + from + index, watch);
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }));
  }
  return outcomes;
}

async function startOnce(seed: number, watch: Watch): Promise<string> {
  const random = seededRandom(seed);
  const [client, server] = memorySockets();
  client.resume();
  const startup = readStartup(server, { tls: null, allowPlaintextLoopback: true, signal: new AbortController().signal });
  const bytes = startupBytes(random);
  for (const piece of pieces(bytes, random)) client.write(piece);
  client.end();
  const outcome = await within(watch, limitMs, () => `startup, seed ${seed}: ${bytes.toString('hex').slice(0, 200)}`, startup);
  if (outcome?.kind === 'session' && (outcome.user === '' || outcome.database === '' || outcome.tls !== null)) watch.report('startup', `seed ${seed}: accepted without user or database`);
  client.destroy();
  server.destroy();
  return outcome?.kind === 'closed' ? `closed ${outcome.code ?? 'by peer'}` : (outcome?.kind ?? 'hang');
}

const codes = [196_608, 196_608, 196_608, 196_610, 196_617, 131_072, 262_144, 80_877_102, 80_877_103, 80_877_104, 80_877_105, 0, 0xffffffff] as const;
const parameterNames = ['user', 'database', 'options', 'application_name', 'client_encoding', 'replication', 'DateStyle', 'datestyle', 'search_path', '_pq_.x', '_pq_.y', 'session_preload_libraries', '', 'ü', 'a'.repeat(300)] as const;
const parameterValues = ['', 'me', 'postgres', 'on', 'off', 'database', 'UTF8', 'SJIS', '-c', '-c=', '-c =', '-c a', '-c a=b', '-c\\ a=b', '--a=b', '--=', '-c '.repeat(300), '\\'.repeat(100), ' '.repeat(200), '-c DateStyle=ISO --TimeZone=UTC', 'x'.repeat(4_000), '%?&@/', '\u00e9'] as const;
const lengths = [0, 1, 3, 4, 7, 8, 9, 9_999, 10_000, 10_001, 65_536, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff] as const;

/** Up to three packets, mostly well formed, some with a wrong length, some cut off, some noise. */
export function startupBytes(random: Random): Buffer {
  const packets = Array.from({ length: random.weighted([[6, 1], [3, 2], [1, 3]]) }, () => packet(random));
  const bytes = Buffer.concat(packets);
  return random.chance(0.1) ? bytes.subarray(0, random.int(bytes.length + 1)) : bytes;
}

function packet(random: Random): Buffer {
  if (random.chance(0.05)) return random.bytes(random.int(60));
  const code = random.pick(codes);
  const pairs = Array.from({ length: random.int(6) }, () => `${random.pick(parameterNames)}\0${random.pick(parameterValues)}\0`);
  if (random.chance(0.5)) pairs.unshift('user\0me\0database\0postgres\0');
  const isRequest = code >= 80_877_102 && code <= 80_877_105;
  const body = isRequest ? (random.chance(0.7) ? random.bytes(code === 80_877_102 ? random.pick([8, 8, 36, 3, 300]) : 0) : random.bytes(random.int(20))) : Buffer.from(`${pairs.join('')}${random.chance(0.9) ? '\0' : ''}`);
  const spoilt = random.chance(0.1) && body.length > 0 ? spoilByte(body, random) : body;
  const length = random.chance(0.1) ? random.pick(lengths) : spoilt.length + 8;
  return Buffer.concat([int32(length | 0), int32(code | 0), spoilt]);
}

function spoilByte(body: Buffer, random: Random): Buffer {
  const copy = Buffer.from(body);
  copy[random.int(copy.length)] = random.int(256);
  return copy;
}
