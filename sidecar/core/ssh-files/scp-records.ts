/** What the sending side of `scp -t|-f` says, in the order of its bytes. */
export type ScpRecord =
  /** A file follows: `size` bytes of content, then the end. */
  | { readonly kind: 'file'; readonly mode: string; readonly size: number; readonly name: string; readonly line: Uint8Array }
  | { readonly kind: 'directory'; readonly mode: string; readonly name: string; readonly line: Uint8Array }
  | { readonly kind: 'leave'; readonly line: Uint8Array }
  | { readonly kind: 'times'; readonly line: Uint8Array }
  /** A warning or an error of the sending side, its text with it. */
  | { readonly kind: 'message'; readonly line: Uint8Array; readonly isFatal: boolean }
  | { readonly kind: 'content'; readonly bytes: Uint8Array }
  /** After the content: `isWhole` is false when the sending side could not read all of it. */
  | { readonly kind: 'end'; readonly line: Uint8Array; readonly isWhole: boolean };

/** Reads the sending side of the protocol. */
export interface ScpReader {
  /** Records of this chunk; a problem ends the stream. */
  push(chunk: Uint8Array): { readonly records: readonly ScpRecord[]; readonly problem: string | null };
  /** The file that was announced last is not taken: no content follows. */
  skip(): void;
}

/** A line with a name of 4 KiB and what stands before it. */
const maxLineBytes = 4096 + 64;
const newline = 10;

/**
 * Reads what the sending side of scp's own protocol says, cut anywhere: lines of at most 4 KiB, and contents of the sizes that the lines announce.
 *
 * It reads no further than one announced file in a chunk, so that whoever judges can answer before its content: `push` stops there, keeps the rest, and goes on with the next call.
 */
export function createScpReader(): ScpReader {
  let line: number[] = [];
  let left: number | null = null;
  let isAtEnd = false;
  let problem: string | null = null;
  let kept: Uint8Array = new Uint8Array(0);
  return {
    skip() {
      left = null;
      isAtEnd = false;
    },
    push(chunk) {
      const bytes = kept.length === 0 ? chunk : Buffer.concat([kept, chunk]);
      kept = new Uint8Array(0);
      const records: ScpRecord[] = [];
      let at = 0;
      while (at < bytes.length && problem === null) {
        if (left !== null && left > 0) {
          const content = bytes.subarray(at, at + left);
          at += content.length;
          left -= content.length;
          records.push({ kind: 'content', bytes: content });
          isAtEnd = left === 0;
          if (isAtEnd) left = null;
          continue;
        }
        const byte = bytes[at++] ?? 0;
        if (isAtEnd && line.length === 0 && byte === 0) {
          records.push({ kind: 'end', line: Uint8Array.of(0), isWhole: true });
          isAtEnd = false;
          continue;
        }
        line.push(byte);
        if (line.length > maxLineBytes) problem = 'line too long';
        if (byte !== newline) continue;
        const record = readLine(Uint8Array.from(line), isAtEnd);
        line = [];
        isAtEnd = false;
        if (typeof record === 'string') problem = record;
        else {
          records.push(record);
          if (record.kind === 'file') {
            left = record.size;
            isAtEnd = record.size === 0;
            if (isAtEnd) left = null;
          }
          if (record.kind === 'file' || record.kind === 'directory') {
            kept = bytes.subarray(at);
            break;
          }
        }
      }
      return { records, problem };
    },
  };
}

function readLine(line: Uint8Array, isAfterContent: boolean): ScpRecord | string {
  const first = line[0];
  if (first === 1 || first === 2) return isAfterContent ? { kind: 'end', line, isWhole: false } : { kind: 'message', line, isFatal: first === 2 };
  if (isAfterContent) return 'no end after the content';
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line.subarray(0, -1));
  } catch {
    return 'a name that is not UTF-8';
  }
  if (text === 'E') return { kind: 'leave', line };
  if (/^T\d{1,19} \d{1,9} \d{1,19} \d{1,9}$/.test(text)) return { kind: 'times', line };
  const match = /^([CD])([0-7]{4}) (\d{1,15}) ([^\x00-\x1f/]{1,4096})$/.exec(text);
  if (match === null) return 'unknown record';
  const [, type, mode = '', size = '', name = ''] = match;
  if (name === '.' || name === '..') return 'a name that is none';
  return type === 'C' ? { kind: 'file', mode, size: Number(size), name, line } : { kind: 'directory', mode, name, line };
}
