import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Key, type KeyReader, noKeys, readKeys } from './keys.ts';

function keysOf(...chunks: readonly (string | Uint8Array)[]): readonly string[] {
  let reader: KeyReader = noKeys;
  const all: Key[] = [];
  for (const chunk of chunks) {
    const step = readKeys(reader, typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
    reader = step.reader;
    all.push(...step.keys);
  }
  return all.map((key) => (key.kind === 'text' ? `"${key.text}"` : key.name));
}

describe('keys are what terminals send', () => {
  test.each([
    ['\x01\x02\x03\x04\x05\x06', ['home', 'left', 'interrupt', 'endOfInput', 'end', 'right']],
    ['\x1b[A\x1b[B\x1b[C\x1b[D', ['previous', 'next', 'right', 'left']],
    ['\x1bOA\x1bOH\x1bOF', ['previous', 'home', 'end']],
    ['\x1b[H\x1b[F\x1b[1~\x1b[4~\x1b[7~\x1b[8~\x1b[3~', ['home', 'end', 'home', 'end', 'home', 'end', 'deleteForward']],
    ['\x1b[1;5C\x1b[1;5D\x1b[1;3C\x1bb\x1bf\x1bd\x1b\x7f', ['wordRight', 'wordLeft', 'wordRight', 'wordLeft', 'wordRight', 'deleteWordForward', 'deleteWordBack']],
    ['\x0b\x15\x17\x19\x12\x0c\x14\x09', ['killToEnd', 'killToStart', 'deleteToBlank', 'yank', 'search', 'clearScreen', 'transpose', 'complete']],
    ['ls\r', ['"ls"', 'enter']],
    ['grüße 日本 🎉', ['"grüße 日本 🎉"']],
  ] as const)('%j', (input, keys) => expect(keysOf(input)).toEqual(keys));

  test('what no key sends is not typed', () => expect(keysOf('a\x1b[99;99zb\x1b[I\x1bgc\x00d')).toEqual(['"a"', '"b"', '"c"', '"d"']));
  test('what a terminal answers to a program that ended is not typed', () => {
    expect(keysOf('\x1b]11;rgb:ffff/ffff/ffff\x07a\x1b]10;rgb:0/0/0\x1b\\b\x1bP>|xterm(390)\x1b\\c\x1b[?62;1;2cd')).toEqual(['"a"', '"b"', '"c"', '"d"']);
    expect(keysOf('\x1b]11;rgb:', 'ffff/0/0\x07a')).toEqual(['"a"']);
    expect(keysOf('\x1b]ls\r')).toEqual(['"ls"', 'enter']);
  });
  test('bytes that are not UTF-8 and C1 controls are not typed', () => expect(keysOf(Buffer.from([0x61, 0xff, 0x62, 0xc2, 0x9b, 0x63]))).toEqual(['"abc"']));
  test('an escape sequence without end is dropped after 32 bytes', () => expect(keysOf(`\x1b[${'1'.repeat(40)}`, 'x').at(-1)).toMatch(/x"$/u));
});

describe('a bracketed paste is text and ends of lines, whatever stands in it', () => {
  test('controls in it do nothing', () => expect(keysOf('\x1b[200~a\x03\x04\tb\r\nc\nd\x1b[A\x1b[201~\x03')).toEqual(['pasteStart', '"a"', '"\t"', '"b"', 'enter', '"c"', 'enter', '"d"', 'pasteEnd', 'interrupt']));
});

test('after the end of a line the bytes stay bytes: they may be for the program that it starts', () => {
  const step = readKeys(noKeys, Buffer.from('vim\riabc'), 'line');
  expect(step.keys.at(-1)).toEqual({ kind: 'key', name: 'enter' });
  expect(Buffer.from(step.rest).toString()).toBe('iabc');
});

test('a chunk may be cut anywhere', () => {
  const pieces = fc.array(fc.constantFrom('a', 'é', '日', '🎉', '\x1b[A', '\x1b[1;5D', '\x1bOH', '\x1bd', '\x03', '\x1b[200~x\x1b[201~', '\t'), { maxLength: 12 });
  fc.assert(fc.property(pieces, fc.array(fc.nat(80), { maxLength: 6 }), (input, cuts) => {
    const bytes = Buffer.from(input.join(''));
    const edges = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
    const chunks = edges.slice(1).map((end, index) => bytes.subarray(edges[index], end));
    expect(keysOf(...chunks).join('').replaceAll('""', '')).toBe(keysOf(bytes).join('').replaceAll('""', ''));
  }));
});

test('arbitrary bytes give keys in time and leave at most a short tail', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
    expect(readKeys(noKeys, bytes).reader.pending.length).toBeLessThan(140);
  }));
});
