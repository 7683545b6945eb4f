import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createTerminalFilter } from './terminal-filter.ts';

function filtered(text: string, cuts: readonly number[] = []): string {
  const bytes = Buffer.from(text, 'utf8');
  const filter = createTerminalFilter();
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  const out = places.slice(1).map((end, n) => filter.push(bytes.subarray(places[n], end)));
  return Buffer.concat([...out, filter.end()]).toString('utf8');
}

const dangerous: readonly (readonly [string, string])[] = [
  ['the answerback', '\x05'],
  ['a report of the title', '\x1b[21t'], ['a report of the icon', '\x1b[20t'], ['moving the window', '\x1b[3;0;0t'], ['the same as a C1 control', '\u009b21t'],
  ['writing the clipboard', '\x1b]52;c;cm0gLXJm\x07'], ['reading the clipboard', '\x1b]52;c;?\x1b\\'], ['the same as a C1 control', '\u009d52;c;?\u009c'],
  ['a font question', '\x1b]50;?\x07'], ['files of one terminal', '\x1b]1337;File=name=eA==:eA==\x07'], ['a notification', '\x1b]777;notify;a;b\x07'], ['an unnamed string', '\x1b]Lx\x07'],
  ['a link to a local program', '\x1b]8;;file:///bin/sh\x07'], ['a title with a control', '\x1b]0;a\x08b\x07'],
  ['DECRQSS', '\x1bP$q"p\x1b\\'], ['XTGETTCAP', '\x1bP+q544e\x1b\\'], ['keys of the user', '\x1bP0;1|17/0a\x1b\\'], ['what tmux passes on', '\x1bPtmux;\x1b\x1b]52;c;eA==\x07\x1b\\'],
  ['APC', '\x1b_Gt=f;L2V0Yy9wYXNzd2Q=\x1b\\'], ['PM', '\x1b^x\x1b\\'], ['SOS', '\x1bXx\x1b\\'], ['the title of screen', '\x1bkls\x1b\\'],
  ['printing', '\x1b[5i'], ['printing the screen', '\x1b[?5i'], ['a checksum of the screen', '\x1b[1;1;1;1;24;80*y'], ['rewriting a key', '\x1b[65;66p'],
];

describe('the filter', () => {
  test.each(dangerous)('takes out %s', (_name, sequence) => {
    const out = filtered(`before${sequence}after`);
    expect(out).not.toContain(sequence);
    expect(out).toMatch(/^before.*after$/s);
    expect(out.replace(/\x1b\\/g, '')).not.toMatch(/[\x05\x1b\x90-\x9f]/);
  });

  test.each([
    ['colours', '\x1b[1;38;5;200mred\x1b[0m'], ['the cursor', '\x1b[2J\x1b[H\x1b[?25l\x1b[10;20H\x1b7\x1b8'], ['the alternate screen', '\x1b[?1049h\x1b[?2004h\x1b[?1l\x1b>'],
    ['character sets', '\x1b(B\x1b)0\x0e\x0f'], ['a title', '\x1b]0;deploy@web-1: ~\x07'], ['its stack', '\x1b[22;0;0t\x1b[23;0;0t'], ['the size', '\x1b[18t'], ['a web link', '\x1b]8;;https://bank.example/x\x1b\\text\x1b]8;;\x1b\\'],
    ['what vim asks', '\x1b[c\x1b[>c\x1b[6n\x1b]11;?\x07\x1b[?u\x1b[>4;2m'], ['scrolling', '\x1b[1;24r\x1bM\x1bD\x1bE'], ['a reset', '\x1b[!p\x1bc'], ['a sixel', '\x1bP0;1q#0;2;0;0;0~\x1b\\'],
    ['text in any script', 'é€密😀\u00a0\t\r\n\x07\x08'],
  ])('lets %s pass', (_name, text) => {
    expect(filtered(text)).toBe(text);
  });

  test('lets no question pass to the terminal of somebody who watches a recording', () => {
    const filter = createTerminalFilter({ questions: false });
    const asked = '\x1b[c\x1b[>0c\x1b[6n\x1b[?6n\x1b[5n\x1b]11;?\x07\x1b]4;1;?\x1b\\\x1b[?u\x1b[18t\x1b[14;2t\x1b[?2026$p\x1bZ\x1b[x';
    expect(Buffer.from(filter.push(Buffer.from(`${asked}\x1b[31m\x1b[22;0t\x1b]0;t\x07x`))).toString()).toBe('\x1b[31m\x1b[22;0t\x1b]0;t\x07x');
  });

  test('drops a sequence that never ends, and one over 4 KiB', () => {
    expect(filtered('a\x1b]0;title')).toBe('a');
    expect(filtered(`a\x1b]0;${'x'.repeat(5000)}\x07b`)).toBe('ab');
  });

  test('counts what it took', () => {
    const filter = createTerminalFilter();
    filter.push(Buffer.from('\x05\x1b[21t\x1b[m'));
    expect(filter.removed).toBe(2);
  });

  test('gives the same however the stream is cut', () => {
    const pieces = fc.array(fc.oneof(fc.constantFrom(...dangerous.map(([, sequence]) => sequence), '\x1b', '\x1b[', '\x18', '\n', 'é', '\u009b', '\x1b(', '\x1b\\'), fc.string({ maxLength: 6 })), { maxLength: 20 });
    fc.assert(fc.property(pieces, fc.array(fc.nat(), { maxLength: 8 }), (words, cuts) => {
      expect(filtered(words.join(''), cuts)).toBe(filtered(words.join('')));
    }), { numRuns: 1000 });
  });
});
