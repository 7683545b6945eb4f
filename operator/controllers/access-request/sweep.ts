import type { AccessDecisionResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { OperatorSettings } from '../../../contract/operator-settings.ts';
import type { KubeClient, KubeKind, KubeObject } from '../../../runtime/kube/kube-client.ts';
import { deleteObject } from '../../../runtime/kube/verbs.ts';
import type { ObjectCache } from '../../kube/caches.ts';
import { kinds } from '../../kube/kinds.ts';
import type { Index } from '../index-by.ts';
import type { Pacer } from '../pacer.ts';
import { overdue } from '../retention.ts';
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

/** Deletes finished requests that retention is over for, their decisions first, and decisions on nothing; oldest first, at the pace of `deletes`. */
export async function sweepRequests(options: SweepOptions, signal: AbortSignal): Promise<void> {
  const { requests, decisions, settings, nowMs } = options;
  const finished = finishedRequests(requests.list(), settings.retention);
  const counts = { perNamespace: settings.retention.requestsPerNamespace, perCluster: settings.retention.requestsPerCluster };
  for (const key of overdue(finished, counts, nowMs)) {
    for (const decisionKey of options.decisionsOf.keys(key)) await remove(options, kinds.accessDecision, at(decisions, decisionKey), signal);
    await remove(options, kinds.accessRequest, at(requests, key), signal);
  }
  for (const decision of decisions.list()) {
    const isOrphan = requests.get(decision.metadata.namespace ?? '', decision.spec.requestRef.name) === null;
    if (isOrphan && nowMs - Date.parse(decision.metadata.creationTimestamp ?? '') >= options.orphanMs) await remove(options, kinds.accessDecision, decision, signal);
  }
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
