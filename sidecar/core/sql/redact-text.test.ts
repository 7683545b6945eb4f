import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { hiddenText, redactStatement, redactUnreadable } from './redact-text.ts';

const ssn = (text: string): boolean => /\d{3}-\d{2}-\d{4}/.test(text);
const hide = (text: string): string => redactStatement({ text, constants: [], keepLiterals: false, hasSecrets: false, detect: null });
const keep = (text: string, detect: ((text: string) => boolean) | null = ssn): string => redactStatement({ text, constants: [], keepLiterals: true, hasSecrets: false, detect });

describe('a statement that touches a masked relation', () => {
  test.each([
    ["select * from t where ssn = '123-45-6789'", "select * from t where ssn = '********'"],
    ["select E'\\'a', $$b$$, $x$c$x$, U&'d', B'01', 5, 1.5e3, $1", "select '********', '********', '********', '********', '********', ********, ********, $1"],
    ["select 'a'\n'b' from t", "select '********' from t"],
    ['select "a b" from t /* note */', 'select "a b" from t /* note */'],
    ["comment on column t.ssn is '123'", "comment on column t.ssn is '********'"],
    ["create table t (x text default '123-45-6789', n int default 42)", "create table t (x text default '********', n int default ********)"],
    ["prepare p as select * from t where ssn = '1'", "prepare p as select * from t where ssn = '********'"],
  ])('%s', (text, expected) => {
    expect(hide(text)).toBe(expected);
  });
});

describe('a statement that touches none keeps what no detector hits', () => {
  test.each([
    ["select 'x', 5", "select 'x', 5"],
    ["execute p('123-45-6789', 'ok')", "execute p('********', 'ok')"],
    ["select '123-45'\n'-6789'", "select '********'"],
    ["select $a$123-45-6789$a$", "select '********'"],
    ["select E'1\\x3233-45-6789', e'plain'", "select '********', e'plain'"],
    ["select U&'\\0031', X'31'", "select '********', '********'"],
    ['select 1 -- 123-45-6789\n, 2', 'select 1 /* ******** */\n, 2'],
    ['select 1 /* 123-45-6789 */', 'select 1 /* ******** */'],
    ['select 1 as "123-45-6789"', 'select 1 as "********"'],
    ['select 123-45-6789, 7', 'select ********-********-********, ********'],
  ])('%s', (text, expected) => {
    expect(keep(text)).toBe(expected);
  });

  test('a value that shows through the pieces hides the whole text', () => {
    expect(redactStatement({ text: 'select a123 from t', constants: [], keepLiterals: true, hasSecrets: false, detect: (text) => text.includes('a123') })).toBe(hiddenText);
  });
});

describe('passwords never show', () => {
  test.each([
    ["create role bob password 'hunter2'", "create role bob password '********'"],
    ["alter user bob with encrypted password 'hunter2' valid until '2030-01-01'", "alter user bob with encrypted password '********' valid until '********'"],
    ["select dblink_connect('host=x password=hunter2')", "select dblink_connect('********')"],
    ["do $$ begin alter role bob password 'hunter2'; end $$", "do '********'"],
    ["update users set passwd = 'hunter2'", "update users set passwd = '********'"],
    ["select 1 -- the password is hunter2", 'select 1 /* ******** */'],
  ])('%s', (text, expected) => {
    expect(keep(text, null)).toBe(expected);
  });

  test('a statement with secrets hides every string', () => {
    expect(redactStatement({ text: "create user mapping for b server s options (key 'hunter2')", constants: [], keepLiterals: true, hasSecrets: true, detect: null }))
      .toBe("create user mapping for b server s options (key '********')");
  });
});

test('nothing is shown when tree and lexer disagree about where a literal starts', () => {
  expect(redactStatement({ text: "select 'abc'", constants: [9], keepLiterals: false, hasSecrets: false, detect: null })).toBe(hiddenText);
  expect(redactStatement({ text: "select 'abc'", constants: [7], keepLiterals: false, hasSecrets: false, detect: null })).toBe("select '********'");
});

describe('a text that does not parse', () => {
  test.each([
    ["selec 'a', 5 from \"t\" -- x", "selec '********', ******** from \"********\" /* ******** */"],
    ["select * from t where a = 'x and b = 'Secret'", 'select * from t where a = ********'],
    ["select 'a\\' , 'Secret' frm", 'select ********'],
    ['select $x$ Secret', 'select ********'],
    ['select "Secret', 'select ********'],
    ['select 1 /* Secret', 'select ******** ********'],
  ])('%s', (text, expected) => {
    expect(redactUnreadable(text, null)).toBe(expected);
  });
});

test('no spelling of a literal shows its content when literals are hidden', () => {
  const content = fc.stringMatching(/^[QZ]{6,12}$/);
  const spelling = fc.constantFrom<(value: string) => string>(
    (value) => `'${value}'`, (value) => `E'${value}\\''`, (value) => `'it''s ${value}'`, (value) => `$$${value}$$`, (value) => `$t$${value} $$ $t$`, (value) => `N'${value}'`,
    (value) => `U&'${value}'`, (value) => `'a'\n'${value}'`, (value) => `'a' -- c\n  '${value}'`, (value) => `'\\'||'${value}'`,
  );
  fc.assert(fc.property(fc.array(fc.tuple(spelling, content), { minLength: 1, maxLength: 5 }), (literals) => {
    const text = `select ${literals.map(([spell, value]) => spell(value)).join(', ')} from t`;
    for (const [, value] of literals) {
      expect(hide(text)).not.toContain(value);
      expect(redactUnreadable(`${text} frm`, null)).not.toContain(value);
    }
  }));
});
