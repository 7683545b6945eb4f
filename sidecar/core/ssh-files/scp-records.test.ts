import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createScpReader, type ScpRecord } from './scp-records.ts';

/** All records of a stream, cut into pieces of `size`. */
function readAll(stream: string | Uint8Array, size: number): { readonly words: readonly string[]; readonly problem: string | null } {
  const bytes = Buffer.from(stream);
  const reader = createScpReader();
  const words: string[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    let chunk: Uint8Array = bytes.subarray(at, at + size);
    for (;;) {
      const { records, problem } = reader.push(chunk);
      words.push(...records.map(word));
      if (problem !== null) return { words: joined(words), problem };
      if (records.length === 0) break;
      chunk = new Uint8Array(0);
    }
  }
  return { words: joined(words), problem: null };
}

function word(record: ScpRecord): string {
  switch (record.kind) {
    case 'file': return `file ${record.mode} ${record.size} ${record.name}`;
    case 'directory': return `directory ${record.mode} ${record.name}`;
    case 'content': return `+${Buffer.from(record.bytes).toString('latin1')}`;
    case 'end': return record.isWhole ? 'end' : 'broken end';
    case 'message': return record.isFatal ? 'fatal' : 'warning';
    default: return record.kind;
  }
}

/** Contents in pieces are one. */
function joined(words: readonly string[]): readonly string[] {
  const list: string[] = [];
  for (const each of words) {
    const last = list.at(-1);
    if (each.startsWith('+') && last?.startsWith('+') === true) list[list.length - 1] = `${last}${each.slice(1)}`;
    else list.push(each);
  }
  return list;
}

describe('the sending side of scp', () => {
  const stream = 'T1 0 2 0\nD0755 0 dir\nC0644 5 a.txt\nhello\0C0600 0 empty\n\0C0644 3 b\nab\n\x01cannot read\nE\n\x01warn\n\x02fatal\n';
  const words = ['times', 'directory 0755 dir', 'file 0644 5 a.txt', '+hello', 'end', 'file 0600 0 empty', 'end', 'file 0644 3 b', '+ab\n', 'broken end', 'leave', 'warning', 'fatal'];

  test('its records are the same however the stream is cut', () => {
    for (let size = 1; size <= stream.length; size++) expect(readAll(stream, size)).toEqual({ words, problem: null });
  });

  test.each([
    ['C0644 1 a/b\n', 'unknown record'], ['C0644 1 ..\n', 'a name that is none'], ['D0755 0 .\n', 'a name that is none'], ['C0644 -1 a\n', 'unknown record'], ['X\n', 'unknown record'], ['C0644 1 a\nxE\n', 'no end after the content'],
    ['C999 1 a\n', 'unknown record'], [`C0644 1 ${'n'.repeat(5000)}\n`, 'line too long'],
  ])('%j ends the transfer', (text, problem) => expect(readAll(text, 7).problem).toBe(problem));

  test('a name that is not UTF-8 ends the transfer', () => expect(readAll(Buffer.from([67, 48, 54, 52, 52, 32, 49, 32, 255, 10]), 3).problem).toBe('a name that is not UTF-8'));

  test('a file that is left out has no content', () => {
    const reader = createScpReader();
    for (const size of ['5', '0']) {
      expect(reader.push(Buffer.from(`C0644 ${size} a\n`)).records.map(word)).toEqual([`file 0644 ${size} a`]);
      reader.skip();
    }
    expect(reader.push(Buffer.from('E\n')).records.map(word)).toEqual(['leave']);
  });

  test('nothing behind an announced file is read before it was judged', () => {
    const reader = createScpReader();
    expect(reader.push(Buffer.from('C0644 1 a\nx\0E\n')).records.map(word)).toEqual(['file 0644 1 a']);
    expect(reader.push(new Uint8Array(0)).records.map(word)).toEqual(['+x', 'end', 'leave']);
  });

  test('arbitrary bytes end in records or a problem', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 20 }), (bytes, size) => {
      const { problem } = readAll(bytes, size);
      expect(problem === null || typeof problem === 'string').toBe(true);
    }), { numRuns: 500 });
  });
});
