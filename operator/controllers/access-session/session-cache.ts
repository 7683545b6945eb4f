import type { AccessSessionResource } from '../../../contract/api/v1alpha1.gen.ts';
import { KubeError, type KubeClient, type KubeObject, pathOf } from '../../../runtime/kube/kube-client.ts';
import type { CachePlan } from '../../kube/caches.ts';
import { kinds } from '../../kube/kinds.ts';

/** Selects sessions that are not over, those without a status yet among them. */
export const openSessionsSelector = 'status.phase!=Ended,status.phase!=Terminated,status.phase!=Lost';
const finishedSessionsSelector = 'status.phase!=Active,status.phase!=';

/**
 * How AccessSessions are followed: finished ones only, and of those the metadata. API servers before 1.31 do not select custom resources by field: there all are followed and cut down here.
 *
 * @param namespaces those that the operator may list in; empty = all.
 */
export async function sessionCachePlan(client: KubeClient, namespaces: readonly string[], signal?: AbortSignal): Promise<{ readonly plan: CachePlan; readonly selectsByPhase: boolean }> {
  const selectsByPhase = await isSelectable(client, namespaces[0] ?? null, signal);
  const plan: CachePlan = selectsByPhase ? { kind: 'accessSession', metadataOnly: true, fieldSelector: finishedSessionsSelector } : { kind: 'accessSession', keep: keepSession };
  return { plan, selectsByPhase };
}

async function isSelectable(client: KubeClient, namespace: string | null, signal?: AbortSignal): Promise<boolean> {
  try {
    await client.request({ method: 'GET', path: pathOf(kinds.accessSession, namespace), query: { fieldSelector: finishedSessionsSelector, limit: '1' }, ...(signal === undefined ? {} : { signal }) });
    return true;
  } catch (error) {
    if (error instanceof KubeError && error.status === 400) return false;
    throw error;
  }
}

function keepSession(object: KubeObject): KubeObject {
  const { metadata, status } = object as AccessSessionResource;
  const { name, namespace = '', uid = '', resourceVersion = '', creationTimestamp = '' } = metadata;
  return {
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    status: { ...(status?.phase === undefined ? {} : { phase: status.phase }), ...(status?.endedAt === undefined ? {} : { endedAt: status.endedAt }) },
  };
}
