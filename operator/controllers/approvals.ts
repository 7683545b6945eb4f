import { retentionLimits } from '../../contract/operator-settings.ts';
import type { KubeClient, KubeObject } from '../../runtime/kube/kube-client.ts';
import type { CachePlan } from '../kube/caches.ts';
import type { Controller } from '../kube/controller.ts';
import { startAccessRequestController } from './access-request/controller.ts';
import { type KeptRequest, keepRequest } from './access-request/kept-request.ts';
import { startAccessSessionController } from './access-session/controller.ts';
import { sessionCachePlan } from './access-session/session-cache.ts';
import type { ControllerDeps } from './deps.ts';
import { startIntegrityController } from './integrity/controller.ts';
import { createPacer } from './pacer.ts';

/** What the controllers of approvals and sessions follow, beside ProxyConfigs and the proxies' pods (whose `status.phase` must be kept). */
export interface ApprovalCaches {
  readonly plans: readonly CachePlan[];
  readonly selectsByPhase: boolean;
}

/** Asks the API server what it can select, once, before the caches start. @param namespaces those that the operator serves; empty = all. */
export async function approvalCaches(client: KubeClient, namespaces: readonly string[], signal?: AbortSignal): Promise<ApprovalCaches> {
  const sessions = await sessionCachePlan(client, namespaces, signal);
  return {
    selectsByPhase: sessions.selectsByPhase,
    plans: [
      { kind: 'accessRequest', keep: (object) => keepRequest(object as KeptRequest) as KubeObject }, { kind: 'accessDecision' }, sessions.plan, { kind: 'admissionPolicy' }, { kind: 'admissionBinding' },
    ],
  };
}

/** Starts the controllers of integrity, requests and sessions; they share the pace of deletion. */
export function startApprovalControllers(deps: ControllerDeps, options: { readonly selectsByPhase: boolean }): readonly Controller[] {
  const deletes = createPacer(deps.clock, retentionLimits.deletesPerSecond);
  const integrity = startIntegrityController(deps);
  const requests = startAccessRequestController({ ...deps, deletes, integrity: integrity.integrity });
  const sessions = startAccessSessionController({ ...deps, deletes, selectsByPhase: options.selectsByPhase });
  return [integrity, requests, sessions];
}
