import { frame, startupMessage } from '../../sidecar/postgres/wire/frame-writer.ts';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import type { Random } from './random.ts';

const oddLengths = [0, 1, 3, 4, 5, 8, 9_999, 10_000, 10_001, 65_540, 262_143, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff];

/** A startup packet: well formed, mutated, or plain noise, with its length field. */
export function hostileStartup(random: Random): Buffer {
  const packet = random.weighted<() => Buffer>([
    [4, () => startupMessage(random.pick([0, 2, 9]), randomPairs(random))],
    [1, () => write.sslRequest()],
    [1, () => write.cancelRequest(random.int(0x7fffffff), random.bytes(random.pick([0, 4, 32, 256])))],
    [2, () => noise(random, 4, 200)],
  ])();
  return mutate(random, packet, 0);
}

/** A frontend frame of any type in any shape. */
export function hostileFrontendFrame(random: Random): Buffer {
  const made = random.weighted<() => Buffer>([
    [3, () => write.query(random.pick(texts))],
    [3, () => write.parse(name(random), random.pick(texts), Array.from({ length: random.int(4) }, () => random.pick([0, 23, 25])))],
    [3, () => write.bind(name(random), name(random), Array.from({ length: random.int(4) }, () => random.pick([null, '', '1', 'x'.repeat(random.int(300))])))],
    [2, () => write.describe(random.pick(['S', 'P']), name(random))],
    [3, () => write.execute(name(random), random.pick([0, 1, 2_147_483_647]))],
    [2, () => write.close(random.pick(['S', 'P']), name(random))],
    [3, () => write.sync()],
    [1, () => write.flush()],
    [1, () => frame('d', random.bytes(random.int(200)))],
    [1, () => frame(random.pick(['c', 'f', 'F', 'p', 'X']), random.bytes(random.int(40)))],
    [2, () => frame(String.fromCharCode(random.int(256)), random.bytes(random.int(100)))],
  ])();
  return mutate(random, made, 1);
}

/** A backend frame of any type in any shape. */
export function hostileBackendFrame(random: Random): Buffer {
  const made = random.weighted<() => Buffer>([
    [3, () => rowDescription(random)],
    [4, () => dataRow(random)],
    [2, () => write.commandComplete(random.pick(['SELECT 1', 'INSERT 0 1', 'nonsense', '']))],
    [2, () => write.readyForQuery(random.pick(['I', 'T', 'E']))],
    [2, () => frame(random.pick(['E', 'N']), Buffer.from(`SERROR\0VERROR\0C${random.pick(['42601', 'XX', ''])}\0Mtext\0`), random.chance(0.8) ? Buffer.of(0) : Buffer.alloc(0))],
    [1, () => write.parameterStatus(random.pick(['TimeZone', 'client_encoding', 'x']), random.pick(['UTC', '', 'y'.repeat(500)]))],
    [3, () => frame(random.pick([...'123tnsIGHWdcVAZRKv']), random.bytes(random.int(60)))],
    [2, () => frame(String.fromCharCode(random.int(256)), random.bytes(random.int(100)))],
  ])();
  return mutate(random, made, 1);
}

const texts = ['select 1', 'select $1::int', 'begin', 'commit', 'rollback', 'select 1; select 2', 'select 1/0', '', ';', "select '", 'prepare p as select 1', 'execute p', 'copy (select 1) to stdout', 'fetch all from c', 'select pg_sleep(0)', 'set search_path to public', 'drop table nope', '\u0001', 'é'.repeat(50)];

function name(random: Random): string {
  return random.pick(['', 'a', 'b', 'p', 'é', 'x'.repeat(200)]);
}

function rowDescription(random: Random): Buffer {
  const count = random.int(4);
  const body = Buffer.concat([int16(count), ...Array.from({ length: count }, () => Buffer.concat([Buffer.from('c\0'), random.bytes(16), int16(random.pick([0, 1, 7]))]))]);
  return frame('T', body);
}

function dataRow(random: Random): Buffer {
  const count = random.int(4);
  const fields = Array.from({ length: count }, () => {
    const value = random.bytes(random.int(12));
    const length = Buffer.alloc(4);
    length.writeInt32BE(random.chance(0.8) ? value.length : random.pick([-1, -2, 0x7fffffff, 5]));
    return Buffer.concat([length, value]);
  });
  return frame('D', int16(count), ...fields);
}

/** Leaves most as they are; else a wrong length, flipped bytes, a cut, or more bytes behind. `lengthAt`: where the length field stands. */
function mutate(random: Random, bytes: Buffer, lengthAt: number): Buffer {
  const copy = Buffer.from(bytes);
  switch (random.int(8)) {
    case 0:
      if (copy.length >= lengthAt + 4) copy.writeUInt32BE(random.pick(oddLengths), lengthAt);
      return copy;
    case 1:
      for (let flips = random.int(4); flips >= 0; flips--) if (copy.length > 0) copy[random.int(copy.length)] = random.int(256);
      return copy;
    case 2:
      return copy.subarray(0, random.int(copy.length + 1));
    case 3:
      return Buffer.concat([copy, random.bytes(random.int(16))]);
    default:
      return copy;
  }
}

function randomPairs(random: Random): [string, string][] {
  const names = ['user', 'database', 'options', 'client_encoding', 'application_name', 'replication', 'DateStyle', '_pq_.x', 'é', ''];
  const values = ['me', 'postgres', '', '-c=', '-c search_path=public', '--x=y', 'true', 'UTF8', 'SJIS', '\\', '-c a\\ b=c', 'z'.repeat(random.int(300))];
  return Array.from({ length: random.int(6) }, () => [random.pick(names), random.pick(values)]);
}

function noise(random: Random, min: number, max: number): Buffer {
  return random.bytes(min + random.int(max - min));
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}
