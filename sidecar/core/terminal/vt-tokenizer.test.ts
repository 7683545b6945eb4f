import { describe, expect, test } from '@jest/globals';
import { cellWidth } from './cell-width.ts';
import { type VtKind, VtTokenizer } from './vt-tokenizer.ts';

function tokens(text: string, bytewise: boolean = false): readonly (readonly [VtKind | 'text', string])[] {
  const found: [VtKind | 'text', string][] = [];
  const tokenizer = new VtTokenizer({
    text: (bytes) => {
      const last = found.at(-1);
      if (last?.[0] === 'text') last[1] += bytes;
      else found.push(['text', bytes]);
    },
    sequence: (bytes, kind) => void found.push([kind, bytes]),
  });
  const bytes = Buffer.from(text, 'utf8').toString('latin1');
  for (const piece of bytewise ? bytes : [bytes]) tokenizer.push(piece);
  tokenizer.end();
  return found.map(([kind, part]) => [kind, Buffer.from(part, 'latin1').toString('utf8')] as const);
}

describe.each([false, true])('byte by byte: %s', (bytewise) => {
  test.each([
    ['text with lines and tabs', 'a\tb\r\né', [['text', 'a\tb\r\né']]],
    ['controls', 'a\x07b\x7f', [['text', 'a'], ['control', '\x07'], ['text', 'b'], ['control', '\x7f']]],
    ['CSI', 'a\x1b[1;2mb', [['text', 'a'], ['csi', '\x1b[1;2m'], ['text', 'b']]],
    ['CSI as a C1 control', '\u009b31mx', [['csi', '\u009b31m'], ['text', 'x']]],
    ['escapes with and without something between', '\x1b(B\x1bM\x1b7', [['escape', '\x1b(B'], ['escape', '\x1bM'], ['escape', '\x1b7']]],
    ['OSC by BEL, ST, and ST as C1', '\x1b]0;a\x07\x1b]0;b\x1b\\\u009d0;c\u009c', [['osc', '\x1b]0;a\x07'], ['osc', '\x1b]0;b\x1b\\'], ['osc', '\u009d0;c\u009c']]],
    ['DCS, SOS, PM, APC, title', '\x1bPq\x1b\\\u0090q\u009c\x1bXa\x1b\\\u0098b\u009c\x1b^c\x1b\\\u009ed\u009c\x1b_e\x1b\\\u009ff\u009c\x1bkg\x1b\\', [
      ['dcs', '\x1bPq\x1b\\'], ['dcs', '\u0090q\u009c'], ['string', '\x1bXa\x1b\\'], ['string', '\u0098b\u009c'], ['string', '\x1b^c\x1b\\'], ['string', '\u009ed\u009c'], ['string', '\x1b_e\x1b\\'], ['string', '\u009ff\u009c'], ['string', '\x1bkg\x1b\\'],
    ]],
    ['another C1 control', 'a\u0085b', [['text', 'a'], ['control', '\u0085'], ['text', 'b']]],
    ['a sequence that CAN or SUB ends', '\x1b[1\x18a\x1b]0;\x1ab', [['csi', '\x1b[1\x18'], ['text', 'a'], ['osc', '\x1b]0;\x1a'], ['text', 'b']]],
    ['a control within CSI: what follows is text', '\x1b[1\r4539', [['csi', '\x1b[1'], ['text', '\r4539']]],
    ['a line feed within a string: the line is not swallowed', '\x1b]0;x\n4539', [['osc', '\x1b]0;x'], ['text', '\n4539']]],
    ['ESC within a string: a new sequence', '\x1b]0;x\x1b[1m', [['osc', '\x1b]0;x'], ['csi', '\x1b[1m']]],
    ['ESC ESC', '\x1b\x1b[m', [['escape', '\x1b'], ['csi', '\x1b[m']]],
    ['a letter with marks behind ESC', '\x1bé', [['escape', '\x1b'], ['text', 'é']]],
    ['an unfinished sequence', 'a\x1b[1', [['text', 'a'], ['csi', '\x1b[1']]],
    ['characters that begin like C1', '£\u00a0', [['text', '£\u00a0']]],
  ] as const)('%s', (_name, text, expected) => {
    expect(tokens(text, bytewise)).toEqual(expected);
  });
});

test('a lead byte at the very end is text', () => {
  const found: string[] = [];
  const tokenizer = new VtTokenizer({ text: (bytes) => void found.push(bytes), sequence: () => undefined });
  tokenizer.push('a\xc2');
  expect(tokenizer.idle).toBe(false);
  tokenizer.end();
  expect(found).toEqual(['a', '\xc2']);
});

test('a sequence over 4 KiB is dropped, and the next one is not', () => {
  expect(tokens(`\x1b]0;${'x'.repeat(9000)}\x1b\\a\x1b[m`)).toEqual([['text', 'a'], ['csi', '\x1b[m']]);
});

test.each([['a', 1], ['é', 1], ['密', 2], ['😀', 2], ['\u0301', 0], ['\u200d', 0], ['Ω', 1], ['가', 2], ['', 1]])('%j takes %i cells', (character, width) => {
  expect(cellWidth(character)).toBe(width);
});
