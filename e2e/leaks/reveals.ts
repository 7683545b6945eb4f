import type { LeakCase, Reveal } from './leak-case.ts';
import { type Frame, readCells, readFields } from './raw-client.ts';

/** Every sensitive value of the base that counts wherever it stands. */
const sensitiveTexts = [
  '536-22-7841', '691-08-3357', '602-31-4492', '4539628173056482', '5270934166820177', '374691205837168', 'alice@example.com', 'bob@example.com', 'carol@example.com', '1980-02-03', '1975-05-06', '1990-07-08',
];
/** Salaries: too short to count inside other numbers. */
const sensitiveNumber = /(?<![\w.-])(?:85123|91456|70001)(?![\w-]|\.\d)/;
/** acct as int8, salary as int4, dob as int4 days since 2000-01-01, of all three rows. */
const sensitiveBinary = [4539628173056482n, 5270934166820177n, 374691205837168n].map(int8).concat([85123, 91456, 70001, -7272, -9006, -3464].map(int4));

/** What a session received, taken apart. */
export interface Received {
  readonly bytes: Buffer;
  readonly frames: readonly Frame[];
  readonly binary: boolean;
  readonly elapsedMs: number;
}

/**
 * Searches what the client received for the reveals of a case and, unless the case is an inference, for any sensitive value of the base.
 *
 * @returns what was found, in words; empty when nothing leaked.
 */
export function searchReceived(received: Received, reveals: readonly Reveal[], withBase: boolean): readonly string[] {
  const found = new Set<string>();
  for (const reveal of withBase ? ['sensitive' as const, ...reveals] : reveals) {
    const hit = revealed(received, reveal);
    if (hit !== null) found.add(hit);
  }
  return [...found];
}

/** Searches records, recordings and logs: the reveals that are text, and any sensitive value of the base, also where base64 hides it. */
export function searchStored(text: string, item: LeakCase): readonly string[] {
  const texts = [text, ...decodedRuns(text)];
  const found = new Set<string>();
  for (const part of texts) {
    for (const value of sensitiveTexts) if (part.includes(value)) found.add(value);
    const number = part.match(sensitiveNumber);
    if (number) found.add(number[0]);
    for (const reveal of item.kind === 'inference' ? [] : item.reveals) {
      if (typeof reveal === 'string') continue;
      const piece = 'text' in reveal ? reveal.text : 'tag' in reveal ? reveal.tag : 'hex' in reveal ? Buffer.from(reveal.hex, 'hex').toString('latin1') : null;
      if (piece !== null && part.includes(piece)) found.add(piece);
    }
  }
  return [...found];
}

function revealed(received: Received, reveal: Reveal): string | null {
  if (reveal === 'sensitive') return sensitiveIn(received);
  if ('text' in reveal) return received.bytes.includes(Buffer.from(reveal.text)) ? `text ${reveal.text}` : null;
  if ('hex' in reveal) return received.bytes.includes(Buffer.from(reveal.hex, 'hex')) ? `hex ${reveal.hex}` : null;
  if ('cells' in reveal) return hasCells(received.frames, reveal.cells) ? `cells ${reveal.cells.join(',')}` : null;
  if ('tag' in reveal) return received.frames.some(({ type, body }) => type === 'C' && body.toString().replace(/\0$/, '') === reveal.tag) ? `tag ${reveal.tag}` : null;
  if ('sqlstate' in reveal) return received.frames.some(({ type, body }) => type === 'E' && readFields(body).get('C') === reveal.sqlstate) ? `sqlstate ${reveal.sqlstate}` : null;
  return received.elapsedMs > reveal.slower_than_ms ? `took ${Math.round(received.elapsedMs)} ms` : null;
}

function sensitiveIn(received: Received): string | null {
  for (const value of sensitiveTexts) if (received.bytes.includes(Buffer.from(value))) return value;
  for (const piece of piecesOf(received.frames)) {
    const number = piece.toString('latin1').match(sensitiveNumber);
    if (number) return number[0];
  }
  if (!received.binary) return null;
  const cells = received.frames.filter(({ type }) => type === 'D' || type === 'V' || type === 'd').flatMap(({ type, body }) => (type === 'D' ? (readCells(body) ?? []) : [body]));
  const binary = sensitiveBinary.find((value) => cells.some((cell) => cell?.includes(value)));
  return binary ? `binary ${binary.toString('hex')}` : null;
}

/** Cells and null-terminated strings: where a number can stand of its own. */
function piecesOf(frames: readonly Frame[]): readonly Buffer[] {
  return frames.flatMap(({ type, body }) => {
    if (type === 'D') return (readCells(body) ?? []).filter((cell) => cell !== null);
    if (type === 'K' || type === 'R' || type === 'Z') return [];
    return [body];
  });
}

/** The cells, whole and in this order; others may lie between. */
function hasCells(frames: readonly Frame[], wanted: readonly string[]): boolean {
  let next = 0;
  for (const { type, body } of frames) {
    if (type !== 'D') continue;
    for (const cell of readCells(body) ?? []) if (next < wanted.length && cell?.toString() === wanted[next]) next++;
  }
  return next === wanted.length;
}

function decodedRuns(text: string): readonly string[] {
  return [...text.matchAll(/[A-Za-z0-9+/]{12,}={0,2}/g)].map(([run]) => Buffer.from(run, 'base64').toString('latin1'));
}

function int8(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
}

function int4(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
