import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fakeApiServer } from '../../tools/testkit/fake-api-server.ts';
import { mergePatched } from '../../tools/testkit/fake-api/json.ts';
import { kinds } from './kinds.ts';
import { isEqual, writeStatus } from './status.ts';

const write = async (before: unknown, wanted: Readonly<Record<string, unknown>>) => {
  const api = fakeApiServer({ validate: false });
  const stored = api.put(kinds.target, { metadata: { name: 'a', namespace: 'shop' }, spec: { x: 1 }, status: before });
  const hasWritten = await writeStatus(api.client(), kinds.target, stored, wanted, { fieldManager: 'us' });
  return { api, hasWritten, status: api.get(kinds.target, 'shop', 'a')?.status };
};

describe('writing a status', () => {
  test('an equal status costs no request, whatever the order of its keys', async () => {
    const { api, hasWritten } = await write({ observedGeneration: 1, conditions: [{ type: 'Ready', status: 'True' }], theirs: 1 }, { conditions: [{ status: 'True', type: 'Ready' }], observedGeneration: 1, gone: undefined });
    expect([hasWritten, api.calls]).toEqual([false, []]);
  });

  test('only what differs is sent, to /status, bound to the uid', async () => {
    const { api, status } = await write({ a: 1, b: { c: 1, d: 2 }, theirs: 1 }, { a: 1, b: { c: 1, e: 3 } });
    expect([api.calls.map(({ verb, subresource, body }) => [verb, subresource, body]), status]).toEqual([
      [['patch', 'status', { metadata: { uid: api.get(kinds.target, 'shop', 'a')?.metadata.uid }, status: { b: { d: null, e: 3 } } }]], { a: 1, b: { c: 1, e: 3 }, theirs: 1 },
    ]);
  });

  test('a field named like something that every object inherits is removed like any other', async () => {
    const { status } = await write({ a: { valueOf: 1, b: 2 } }, { a: { b: 2 } });
    expect(status).toEqual({ a: { b: 2 } });
  });

  test('null removes a field, and a field that is not named stays', async () => {
    const { status } = await write({ a: 1, b: 2, theirs: 3 }, { a: null });
    expect(status).toEqual({ b: 2, theirs: 3 });
  });

  test('an object that was deleted and made again under its name is left alone', async () => {
    const api = fakeApiServer({ validate: false });
    const old = api.put(kinds.target, { metadata: { name: 'a', namespace: 'shop' }, spec: {} });
    api.remove(kinds.target, 'shop', 'a');
    api.put(kinds.target, { metadata: { name: 'a', namespace: 'shop' }, spec: {} });
    await expect(writeStatus(api.client(), kinds.target, old, { a: 1 }, { fieldManager: 'us' })).rejects.toMatchObject({ status: 409 });
  });

  test('whatever stood there, the named fields become what is wanted, and a second write is none', async () => {
    const json = fc.jsonValue({ maxDepth: 3 }).map((value) => mergePatched({ value: null }, { value }));
    await fc.assert(fc.asyncProperty(json, json, async (before, wanted) => {
      const { api, status } = await write(before, wanted as Record<string, unknown>);
      // JSON merge patch cannot store a null inside an object; a status has none.
      expect(isEqual(withoutNulls(status), withoutNulls({ ...(before as object), ...(wanted as object) }))).toBe(true);
      const again = await writeStatus(api.client(), kinds.target, { metadata: { name: 'a', namespace: 'shop' }, status }, withoutNulls(wanted) as Record<string, unknown>, { fieldManager: 'us' });
      expect(again).toBe(false);
    }));
  });
});

test.each([
  [{ a: 1, b: [1, { c: null }] }, { b: [1, { c: null }], a: 1 }, true], [{ a: undefined }, {}, true], [[1, 2], [2, 1], false], [{ a: null }, {}, false], [[], {}, false], ['1', 1, false], [null, null, true], [{ valueOf: false }, {}, false], [{}, { toString: 1 }, false],
])('%j and %j are equal: %s', (left, right, expected) => {
  expect(isEqual(left, right)).toBe(expected);
});

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== null).map(([key, inner]) => [key, withoutNulls(inner)]));
}
