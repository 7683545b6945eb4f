import { expect, test } from '@jest/globals';
import type { SallyportResource } from '../contract/api/v1alpha1.gen.ts';
import { assignGenerations, noGenerations, parseGenerations } from './generations.ts';

const policy = (name: string, groups: readonly string[]): SallyportResource => ({
  apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessPolicy', metadata: { name, namespace: 'payments' },
  spec: { subjects: groups.map((group) => ({ kind: 'Group' as const, name: group })), targets: { names: ['b', 'a'] }, access: { mode: 'Standing' } },
});
const generationsOf = (resources: readonly SallyportResource[]): unknown => resources.map((each) => each.metadata.generation);

test('the generation grows with each change of the spec and only then', () => {
  const first = assignGenerations(noGenerations, [policy('a', ['x'])]);
  const same = assignGenerations(first.next, [policy('a', ['x'])]);
  const changed = assignGenerations(same.next, [policy('a', ['y'])]);
  const back = assignGenerations(changed.next, [policy('a', ['x'])]);
  expect([first, same, changed, back].map((each) => generationsOf(each.resources))).toEqual([[1], [1], [2], [3]]);
});

test('the order of a set is no change', () => {
  const one = policy('a', ['x']);
  const other = { ...one, spec: { ...one.spec, targets: { names: ['a', 'b'] } } } as SallyportResource;
  const first = assignGenerations(noGenerations, [one]);
  expect(generationsOf(assignGenerations(first.next, [other]).resources)).toEqual([1]);
});

test('an object that was removed and comes again has a higher generation and the same uid', () => {
  const first = assignGenerations(noGenerations, [policy('a', ['x'])]);
  const gone = assignGenerations(first.next, []);
  const again = assignGenerations(gone.next, [policy('a', ['x'])]);
  expect([generationsOf(again.resources), again.resources[0]?.metadata.uid]).toEqual([[2], first.resources[0]?.metadata.uid]);
});

test('what a file says of uid and generation is not believed', () => {
  const forged = { ...policy('a', ['x']), metadata: { name: 'a', namespace: 'payments', uid: 'mine', generation: 99 } } as SallyportResource;
  expect(assignGenerations(noGenerations, [forged]).resources[0]?.metadata).toEqual({ name: 'a', namespace: 'payments', generation: 1, uid: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/) });
});

test('objects of other kinds, namespaces and names have other uids', () => {
  const other = { ...policy('a', ['x']), metadata: { name: 'a', namespace: 'other' } } as SallyportResource;
  const { resources } = assignGenerations(noGenerations, [policy('a', ['x']), policy('b', ['x']), other]);
  expect(new Set(resources.map((each) => each.metadata.uid)).size).toBe(3);
});

test('forgetting deleted objects never gives an old generation again', () => {
  const many = Array.from({ length: 10_001 }, (_, index) => [`AccessPolicy/payments/old${index}`, { generation: index + 1, digest: 'sha256:x', deleted: true }] as const);
  const { next } = assignGenerations({ version: 1, floor: 0, objects: Object.fromEntries(many) }, [policy('a', ['x'])]);
  expect([Object.keys(next.objects), next.floor]).toEqual([['AccessPolicy/payments/a'], 10_001]);
  expect(generationsOf(assignGenerations(next, [policy('old10000', ['x'])]).resources)).toEqual([10_002]);
});

test.each([[null], [[]], [{ version: 2, floor: 0, objects: {} }], [{ version: 1, floor: -1, objects: {} }], [{ version: 1, floor: 0, objects: { a: { generation: '1', digest: '', deleted: false } } }]])('%j is not a stored state', (value) => {
  expect(parseGenerations(value)).toBeNull();
});
