import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { SqlParser } from '../core/ports.ts';
import { createSqlParser, inlineLimitBytes } from './sql-parser.ts';

let parser: SqlParser & AsyncDisposable;

beforeAll(async () => { parser = await createSqlParser(); });
afterAll(async () => { await parser[Symbol.asyncDispose](); });

/** Terms enough to overflow the stack inside the parser, in a text short enough to be parsed inline when `inline`. */
const overflow = (terms: number): string => `select ${'1+'.repeat(terms)}1`;
const long = (sql: string): string => `${sql} /* ${'x'.repeat(inlineLimitBytes)} */`;

test('a short text answers synchronously with the tree of PostgreSQL 18', () => {
  expect(parser.parse('select 1')).toMatchObject({ outcome: 'parsed', tree: { stmts: [{ stmt: { SelectStmt: {} } }] } });
});

test('an empty text and a comment have no statement', () => {
  expect(parser.parse('')).toMatchObject({ outcome: 'parsed', tree: { stmts: [] } });
  expect(parser.parse('-- nothing')).toMatchObject({ outcome: 'parsed', tree: { stmts: [] } });
});

test('a syntax error has the message of the server and a position in characters', () => {
  expect(parser.parse("select 'ü' frm x y")).toEqual({ outcome: 'invalid', message: 'syntax error at or near "x"', position: 16 });
});

test('a text with a NUL is not read up to the NUL', () => {
  expect(parser.parse('select 1\0; drop table t')).toMatchObject({ outcome: 'invalid' });
  expect(parser.fingerprint('select 1\0; drop table t')).toBeNull();
});

test('a long text comes from the worker with fingerprints and PL/pgSQL per statement', async () => {
  const answer = await parser.parse(`${long('select 1')}; do $$ begin delete from t; end $$`);
  expect(answer).toMatchObject({ outcome: 'parsed', tree: { stmts: [{ stmt: { SelectStmt: {} } }, { stmt: { DoStmt: {} } }] } });
  if (answer.outcome !== 'parsed') return;
  expect(answer.fingerprints).toEqual([parser.fingerprint('select 1'), expect.stringMatching(/^[0-9a-f]{16}$/)]);
  expect(answer.plpgsql?.[0]).toBeNull();
  expect(JSON.stringify(answer.plpgsql?.[1])).toContain('delete from t');
});

test('a syntax error in a long text comes back as one', async () => {
  expect(await parser.parse(long('selec 1'))).toMatchObject({ outcome: 'invalid', position: 1 });
});

test('fingerprints do not depend on literals', () => {
  expect(parser.fingerprint('select 1 from t')).toBe(parser.fingerprint('select 2 from t'));
  expect(parser.fingerprint('selec')).toBeNull();
});

test('PL/pgSQL that does not parse is null', () => {
  expect(parser.parsePlPgSql('do $$ begin delete frm; end $$')).toBeNull();
  expect(parser.parsePlPgSql('do $$ begin delete from t; end $$')).toMatchObject({ plpgsql_funcs: [{}] });
});

test('1,500 texts that overflow the stack leave parsing intact for the next text', async () => {
  let ruined = 0;
  for (let round = 0; round < 1_500; round += 1) {
    const { outcome } = await parser.parse(overflow(40_000));
    if (outcome === 'failed') ruined += 1;
    if (round % 10 === 0) expect(parser.parse('select a from b where c = 1')).toMatchObject({ outcome: 'parsed' });
  }
  expect(ruined).toBe(1_500);
  expect(await parser.parse(long('select 1'))).toMatchObject({ outcome: 'parsed' });
}, 120_000);

test('short texts that overflow what is left of the caller\'s stack leave parsing intact as well', async () => {
  let ruined = 0;
  for (let round = 0; round < 100; round += 1) {
    const { outcome } = await nearTheEndOfTheStack(() => parser.parse(overflow(4_000)));
    if (outcome === 'failed') ruined += 1;
    expect(await parser.parse('select a from b where c = 1')).toMatchObject({ outcome: 'parsed' });
  }
  expect(ruined).toBe(100);
}, 60_000);

test('a parse that passes its deadline fails alone and the next one succeeds', async () => {
  await using hurried = await createSqlParser({ deadlineMs: 30, queued: 4, waitMs: 20_000, heapMegabytes: 512 });
  const heavy = `insert into t values ${'(1,2,3,4,5,6,7,8,9),'.repeat(150_000)}(1)`;
  expect(await hurried.parse(heavy)).toEqual({ outcome: 'failed', code: 'PARSE_TIMEOUT' });
  expect(await hurried.parse(long('select 1'))).toMatchObject({ outcome: 'parsed' });
}, 60_000);

test('the queue of long texts is bounded', async () => {
  await using narrow = await createSqlParser({ deadlineMs: 2_000, queued: 1, waitMs: 10_000, heapMegabytes: 512 });
  const answers = await Promise.all([1, 2, 3, 4].map(async () => narrow.parse(long('select 1'))));
  expect(answers.map(({ outcome }) => outcome)).toContain('failed');
  expect(answers[0]).toMatchObject({ outcome: 'parsed' });
}, 30_000);

/** Runs the action deep inside a recursion, so that 4,000 nested terms no longer fit. */
function nearTheEndOfTheStack<T>(action: () => T): T {
  let depth = 0;
  const measure = (): void => { depth += 1; measure(); };
  try { measure(); } catch { /* the stack is measured */ }
  const descend = (left: number): T => (left === 0 ? action() : descend(left - 1));
  return descend(Math.floor(depth * 0.5));
}
