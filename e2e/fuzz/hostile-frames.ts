import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { cstring, int16, int32, message } from '../leaks/raw-client.ts';
import type { Random } from './random.ts';

/** Every length that has broken a parser somewhere: too small, around the caps, around the edges of the integer types. */
const evilLengths = [0, 1, 2, 3, 4, 5, 9_999, 10_000, 10_001, 29_999, 30_000, 30_001, 65_539, 65_540, 65_541, 262_144, 263_168, 263_169, 1_048_576, 1_048_577, 16_777_216, 16_777_217, 0x3fffffff, 0x40000000, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff] as const;

const texts = [
  '', ' ', ';', '-- c', '/* c */', '/*', 'select 1', 'select 1; select 2', 'select $1', 'select $1::int4 + $2', 'selec', 'select "', "select '", 'select $$', 'select $a$ $b$', 'begin', 'commit', 'rollback', 'savepoint a', 'rollback to a',
  'insert into t values (1)', 'update t set a = 1', 'delete from t', 'prepare s1 as select 1', 'execute s1', 'execute s1(1, 2)', 'deallocate all', 'declare p1 cursor for select 1', 'fetch all from p1', 'close p1', 'discard all',
  'copy t from stdin', 'copy t to stdout', 'copy (select 1) to stdout (format binary)', 'set search_path to x', 'set standard_conforming_strings to off', "set client_encoding to 'SJIS'", 'show all', 'explain select 1', 'do $$begin end$$', 'call p()',
  'select * from generate_series(1, 100)', "select repeat('x', 100000)", 'listen a', 'notify a', 'lock table t', 'vacuum', 'create temp table x (a int)', 'select U&"\\0061"', "select E'\\'", 'select 1\u0000', '\ufeffselect 1', 'sélect ü', '((((((((((', 'select '.repeat(20),
] as const;
const names = ['', '', '', 's1', 's2', 'p1', 'sallyport_refused_', 'sallyport_own_', 'a'.repeat(300), 'ü', ' '] as const;

/** A frontend message of any type whose body means something, before it is spoilt. */
export function frontendFrame(random: Random): Buffer {
  const name = (): Buffer => cstring(random.pick(names));
  switch (random.weighted([[12, 'Q'], [12, 'P'], [12, 'B'], [6, 'D'], [12, 'E'], [5, 'C'], [14, 'S'], [3, 'H'], [3, 'F'], [4, 'd'], [2, 'c'], [1, 'f'], [0.3, 'p'], [0.5, 'X']] as const)) {
    case 'Q': return message('Q', cstring(random.pick(texts)));
    case 'P': return message('P', Buffer.concat([name(), cstring(random.pick(texts)), counted(random, () => int32(random.pick([0, 23, 25, -1])))]));
    case 'B': return message('B', Buffer.concat([name(), name(), counted(random, () => int16(random.weighted([[20, 0], [20, 1], [1, 2]]))), counted(random, () => cell(random)), counted(random, () => int16(random.weighted([[20, 0], [20, 1], [1, 7]])))]));
    case 'D': return message('D', Buffer.concat([Buffer.from(random.weighted([[20, 'S'], [20, 'P'], [1, 'X'], [1, '\0']])), name()]));
    case 'E': return message('E', Buffer.concat([name(), int32(random.pick([0, 1, 2, -1, 0x7fffffff]))]));
    case 'C': return message('C', Buffer.concat([Buffer.from(random.weighted([[20, 'S'], [20, 'P'], [1, 'Q']])), name()]));
    case 'S': return write.sync();
    case 'H': return write.flush();
    case 'F': return message('F', Buffer.concat([int32(random.pick([177, 0, -1])), counted(random, () => int16(1)), counted(random, () => cell(random)), int16(1)]));
    case 'd': return message('d', random.bytes(random.int(40)));
    case 'c': return message('c', Buffer.alloc(0));
    case 'f': return message('f', cstring('no'));
    case 'p': return message('p', cstring('token'));
    default: return write.terminate();
  }
}

