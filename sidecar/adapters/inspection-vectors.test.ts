import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse as parseYaml } from 'yaml';
import { statementClasses } from '../../contract/proxy-config.ts';
import { inspectQuery } from '../core/sql/inspect-query.ts';
import { summarize, vectorScope } from '../core/sql/testdata/vector-scope.ts';
import type { SqlParser } from '../core/ports.ts';
import { createSqlParser } from './sql-parser.ts';

// Beside the parser, not beside inspect-query.ts: core may not know the adapter.
const directory = new URL('../core/sql/testdata/', import.meta.url);

interface Vector {
  readonly sql: string;
  readonly pairs?: readonly string[];
  readonly statements?: readonly { readonly pairs: readonly string[] }[];
}

const files = readdirSync(directory).filter((name) => name.endsWith('.yaml')).sort();
const vectors = files.map((name) => ({ name, cases: parseYaml(readFileSync(new URL(name, directory), 'utf8')) as readonly Vector[] }));

let parser: SqlParser & AsyncDisposable;
beforeAll(async () => { parser = await createSqlParser(); });
afterAll(async () => { await parser[Symbol.asyncDispose](); });

describe.each(vectors)('$name', ({ cases }) => {
  test.each(cases.map((vector) => [vector.sql, vector] as const))('%s', async (sql, { sql: _, ...expected }) => {
    const inspected = inspectQuery(sql, await parser.parse(sql), vectorScope(), { parser, masking: null, detect: null });
    expect(summarize(inspected)).toEqual(expected);
  });
});

test('the vectors hold every class that a statement can have', () => {
  const pairs = vectors.flatMap(({ cases }) => cases).flatMap((vector) => [...(vector.pairs ?? []), ...(vector.statements ?? []).flatMap((statement) => statement.pairs)]);
  const seen = new Set(pairs.map((pair) => pair.split(' ')[0]));
  // Transaction and Show need no rule, so they have no pair; FunctionCall is a message, not a statement.
  const missing = statementClasses.filter((name) => !seen.has(name));
  expect(missing).toEqual(['FunctionCall', 'Show', 'Transaction', 'Other']);
});
