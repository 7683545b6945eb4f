import type { AccessDecisionResource, AccessRequestResource, ProxyConfigResource } from '../../../contract/api/v1alpha1.gen.ts';
import { fieldManagers, proxyName } from '../../../contract/names.ts';
import { retentionLimits } from '../../../contract/operator-settings.ts';
import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import { steadyNow } from '../../../runtime/clock.ts';
import { getObject, mergePatch } from '../../../runtime/kube/verbs.ts';
import type { ObjectCache } from '../../kube/caches.ts';
import { type Controller, type ReconcileAnswer, startController } from '../../kube/controller.ts';
import { kinds } from '../../kube/kinds.ts';
import { type ConfigReader, configReader } from '../config-reader.ts';
import type { ControllerDeps } from '../deps.ts';
import { type Index, openIndex } from '../index-by.ts';
import type { Integrity } from '../integrity/integrity.ts';
import type { Pacer } from '../pacer.ts';
import { type ProxyPods, proxyPods } from '../proxy-pods.ts';
import type { KeptRequest } from './kept-request.ts';
import { isFinished, planRequest, type RequestFacts, type RequestPlan } from './plan.ts';
import { sweepRequests } from './sweep.ts';

/** What the controller needs beside the common things. */
export interface AccessRequestDeps extends ControllerDeps {
  /** No decision counts while it does not hold. */
  readonly integrity: Integrity;
  /** Shared by everything that deletes. */
  readonly deletes: Pacer;
}

const sweepKey = '*sweep';
const sweepEveryMs = 60_000;

/**
 * Keeps the status of AccessRequests: phase, approvals, decisions with the reason why one is ignored, expiry, Events; and deletes finished ones when their retention is over.
 * What it writes is for people: a proxy releases nothing on it.
 */
export function startAccessRequestController(deps: AccessRequestDeps): Controller {
  const state = openState(deps);
  const controller = startController({
    name: 'access-request', metrics: deps.metrics, log: deps.log, clock: deps.clock, mayWork: deps.mayWork,
    reconcile: async (key, signal) => {
      await deps.caches.whenSynced();
      if (key !== sweepKey) return reconcile(state, key, signal);
      // Also what was listed before anybody subscribed.
      enqueueAll(state.requests.list());
      return sweep(state, signal);
    },
  });
  const enqueueAll = (requests: readonly KeptRequest[]): void => {
    for (const request of requests) if (!isFinished(request)) controller.enqueue(keyOf(request));
  };
  state.requests.subscribe(controller.enqueue);
  state.decisions.subscribe((key) => {
    const slash = key.indexOf('/');
    for (const request of state.decisionsOf.update(key, state.decisions.get(key.slice(0, slash), key.slice(slash + 1)))) controller.enqueue(request);
  });
  state.configs.subscribe((key) => enqueueAll(state.requests.inNamespace(key.slice(0, key.indexOf('/')))));
  state.pods.subscribe((namespace) => enqueueAll(state.requests.inNamespace(namespace).filter(isHeld)));
  deps.integrity.subscribe(() => enqueueAll(state.requests.list()));
  controller.enqueue(sweepKey);
  return controller;
}

interface State {
  readonly deps: AccessRequestDeps;
  readonly now: () => number;
  readonly requests: ObjectCache<KeptRequest>;
  readonly decisions: ObjectCache<AccessDecisionResource>;
  readonly configs: ObjectCache<ProxyConfigResource>;
  readonly decisionsOf: Index<AccessDecisionResource>;
  readonly pods: ProxyPods;
  readonly readConfig: ConfigReader;
}

function openState(deps: AccessRequestDeps): State {
  const decisions = deps.caches.of<AccessDecisionResource>('accessDecision');
  const decisionsOf = openIndex<AccessDecisionResource>((decision) => `${decision.metadata.namespace ?? ''}/${decision.spec.requestRef.name}`);
  for (const decision of decisions.list()) decisionsOf.update(keyOf(decision), decision);
  return {
    deps, decisions, decisionsOf, now: steadyNow(deps.clock), requests: deps.caches.of<KeptRequest>('accessRequest'), configs: deps.caches.of<ProxyConfigResource>('proxyConfig'),
    pods: proxyPods(deps.client, deps.caches), readConfig: configReader(),
  };
}