/** A backend message of any type whose body means something, before it is spoilt. */
export function backendFrame(random: Random): Buffer {
  switch (random.pick(['T', 'T', 'D', 'D', 'D', 'C', 'C', 'Z', 'Z', '1', '2', '3', 'n', 't', 's', 'I', 'E', 'E', 'N', 'S', 'A', 'G', 'H', 'W', 'd', 'c', 'V', 'R', 'K', 'v'] as const)) {
    case 'T': return message('T', counted(random, () => Buffer.concat([cstring(random.pick(['a', '', 'x'.repeat(70)])), int32(0), int16(0), int32(25), int16(-1), int32(-1), int16(random.pick([0, 0, 0, 1, 2]))])));
    case 'D': return message('D', counted(random, () => cell(random)));
    case 'C': return message('C', cstring(random.pick(['SELECT 1', 'INSERT 0 1', 'BEGIN', '', 'select', 'X'.repeat(200), 'COPY 1', 'SELECT 1 2 3 4'])));
    case 'Z': return message('Z', Buffer.from(random.pick(['I', 'I', 'T', 'E', 'X', '', 'II'])));
    case 't': return message('t', counted(random, () => int32(25)));
    case 'E': return message('E', fields(random, random.pick(['ERROR', 'ERROR', 'FATAL', 'PANIC', 'nonsense'])));
    case 'N': return message('N', fields(random, 'NOTICE'));
    case 'S': return message('S', Buffer.concat([cstring(random.pick(['TimeZone', 'client_encoding', 'standard_conforming_strings', 'x', ''])), cstring(random.pick(['UTC', 'on', 'off', 'UTF8', 'SJIS', 'z'.repeat(500)]))]));
    case 'A': return message('A', Buffer.concat([int32(1), cstring('channel'), cstring('payload')]));
    case 'G': return message('G', Buffer.concat([Buffer.of(0), counted(random, () => int16(0))]));
    case 'H': return message('H', Buffer.concat([Buffer.of(random.int(3)), counted(random, () => int16(0))]));
    case 'W': return message('W', Buffer.concat([Buffer.of(0), int16(0)]));
    case 'd': return message('d', random.bytes(random.int(60)));
    case 'V': return message('V', cell(random));
    case 'R': return message('R', int32(random.pick([0, 3, 5, 10])));
    case 'K': return message('K', random.bytes(8));
    case 'v': return message('v', Buffer.concat([int32(196_610), int32(0)]));
    case '1': return message('1', Buffer.alloc(0));
    case '2': return message('2', Buffer.alloc(0));
    case '3': return message('3', Buffer.alloc(0));
    case 'n': return message('n', Buffer.alloc(0));
    case 's': return message('s', Buffer.alloc(0));
    case 'I': return message('I', Buffer.alloc(0));
    default: return message('c', Buffer.alloc(0));
  }
}

/**
 * Spoils a frame, or leaves it: another length, type or byte, a body cut off or longer, random bytes.
 *
 * @param share of frames that are spoilt.
 */
export function spoil(frame: Buffer, random: Random, share: number): Buffer {
  if (!random.chance(share)) return frame;
  const copy = Buffer.from(frame);
  switch (random.int(7)) {
    case 0:
      copy.writeUInt32BE(random.pick(evilLengths), 1);
      return copy;
    case 1:
      copy.writeUInt32BE(Math.max(0, copy.readUInt32BE(1) + random.int(5) - 2), 1);
      return copy;
    case 2:
      copy[0] = random.int(256);
      return copy;
    case 3:
      for (let flips = 1 + random.int(3); flips > 0; flips--) copy[5 + random.int(Math.max(1, copy.length - 5))] = random.int(256);
      return copy;
    case 4:
      return relength(copy.subarray(0, 5 + random.int(Math.max(1, copy.length - 4))));
    case 5:
      return relength(Buffer.concat([copy, random.bytes(1 + random.int(20))]));
    default:
      return random.bytes(1 + random.int(40));
  }
}

function relength(frame: Buffer): Buffer {
  const copy = Buffer.from(frame);
  if (copy.length >= 5) copy.writeUInt32BE(copy.length - 1, 1);
  return copy;
}

/** A count of 16 bits that is mostly true, and what it counts. */
function counted(random: Random, make: () => Buffer): Buffer {
  const items = Array.from({ length: random.weighted([[6, 0], [6, 1], [4, 2], [1, 5]]) }, make);
  const count = random.chance(0.98) ? items.length : random.pick([-1, 1, 3, 32_767, 65_535]);
  return Buffer.concat([int16(count > 32_767 ? count - 65_536 : count), ...items]);
}

function cell(random: Random): Buffer {
  const value = random.pick(['', '1', 'abc', '123-45-6789', '\u0000']);
  return random.weighted<() => Buffer>([[30, () => Buffer.concat([int32(Buffer.byteLength(value)), Buffer.from(value)])], [10, () => int32(-1)], [0.5, () => int32(-2)], [0.5, () => int32(0x7fffffff)]])();
}

function fields(random: Random, severity: string): Buffer {
  const all = [`S${severity}`, `V${severity}`, `C${random.pick(['42601', '34000', '57014', 'XXXXX', '', 'toolong'])}`, `M${random.pick(['no', '', 'value 123-45-6789'])}`, 'Ddetail', 'Hhint', 'P1'];
  const kept = all.filter(() => random.chance(0.85));
  return Buffer.concat([...kept.map(cstring), random.chance(0.93) ? Buffer.of(0) : Buffer.alloc(0)]);
}

/** Cuts bytes into random pieces, or leaves them whole. */
export function pieces(bytes: Buffer, random: Random): readonly Buffer[] {
  if (random.chance(0.6)) return [bytes];
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + 1 + random.int(random.chance(0.3) ? 3 : 64));
    parts.push(bytes.subarray(at, end));
    at = end;
  }
  return parts;
}
