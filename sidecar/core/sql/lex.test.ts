import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { lex, splitAssignment } from './lex.ts';

const pieces = (text: string): readonly string[] => lex(text).map((token) => `${token.kind}:${text.slice(token.start, token.end)}`);

describe('literals end where the server ends them', () => {
  test.each([
    ["'a'", ["string:'a'"]],
    ["'it''s'", ["string:'it''s'"]],
    ["'a\\' x", ["string:'a\\'", 'word:x']],
    ["E'a\\' x'", ["string:E'a\\' x'"]],
    ["e'a''b\\\\'", ["string:e'a''b\\\\'"]],
    ["type'a\\' x", ['word:type', "string:'a\\'", 'word:x']],
    ["b'01' X'ff' n'x'", ["string:b'01'", "string:X'ff'", "string:n'x'"]],
    ["U&'\\0041' u&\"d\\0061t\"", ["string:U&'\\0041'", 'quoted:u&"d\\0061t"']],
    ["'a'\n  'b'", ["string:'a'\n  'b'"]],
    ["'a' -- note 'x'\n 'b'", ["string:'a' -- note 'x'\n 'b'"]],
    ["'a' 'b'", ["string:'a'", "string:'b'"]],
    ["E'a'\n'b\\'c'", ["string:E'a'\n'b\\'c'"]],
    ['$$a$$', ['string:$$a$$']],
    ['$x$ $$ $y$ $x$', ['string:$x$ $$ $y$ $x$']],
    ['a$b$c$b$', ['word:a$b$c$b$']],
    ['$1 $12', ['operator:$1', 'operator:$12']],
    ['"a""b"', ['quoted:"a""b"']],
    ['1 1.5 .5 1e10 1.5e-3 1_000 0xFF 0b01', ['number:1', 'number:1.5', 'number:.5', 'number:1e10', 'number:1.5e-3', 'number:1_000', 'number:0xFF', 'number:0b01']],
    ['1..10', ['number:1', 'operator:.', 'number:.10']],
    ['a1 _2 é3', ['word:a1', 'word:_2', 'word:é3']],
    ['-- x\nselect', ['comment:-- x', 'word:select']],
    ['/* a /* b */ c */x', ['comment:/* a /* b */ c */', 'word:x']],
    ['a*--b', ['word:a', 'operator:*', 'comment:--b']],
    ["'open", ["open:'open"]],
    ["E'a\\'", ["open:E'a\\'"]],
    ['$x$ open $y$', ['open:$x$ open $y$']],
    ['"open', ['open:"open']],
    ['/* /* */', ['open:/* /* */']],
  ])('%s', (text, expected) => {
    expect(pieces(text)).toEqual(expected);
  });
});

test('tokens follow each other and end within any text', () => {
  fc.assert(fc.property(fc.array(fc.constantFrom('\'', '"', '$', '$a$', '/*', '*/', '--', '\n', 'E\'', '\\', '1', '.', 'e', 'x', 'U&"', ' ', 'é', '😀'), { maxLength: 40 }), (parts) => {
    const text = parts.join('');
    let at = 0;
    for (const token of lex(text)) {
      expect(token.start).toBeGreaterThanOrEqual(at);
      expect(token.end).toBeGreaterThan(token.start);
      expect(token.end).toBeLessThanOrEqual(text.length);
      at = token.end;
    }
  }));
});

test('an assignment is split outside brackets only', () => {
  expect(splitAssignment('x := 1')).toEqual({ target: 'x ', value: ' 1' });
  expect(splitAssignment('a[f(b := 2)] = c = d')).toEqual({ target: 'a[f(b := 2)] ', value: ' c = d' });
  expect(splitAssignment('a."x:=y" := 1')).toEqual({ target: 'a."x:=y" ', value: ' 1' });
  expect(splitAssignment('f(x)')).toBeNull();
});
