import { managedByLabel, managedByValue, operatorName } from '../contract/names.ts';
import type { OperatorSettings } from '../contract/operator-settings.ts';
import { sleep } from '../runtime/clock.ts';
import type { RuntimeClock } from '../runtime/clock.ts';
import { startEventRecorder } from '../runtime/kube/events.ts';
import { KubeError } from '../runtime/kube/kube-client.ts';
import type { KubeClient, KubeObject } from '../runtime/kube/kube-client.ts';
import type { Log } from '../runtime/log.ts';
import type { Metrics } from '../runtime/metrics.ts';
import { approvalCaches, startApprovalControllers } from './controllers/approvals.ts';
import type { ControllerDeps } from './controllers/deps.ts';
import { startIdentityProviderController } from './controllers/identity-provider/start.ts';
import { namespaceKinds, startNamespaceProxyController } from './controllers/namespace-proxy/start.ts';
import { startCaches } from './kube/caches.ts';
import type { CachePlan, Caches } from './kube/caches.ts';
import type { Controller } from './kube/controller.ts';
import type { KindKey } from './kube/kinds.ts';
import { writesOnlyAsLeader } from './kube/leader-client.ts';
import { startElection } from './kube/lease.ts';
import type { Election } from './kube/lease.ts';
import type { OperatorMetrics } from './kube/metrics.ts';

/** What the operator runs on. */
export interface OperatorOptions {
  readonly settings: OperatorSettings;
  readonly client: KubeClient;
  /** Different for each process, and the name of the pod in Events. */
  readonly identity: string;
  readonly clock: RuntimeClock;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
  readonly log: Log;
  readonly registry: Metrics;
  readonly metrics: OperatorMetrics;
  /** Aborts a start that waits for the API server. */
  readonly signal: AbortSignal;
  /** The Lease went to somebody else against our will: end the process at once. */
  readonly onLost: () => void;
}

/** A running operator. */
export interface Operator {
  /** Why it is not ready, or null. Followers are ready too: else a rollout would wait for itself. */
  notReady(): string | null;
  /** Why it must be restarted, or null: a worker that does not come back. */
  stuck(): string | null;
  isLeader(): boolean;
  /** Every cache is complete and no controller has anything to do now. */
  isIdle(): boolean;
  /** Takes no new work, lets running reconciles finish (at most `workersMs`), sends what Events wait, gives the Lease back. */
  drain(workersMs: number): Promise<void>;
}

/** Silence of the API server beyond this makes the operator not ready. */
const contactMs = 60_000;
/** A reconcile that takes longer than this is stuck. */
const stuckMs = 300_000;

/** Starts caches, the election and all controllers. Controllers work only while this replica leads and every cache is complete. */
export async function runOperator(options: OperatorOptions): Promise<Operator> {
  const { settings, client, clock, log, metrics, random, registry } = options;
  const approvals = await retried(options, () => approvalCaches(client, settings.watchNamespaces, options.signal));
  const election = settings.leaderElection ? elect(options, () => wakeAll()) : alwaysLeader;
  metrics.leader(operatorName, election.isLeader);
  const leading = writesOnlyAsLeader(client, election);
  const caches = startCaches({ client, clock, random, metrics, log, namespaces: settings.watchNamespaces, plans: cachePlans(approvals.plans) });
  const events = startEventRecorder({ client: leading, clock, controller: 'sallyport.dev/operator', instance: options.identity.slice(0, 128), onError: (error) => log.debug('event not written', { error }) });
  const deps: ControllerDeps = { client: leading, settings, caches, events, metrics, registry, log, clock, random, mayWork: () => caches.synced && election.isLeader() };
  const controllers = [startNamespaceProxyController(deps), startIdentityProviderController(deps), ...startApprovalControllers(deps, approvals)];
  const wakeAll = (): void => {
    for (const controller of controllers) controller.wake();
  };
  void caches.whenSynced().then(() => {
    log.info('caches are complete');
    wakeAll();
  }, () => undefined);
  let isDraining = false;
  return {
    notReady: () => (isDraining ? 'draining' : notReady(caches, clock)),
    stuck: () => stuckKey(controllers, clock),
    isLeader: () => election.isLeader(),
    isIdle: () => caches.synced && controllers.every((controller) => controller.queue.isIdle),
    async drain(workersMs) {
      isDraining = true;
      await Promise.all(controllers.map((controller) => controller.drain(workersMs)));
      await events[Symbol.asyncDispose]();
      await caches[Symbol.asyncDispose]();
      await election[Symbol.asyncDispose]();
    },
  };
}

/** An API server that starts or restarts is waited for: the process would only be restarted for it. @throws when the start is given up. */
async function retried<T>({ clock, log, signal }: OperatorOptions, ask: () => Promise<T>): Promise<T> {
  for (let delayMs = 500; ; delayMs = Math.min(10_000, delayMs * 2)) {
    try {
      return await ask();
    } catch (error) {
      if (signal.aborted || !(error instanceof KubeError)) throw error;
      log.info('the API server does not answer yet, trying again', { error });
      await sleep(clock, delayMs, signal);
    }
  }
}

const alwaysLeader: Election = { isLeader: () => true, remainingMs: () => Number.MAX_SAFE_INTEGER, whenLeader: () => Promise.resolve(), [Symbol.asyncDispose]: () => Promise.resolve() };

function elect({ client, settings, identity, clock, random, log, onLost }: OperatorOptions, onElected: () => void): Election {
  return startElection({
    client, namespace: settings.namespace, name: operatorName, identity, clock, random,
    onElected: () => {
      log.info('this replica leads');
      onElected();
    },
    onLost, onError: (error) => log.info('the Lease cannot be had, trying again', { error }),
  });
}

/** What is generated is followed by our label: the caches hold nothing of other people. */
function cachePlans(approvals: readonly CachePlan[]): readonly CachePlan[] {
  const written: ReadonlySet<KindKey> = new Set(['target', 'accessPolicy', 'identityProvider', 'proxyConfig']);
  const own = namespaceKinds.map((kind): CachePlan => (written.has(kind) ? { kind } : { kind, labelSelector: `${managedByLabel}=${managedByValue}`, ...(kind === 'pod' ? { keep: keepPod } : {}) }));
  const followed = new Set(own.map((plan) => plan.kind));
  return [...own, ...approvals.filter((plan) => !followed.has(plan.kind))];
}

/** Which pod it is, and whether it is ready. */
function keepPod(pod: KubeObject): KubeObject {
  const { phase, conditions } = (pod.status ?? {}) as { readonly phase?: string; readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
  const ready = conditions?.filter((condition) => condition.type === 'Ready').map(({ type, status }) => ({ type, status }));
  return { metadata: pod.metadata, status: { phase, conditions: ready ?? [] } };
}

function notReady(caches: Caches, clock: RuntimeClock): string | null {
  if (!caches.synced) return 'the caches are not complete yet';
  return clock.monotonicMs() - caches.oldestContactMs() > contactMs ? 'no word of the API server for a minute' : null;
}

function stuckKey(controllers: readonly Controller[], clock: RuntimeClock): string | null {
  for (const { queue } of controllers) for (const [key, sinceMs] of queue.processing) if (clock.monotonicMs() - sinceMs > stuckMs) return key;
  return null;
}
