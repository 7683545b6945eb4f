import { expect, test } from '@jest/globals';
import type { AccessDecisionResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { OperatorSettings } from '../../../contract/operator-settings.ts';
import type { KubeObject } from '../../../runtime/kube/kube-client.ts';
import { scriptedClient } from '../../../tools/testkit/scripted-client.ts';
import type { ObjectCache } from '../../kube/caches.ts';
import { openIndex } from '../index-by.ts';
import { keepRequest } from './kept-request.ts';
import { sweepRequests } from './sweep.ts';

const cacheOf = <T extends KubeObject>(...objects: readonly T[]): ObjectCache<T> => ({
  get: (_namespace, name) => objects.find((object) => object.metadata.name === name) ?? null, inNamespace: () => objects, list: () => objects, subscribe: () => undefined,
});

test('a denial of a newer request of the same name outlives the old one: the cache may not know yet that the name was given anew', async () => {
  const client = scriptedClient();
  client.answer(() => ({}));
  const old = keepRequest({
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessRequest', metadata: { name: 'r-1', namespace: 'payments', uid: 'old', creationTimestamp: '2026-11-01T10:00:00Z' },
    spec: {
      scope: 'Session', requester: { username: 'oidc:alice' }, policyRef: { name: 'p', uid: 'u', generation: 1 }, targetRef: { name: 't', uid: 'u' }, action: 'session', digest: '', approvers: { groups: ['dba'], required: 1 }, decideWithin: '10m',
    },
    status: { phase: 'Denied' },
  });
  const decision = (name: string, uid: string, creationTimestamp: string): AccessDecisionResource => ({
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: { name, namespace: 'payments', uid: name, creationTimestamp },
    spec: { requestRef: { name: 'r-1', uid }, policyRef: { name: 'p' }, requester: { username: 'oidc:alice' }, digest: '', decision: 'Deny', by: 'oidc:bob' },
  });
  const all = [decision('d-old', 'old', '2026-11-01T10:01:00Z'), decision('d-new', 'new', '2026-11-24T10:00:00Z')];
  const decisionsOf = openIndex<AccessDecisionResource>(({ spec }) => `payments/${spec.requestRef.name}`);
  for (const each of all) decisionsOf.update(`payments/${each.metadata.name}`, each);
  await sweepRequests({
    client, settings: { retention: { requestHours: 24, requestsPerNamespace: 10, requestsPerCluster: 10 } } as OperatorSettings, deletes: { turn: async () => undefined },
    requests: cacheOf(old), decisions: cacheOf(...all), decisionsOf, nowMs: Date.parse('2026-11-24T10:00:01Z'), orphanMs: 3_600_000,
  }, new AbortController().signal);
  expect(client.requests.map(({ method, path }) => `${method} ${path.split('/').at(-1)}`)).toEqual(['DELETE d-old', 'DELETE r-1']);
});
