import { expect, test } from '@jest/globals';
import type { KubeObject } from '../../../runtime/kube/kube-client.ts';
import type { GeneratedObject } from '../../render/generated-object.ts';
import { appliedAnnotation, isApplied, withAppliedDigest } from './is-applied.ts';

const wanted = withAppliedDigest({
  apiVersion: 'v1', kind: 'Service', metadata: { name: 'a', namespace: 'shop', labels: { l: '1' }, ownerReferences: [{ apiVersion: 'x', kind: 'ProxyConfig', name: 'p', uid: 'u1', controller: true, blockOwnerDeletion: true }] },
  spec: { selector: { app: 'p' }, ports: [{ port: 5432 }], resources: { limits: { memory: '1Gi', cpu: '0.5' } }, rules: [] },
});
const live = (change: (object: { metadata: Record<string, unknown>; spec: Record<string, unknown> }) => void = () => undefined): KubeObject => {
  const object = structuredClone(wanted) as unknown as { metadata: Record<string, unknown>; spec: Record<string, unknown> };
  change(object);
  return object as unknown as KubeObject;
};

test.each([
  ['the same', () => undefined, true],
  ['defaults of the API server', (object) => Object.assign(object.spec, { clusterIP: '10.0.0.1', ports: [{ port: 5432, protocol: 'TCP' }] }), true],
  ['labels and annotations of others', (object) => Object.assign(object.metadata, { labels: { l: '1', theirs: 'x' } }), true],
  ['one more owner', (object) => (object.metadata['ownerReferences'] as unknown[]).push({ uid: 'u2' }), true],
  ['other spellings of quantities', (object) => Object.assign(object.spec, { resources: { limits: { memory: '1024Mi', cpu: '500m' } } }), true],
  ['an empty list as null', (object) => Object.assign(object.spec, { rules: null }), true],
  ['another quantity', (object) => Object.assign(object.spec, { resources: { limits: { memory: '1G', cpu: '500m' } } }), false],
  ['another owner', (object) => Object.assign(object.metadata, { ownerReferences: [{ uid: 'u2' }] }), false],
  ['a changed value', (object) => Object.assign(object.spec, { ports: [{ port: 22 }] }), false],
  ['one entry more', (object) => Object.assign(object.spec, { ports: [{ port: 5432 }, { port: 22 }] }), false],
  ['one more label to select by', (object) => Object.assign(object.spec, { selector: { app: 'p', x: 'y' } }), false],
  ['a rule where none is wanted', (object) => Object.assign(object.spec, { rules: [{}] }), false],
  ['an older digest: a field that is wanted no longer may be left', (object) => Object.assign(object.metadata, { annotations: { [appliedAnnotation]: 'sha256:0' } }), false],
] satisfies readonly (readonly [string, (object: { metadata: Record<string, unknown>; spec: Record<string, unknown> }) => unknown, boolean])[])('a stored object with %s', (_name, change, isSame) => {
  expect(isApplied(wanted, live(change))).toBe(isSame);
});

test('the digest tells two wishes apart', () => {
  const other = withAppliedDigest({ ...wanted, spec: {} } as GeneratedObject);
  expect(other.metadata.annotations?.[appliedAnnotation]).not.toBe(wanted.metadata.annotations?.[appliedAnnotation]);
});
