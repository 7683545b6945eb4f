import { expect, test } from '@jest/globals';
import { readPlPgSqlBody } from './bodies.ts';

const body = (action: unknown): unknown => ({ plpgsql_funcs: [{ PLpgSQL_function: { action } }] });
const nested = (depth: number): unknown => (depth === 0 ? {} : { PLpgSQL_stmt_block: { body: [nested(depth - 1)] } });

test('a body nested beyond what is followed is opaque, one within is not', () => {
  expect([readPlPgSqlBody(body(nested(50))).opaque, readPlPgSqlBody(body(nested(400))).opaque]).toEqual([false, true]);
});

test.each([null, {}, { plpgsql_funcs: [] }, { plpgsql_funcs: [{}, {}] }, body(undefined)])('what is no body is opaque: %j', (parsed) => {
  expect(readPlPgSqlBody(parsed)).toEqual({ pieces: [], variables: new Set(), opaque: true });
});
