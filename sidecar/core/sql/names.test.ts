import { describe, expect, test } from '@jest/globals';
import { readSearchPath, resolveRelationName } from './names.ts';
import { vectorScope } from './testdata/vector-scope.ts';

const wordsOf = (name: string, changes: Parameters<typeof vectorScope>[0] = {}, schema = ''): readonly string[] | 'unknown' => {
  const resolved = resolveRelationName(schema, name, vectorScope(changes));
  return resolved.outcome === 'unknown' ? 'unknown' : resolved.candidates.map((candidate) => `${candidate.schema}.${candidate.name}`);
};

test('the first schema of the path that has the relation wins', () => {
  expect(wordsOf('orders')).toEqual(['app.orders']);
  expect(wordsOf('orders', { searchPath: ['public', 'app'] })).toEqual(['public.orders']);
  expect(wordsOf('accounts')).toEqual(['public.accounts']);
});

test('pg_catalog comes first unless the path names it later', () => {
  expect(wordsOf('pg_class')).toEqual(['pg_catalog.pg_class']);
  expect(wordsOf('pg_class', { searchPath: [] })).toEqual(['pg_catalog.pg_class']);
});

test('a temporary relation stands beside the permanent one that it may hide', () => {
  expect(wordsOf('orders', { temporaryRelations: new Set(['orders']) })).toEqual(['pg_temp.orders', 'app.orders']);
  expect(wordsOf('scratch', { temporaryRelations: new Set(['scratch']) })).toEqual(['pg_temp.scratch']);
});

test('a relation that the open transaction created may hide one that the snapshot shows', () => {
  expect(wordsOf('accounts', { createdInTransaction: new Set(['accounts']) })).toEqual(['public.accounts', 'app.accounts']);
});

test('a name that the catalog does not know may be new in each schema of the path', () => {
  expect(wordsOf('fresh')).toEqual(['app.fresh', 'public.fresh']);
  expect(wordsOf('fresh', { searchPath: ['ghost', 'public'] })).toEqual(['public.fresh']);
});

test('without a known path only qualified names resolve', () => {
  expect(wordsOf('orders', { searchPath: null })).toBe('unknown');
  expect(wordsOf('orders', { searchPath: null }, 'public')).toEqual(['public.orders']);
});

test('parents of all generations are named', () => {
  expect(resolveRelationName('', 'events_2026_01', vectorScope())).toMatchObject({ candidates: [{ ancestors: [{ schema: 'app', name: 'events_2026' }, { schema: 'app', name: 'events' }] }] });
});

describe('a search path in the words of the setting', () => {
  test.each([
    ['', []], ['public', ['public']], ['"$user", public', ['$user', 'public']], ['App , "B""c"', ['app', 'B"c']], ['""', []], ['"a,b"', ['a,b']],
  ])('%s', (value, expected) => {
    expect(readSearchPath(value)).toEqual(expected);
  });

  test.each([['a,'], ['"a'], ['a b'], [',a'], ['a"b"']])('%s is malformed', (value) => {
    expect(readSearchPath(value)).toBeNull();
  });
});
