import { expect, test } from '@jest/globals';
import { printableText } from './printable-text.ts';

test.each([
  ['plain text and line feeds stay', 'SELECT 1;\n-- Zürich 東京 😀', 'SELECT 1;\n-- Zürich 東京 😀'],
  ['terminal escapes', '\u001b[2Jx\u0007\u009b', '\\u{1b}[2Jx\\u{7}\\u{9b}'],
  ['a carriage return and a backspace, which overwrite', 'a\rb\u0008', 'a\\u{d}b\\u{8}'],
  ['bidi marks', '\u202eabc\u2069\u200f', '\\u{202e}abc\\u{2069}\\u{200f}'],
  ['what cannot be seen', 'a\u200b\u00ad\u3164\ufe0f\u{e0041}b', 'a\\u{200b}\\u{ad}\\u{3164}\\u{fe0f}\\u{e0041}b'],
  ['blanks that are not the space', 'a\u00a0\u2003b', 'a\\u{a0}\\u{2003}b'],
  ['lone surrogates and line separators', '\ud800x\u2028', '\\u{d800}x\\u{2028}'],
])('%s (A10)', (_name, text, shown) => {
  expect(printableText(text)).toBe(shown);
});

test('one line on demand', () => {
  expect(printableText('a\nb', { oneLine: true })).toBe('a\\nb');
});