async function reconcile(state: State, key: string, signal: AbortSignal): Promise<ReconcileAnswer | undefined> {
  const slash = key.indexOf('/');
  const request = state.requests.get(key.slice(0, slash), key.slice(slash + 1));
  if (request === null || request.metadata.deletionTimestamp !== undefined || isFinished(request)) return undefined;
  const plan = await decide(state, request, signal);
  if (plan.status !== null) await write(state, request, plan, signal);
  return plan.requeueAtMs === null ? undefined : { requeueAfterMs: Math.max(0, plan.requeueAtMs - state.now()) + 5 };
}

/** What ends a request for good because of the config is decided by the config that is stored, not by one that a cache still has. */
async function decide(state: State, request: KeptRequest, signal: AbortSignal): Promise<RequestPlan> {
  const namespace = request.metadata.namespace ?? '';
  const facts = await gather(state, request, state.readConfig(state.configs.get(namespace, proxyName)), signal);
  const plan = planRequest(facts);
  if (!plan.restsOnConfig) return plan;
  const stored = await getObject<ProxyConfigResource>(state.deps.client, kinds.proxyConfig, namespace, proxyName, { signal });
  return planRequest({ ...facts, config: state.readConfig(stored) });
}

async function gather(state: State, request: KeptRequest, config: ProxyConfig | null, signal: AbortSignal): Promise<RequestFacts> {
  const namespace = request.metadata.namespace ?? '';
  const decisions = state.decisionsOf.keys(keyOf(request)).flatMap((key) => state.decisions.get(namespace, key.slice(key.indexOf('/') + 1)) ?? []);
  const { pod } = request.status?.use ?? {};
  const holderGone = isHeld(request) && pod !== undefined && await state.pods.isGone(namespace, pod, signal);
  const { storedBytes: _bytes, ...plain } = request;
  return {
    request: plain, decisions, config, aliases: state.deps.settings.identityAliases, integrity: state.deps.integrity.facts(), holderGone,
    pending: request.status?.phase === undefined ? pendingBefore(state.requests.inNamespace(namespace), request) : { ofRequester: 0, ofNamespace: 0 }, nowMs: state.now(),
  };
}

function pendingBefore(requests: readonly AccessRequestResource[], mine: AccessRequestResource): RequestFacts['pending'] {
  const before = requests.filter((other) => other.metadata.uid !== mine.metadata.uid
    && (other.status?.phase === 'Pending' || (other.status?.phase === undefined && isOlder(other, mine))) && other.status?.use?.state !== 'Withdrawn');
  return { ofNamespace: before.length, ofRequester: before.filter((other) => other.spec.requester.username === mine.spec.requester.username).length };
}

function isOlder(other: AccessRequestResource, mine: AccessRequestResource): boolean {
  const [one, two] = [other.metadata.creationTimestamp ?? '', mine.metadata.creationTimestamp ?? ''];
  return one < two || (one === two && other.metadata.name < mine.metadata.name);
}

/** Bound to the version that was counted: a proxy that marked it Used meanwhile makes this fail and be counted anew. */
async function write(state: State, request: KeptRequest, plan: RequestPlan, signal: AbortSignal): Promise<void> {
  const { namespace = '', name, uid, resourceVersion } = request.metadata;
  await mergePatch(state.deps.client, kinds.accessRequest, namespace, name, { metadata: { uid, resourceVersion }, status: plan.status }, { subresource: 'status', fieldManager: fieldManagers.operatorStatus, signal });
  for (const event of plan.events) {
    state.deps.events.record({ regarding: { apiVersion: request.apiVersion, kind: 'AccessRequest', namespace, name, ...(uid === undefined ? {} : { uid }) }, ...event });
  }
}

async function sweep(state: State, signal: AbortSignal): Promise<ReconcileAnswer> {
  const { deps, requests, decisions, decisionsOf } = state;
  const isMore = await sweepRequests({ client: deps.client, settings: deps.settings, deletes: deps.deletes, requests, decisions, decisionsOf, nowMs: state.now(), orphanMs: retentionLimits.orphanDecisionHours * 3_600_000 }, signal);
  return { requeueAfterMs: isMore ? 0 : sweepEveryMs };
}

/** A statement that a proxy holds; requests for sessions and windows outlive the connection. */
function isHeld(request: AccessRequestResource): boolean {
  return request.spec.scope === 'Statement' && request.status?.use?.state === 'Waiting' && !isFinished(request);
}

function keyOf(object: { readonly metadata: { readonly namespace?: string; readonly name: string } }): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}
