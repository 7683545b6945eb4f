import type { AccessSessionResource } from '../../../contract/api/v1alpha1.gen.ts';
import { fieldManagers } from '../../../contract/names.ts';
import { steadyNow } from '../../../runtime/clock.ts';
import { KubeError } from '../../../runtime/kube/kube-client.ts';
import { listObjects, mergePatch } from '../../../runtime/kube/verbs.ts';
import { type Controller, type ReconcileAnswer, startController } from '../../kube/controller.ts';
import { kinds } from '../../kube/kinds.ts';
import type { ControllerDeps } from '../deps.ts';
import type { Pacer } from '../pacer.ts';
import { type ProxyPods, proxyPods } from '../proxy-pods.ts';
import { isOver, type KeptSession, lostStatus } from './plan.ts';
import { openSessionsSelector } from './session-cache.ts';
import { sweepSessions } from './sweep.ts';

/** What the controller needs beside the common things. */
export interface AccessSessionDeps extends ControllerDeps {
  /** Shared by everything that deletes. */
  readonly deletes: Pacer;
  /** Whether the API server selects sessions by phase. */
  readonly selectsByPhase: boolean;
}

const sweepKey = '*sweep';
const lookKey = '*look';
const sweepEveryMs = 60_000;
/** A look at every open session: for pods that went while nobody watched. */
const lookEveryMs = 600_000;
/** A pod that is deleted by force may still write the ends of its sessions. */
const graceMs = 5_000;

/**
 * Closes the records of sessions whose proxy pod is gone (phase Lost), and deletes finished ones by age and number. Open sessions are not followed, they are listed when a pod goes: what each
 * proxy writes about its sessions concerns nobody here.
 */
export function startAccessSessionController(deps: AccessSessionDeps): Controller {
  const state: State = { deps, pods: proxyPods(deps.client, deps.caches), now: steadyNow(deps.clock), ends: new Map() };
  const controller = startController({
    name: 'access-session', metrics: deps.metrics, log: deps.log, clock: deps.clock, mayWork: deps.mayWork, workers: 2,
    reconcile: async (key, signal) => {
      await deps.caches.whenSynced();
      if (key === sweepKey) return sweep(state, signal);
      if (key !== lookKey) return closeLost(state, await openSessions(deps, key, signal), signal);
      for (const namespace of watched(deps)) await closeLost(state, await openSessions(deps, namespace, signal), signal);
      return { requeueAfterMs: lookEveryMs };
    },
  });
  state.pods.subscribe((namespace) => controller.enqueueAfter(namespace, graceMs));
  controller.enqueue(lookKey);
  controller.enqueue(sweepKey);
  return controller;
}

interface State {
  readonly deps: AccessSessionDeps;
  readonly pods: ProxyPods;
  readonly now: () => number;
  readonly ends: Map<string, string>;
}

function watched(deps: AccessSessionDeps): readonly (string | null)[] {
  return deps.settings.watchNamespaces.length === 0 ? [null] : deps.settings.watchNamespaces;
}

async function openSessions(deps: AccessSessionDeps, namespace: string | null, signal: AbortSignal): Promise<readonly AccessSessionResource[]> {
  const { items } = await listObjects<AccessSessionResource>(deps.client, kinds.accessSession, namespace, { signal, ...(deps.selectsByPhase ? { fieldSelector: openSessionsSelector } : {}) });
  return items.filter((session) => !isOver(session));
}

async function closeLost(state: State, sessions: readonly AccessSessionResource[], signal: AbortSignal): Promise<void> {
  const isGone = new Map<string, boolean>();
  for (const session of sessions) {
    const { namespace = '' } = session.metadata;
    const pod = `${namespace}/${session.spec.pod}`;
    if (!isGone.has(pod)) isGone.set(pod, await state.pods.isGone(namespace, session.spec.pod, signal));
    if (isGone.get(pod) === true) await close(state, session, signal);
  }
}

async function close({ deps, now }: State, session: AccessSessionResource, signal: AbortSignal): Promise<void> {
  const { namespace = '', name, uid, resourceVersion } = session.metadata;
  try {
    await mergePatch(deps.client, kinds.accessSession, namespace, name, { metadata: { uid, resourceVersion }, status: lostStatus(session, now()) }, { subresource: 'status', fieldManager: fieldManagers.operatorStatus, signal });
  } catch (error) {
    // Its own proxy wrote the end meanwhile, or it is deleted: nothing is lost.
    if (error instanceof KubeError && (error.status === 409 || error.status === 404)) return;
    throw error;
  }
  deps.events.record({
    regarding: { apiVersion: session.apiVersion, kind: 'AccessSession', namespace, name, ...(uid === undefined ? {} : { uid }) },
    type: 'Warning', reason: 'SessionLost', action: 'Close', note: `pod ${session.spec.pod} is gone; the audit log tells how the session ended, as far as it was written`,
  });
}

async function sweep({ deps, now, ends }: State, signal: AbortSignal): Promise<ReconcileAnswer> {
  const sessions = deps.caches.of<KeptSession & { readonly metadata: { readonly name: string } }>('accessSession').list().filter((session) => deps.selectsByPhase || isOver(session));
  const isMore = await sweepSessions({ client: deps.client, settings: deps.settings, deletes: deps.deletes, sessions, ends, nowMs: now() }, signal);
  return { requeueAfterMs: isMore ? 0 : sweepEveryMs };
}
