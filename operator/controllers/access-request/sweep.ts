import type { AccessDecisionResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { OperatorSettings } from '../../../contract/operator-settings.ts';
import type { KubeClient, KubeKind, KubeObject } from '../../../runtime/kube/kube-client.ts';
import { deleteObject } from '../../../runtime/kube/verbs.ts';
import type { ObjectCache } from '../../kube/caches.ts';
import { kinds } from '../../kube/kinds.ts';
import type { Index } from '../index-by.ts';
import type { Pacer } from '../pacer.ts';
import { deletesPerSweep, overdue } from '../retention.ts';
import type { KeptRequest } from './kept-request.ts';
import { finishedRequests } from './retention.ts';

/** What a sweep works on. */
export interface SweepOptions {
  readonly client: KubeClient;
  readonly settings: OperatorSettings;
  readonly deletes: Pacer;
  readonly requests: ObjectCache<KeptRequest>;
  readonly decisions: ObjectCache<AccessDecisionResource>;
  readonly decisionsOf: Index<AccessDecisionResource>;
  readonly nowMs: number;
  /** Age from which a decision on a request that does not exist is deleted. */
  readonly orphanMs: number;
}

/**
 * Deletes finished requests that retention is over for, their decisions first, and decisions on nothing; oldest first, at the pace of `deletes`.
 *
 * @returns whether some are left for the next sweep.
 */
export async function sweepRequests(options: SweepOptions, signal: AbortSignal): Promise<boolean> {
  const { requests, decisions, settings, nowMs } = options;
  const finished = finishedRequests(requests.list(), settings.retention);
  const counts = { perNamespace: settings.retention.requestsPerNamespace, perCluster: settings.retention.requestsPerCluster };
  const over = overdue(finished, counts, nowMs);
  for (const key of over.slice(0, deletesPerSweep)) {
    const request = at(requests, key);
    // Of this very request: the name may have been given anew. What names another one goes when it is an orphan.
    const own = options.decisionsOf.keys(key).map((decisionKey) => at(decisions, decisionKey)).filter((decision) => decision?.spec.requestRef.uid === request?.metadata.uid);
    for (const decision of own) await remove(options, kinds.accessDecision, decision, signal);
    await remove(options, kinds.accessRequest, request, signal);
  }
  const orphans = decisions.list().filter((decision) => requests.get(decision.metadata.namespace ?? '', decision.spec.requestRef.name) === null
    && nowMs - Date.parse(decision.metadata.creationTimestamp ?? '') >= options.orphanMs);
  for (const decision of orphans.slice(0, deletesPerSweep)) await remove(options, kinds.accessDecision, decision, signal);
  return over.length > deletesPerSweep || orphans.length > deletesPerSweep;
}

async function remove(options: SweepOptions, kind: KubeKind, object: { readonly metadata: { readonly namespace?: string; readonly name: string; readonly uid?: string } } | null, signal: AbortSignal): Promise<void> {
  if (object === null) return;
  await options.deletes.turn(signal);
  const { namespace = null, name, uid } = object.metadata;
  await deleteObject(options.client, kind, namespace, name, { signal, ...(uid === undefined ? {} : { uid }) });
}

function at<T extends KubeObject>(cache: ObjectCache<T>, key: string): T | null {
  const slash = key.indexOf('/');
  return cache.get(key.slice(0, slash), key.slice(slash + 1));
}
