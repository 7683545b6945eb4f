import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8');
const source = read('../contract/conditions.ts');
const wordsOf = (type: string): readonly string[] => [...(new RegExp(`export type ${type} =([^;]*);`).exec(source)?.[1] ?? '').matchAll(/'([A-Za-z]+)'/g)].map((match) => match[1] ?? '');
/** First cells of the tables of docs/operator.md, in backquotes. */
const rows = new Set([...read('../docs/operator.md').matchAll(/^\| `([A-Za-z]+)` \|/gm)].map((match) => match[1] ?? ''));

test('docs/operator.md explains every condition and every reason that exists, and none besides', () => {
  const [types, reasons] = [wordsOf('ConditionType'), wordsOf('ConditionReason')];
  expect([types.length > 10, reasons.length > 30]).toEqual([true, true]);
  expect([...rows].sort()).toEqual([...types, ...reasons].sort());
});
