import { expect, test } from '@jest/globals';
import { createInspectionCache, type InspectionKey } from './inspection-cache.ts';
import type { InspectedQuery } from './statement-facts.ts';

const key = (changes: Partial<InspectionKey> = {}): InspectionKey => ({ text: 'select 1', catalogEpoch: 'e1', database: 'd', searchPath: ['public'], temporaryRelations: new Set(), maskingDigest: '', ...changes });
const answer = (text: string): InspectedQuery => ({ outcome: 'unreadable', denial: { code: 'SYNTAX_ERROR', message: '', detail: null, hint: '' }, position: null, redactedText: text });

test('an inspection is found again under the same key', () => {
  const cache = createInspectionCache();
  const inspected = answer('a');
  cache.set(key(), inspected);
  expect(cache.get(key())).toBe(inspected);
});

test.each<[string, Partial<InspectionKey>]>([
  ['text', { text: 'select 2' }], ['catalog epoch', { catalogEpoch: 'e2' }], ['database', { database: 'e' }], ['search path', { searchPath: ['app'] }], ['unknown search path', { searchPath: null }],
  ['temporary relations', { temporaryRelations: new Set(['t']) }], ['relations of the transaction', { createdInTransaction: new Set(['t']) }], ['masking', { maskingDigest: 'm' }],
])('another %s is another inspection', (_, changes) => {
  const cache = createInspectionCache();
  cache.set(key(), answer('a'));
  expect(cache.get(key(changes))).toBeNull();
});

test('long texts that differ in one byte are told apart', () => {
  const cache = createInspectionCache();
  cache.set(key({ text: `${'x'.repeat(300)}a` }), answer('a'));
  expect(cache.get(key({ text: `${'x'.repeat(300)}b` }))).toBeNull();
  expect(cache.get(key({ text: `${'x'.repeat(300)}a` }))).not.toBeNull();
});

test('a short text that looks like the hash of a long one is another key', () => {
  const cache = createInspectionCache();
  cache.set(key({ text: 'habc' }), answer('a'));
  expect(cache.get(key({ text: 'abc' }))).toBeNull();
});

test('the entry that was used longest ago goes first', () => {
  const cache = createInspectionCache({ entries: 2, bytes: 1_000_000 });
  for (const text of ['a', 'b']) cache.set(key({ text }), answer(text));
  cache.get(key({ text: 'a' }));
  cache.set(key({ text: 'c' }), answer('c'));
  expect(['a', 'b', 'c'].map((text) => cache.get(key({ text })) !== null)).toEqual([true, false, true]);
  expect(cache.size().entries).toBe(2);
});

test('the sum of the entries stays below its bytes, and one that is too large is not kept', () => {
  const cache = createInspectionCache({ entries: 1_000, bytes: 10_000 });
  for (let index = 0; index < 100; index += 1) cache.set(key({ text: `t${index}` }), answer('x'.repeat(500)));
  expect(cache.size().bytes).toBeLessThanOrEqual(10_000);
  expect(cache.size().entries).toBeGreaterThan(3);
  cache.set(key({ text: 'huge' }), answer('x'.repeat(20_000)));
  expect(cache.get(key({ text: 'huge' }))).toBeNull();
});

test('setting a key again does not count it twice', () => {
  const cache = createInspectionCache();
  cache.set(key(), answer('a'));
  const before = cache.size();
  cache.set(key(), answer('a'));
  expect(cache.size()).toEqual(before);
});
