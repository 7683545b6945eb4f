import type { ProxyConfigResource } from '../../../contract/api/v1alpha1.gen.ts';
import { caConfigMap, listenerTlsSecret, sshHostKeySecret, sshKnownHostsConfigMap, targetLabel } from '../../../contract/names.ts';
import { KubeError } from '../../../runtime/kube/kube-client.ts';
import type { ControllerDeps } from '../deps.ts';
import { applyWanted, NameTaken, removeUnwanted } from './apply-objects.ts';
import type { ApplyContext } from './apply-objects.ts';
import { checkNamespace } from './check.ts';
import type { Verdict } from './check.ts';
import type { NamespaceFacts } from './facts.ts';
import { completeFacts, gatherNamespace } from './gather.ts';
import { inParallel } from './in-parallel.ts';
import type { Lookups } from './lookups.ts';
import { lookupTimes } from './lookups.ts';
import { createOwnSecret } from './own-secrets.ts';
import { emptyUntilMs, planConfig } from './plan-config.ts';
import { caAnnotation, goneServices, leftovers, missingSecrets, planIsolation, planObjects, planServices, publicHostKeys } from './plan-objects.ts';
import type { PublishedKeys, WantedObject } from './plan-objects.ts';
import type { StatusContext } from './statuses.ts';
import { writeConfig } from './write-config.ts';
import { aheadMs } from './write-memory.ts';
import type { WriteMemory } from './write-memory.ts';
import { dropGoneAcks, writeStatuses, youngAckMs } from './write-statuses.ts';

/** What reconciling takes, beside the key. */
export interface NamespaceContext {
  readonly deps: ControllerDeps;
  readonly lookups: Lookups;
  readonly memory: WriteMemory;
  /** Told when every ready proxy has applied a new ProxyConfig: ms since it was compiled. */
  readonly onProgrammed: (elapsedMs: number) => void;
}

/** When something is looked at again though nothing was told. */
const resyncMs = lookupTimes.foundMs;
const missingMs = lookupTimes.missingMs + 500;
/** After a name was found taken, or the time for statuses was up. */
const soonMs = 5;

/**
 * Brings one namespace to what its Targets and policies ask for.
 *
 * Order up: ProxyConfig, the rest, and a Service once every ready proxy has opened its port. Order down: Service, listener, 24 h of rest. Statuses last. A namespace that is
 * being deleted is done.
 */
export async function reconcileNamespace(context: NamespaceContext, namespace: string, signal: AbortSignal): Promise<{ readonly requeueAfterMs: number } | undefined> {
  try {
    const facts = await gatherNamespace(context.deps, context.lookups, context.memory, namespace, signal);
    if (facts.proxyConfig?.metadata.deletionTimestamp !== undefined) return { requeueAfterMs: 1_000 };
    const verdict = checkNamespace(facts);
    const { proxyConfig, failure } = await changeAccess(context, facts, verdict, signal);
    const isEmpty = proxyConfig === null && facts.targets.length === 0 && facts.policies.length === 0;
    if (isEmpty) context.memory.forget(namespace);
    const requeueAfterMs = isEmpty ? undefined : await bringUp(context, await completeFacts(facts, context.lookups, signal), verdict, proxyConfig, signal);
    if (failure !== null) throw failure.error;
    return requeueAfterMs === undefined ? undefined : { requeueAfterMs };
  } catch (error) {
    if (error instanceof NameTaken) return { requeueAfterMs: soonMs };
    // Something is not as we remember it: the next run believes the cache.
    if (error instanceof KubeError && (error.status === 404 || error.status === 409)) context.memory.forget(namespace);
    if (error instanceof KubeError && error.status === 403 && error.message.includes('being terminated')) return undefined;
    throw error;
  }
}

/** Services of gone Targets go, the ProxyConfig is written. What takes access away waits neither for a Service that cannot be deleted nor for a Secret that cannot be looked at. */
async function changeAccess({ deps, lookups, memory }: NamespaceContext, facts: NamespaceFacts, verdict: Verdict, signal: AbortSignal): Promise<{ readonly proxyConfig: ProxyConfigResource | null; readonly failure: { readonly error: unknown } | null }> {
  const apply: ApplyContext = { client: deps.client, lookups, memory, facts, signal };
  const failure = await firstFailure(goneServices(facts), (gone) => removeUnwanted(apply, gone));
  return { proxyConfig: await writeConfig(deps.client, memory, facts, planConfig(facts, verdict), signal), failure };
}

/** @returns when to come again, ms. */
async function bringUp(context: NamespaceContext, facts: NamespaceFacts, verdict: Verdict, proxyConfig: ProxyConfigResource | null, signal: AbortSignal): Promise<number> {
  const { deps, lookups, memory } = context;
  const status = await applyObjects(context, { client: deps.client, lookups, memory, facts, signal }, verdict, proxyConfig);
  noteProgress(context, status);
  const writer = { client: deps.client, memory, events: deps.events, monotonicMs: () => deps.clock.monotonicMs(), signal };
  const isDone = await writeStatuses(writer, status);
  const hasYoung = await dropGoneAcks(writer, status);
  return isDone ? Math.min(nextLookMs(facts, verdict), hasYoung ? youngAckMs : resyncMs, memory.isAhead(facts.namespace) ? aheadMs + 1_000 : resyncMs) : soonMs;
}

/** @returns what the statuses are made of. */
async function applyObjects(context: NamespaceContext, apply: ApplyContext, verdict: Verdict, proxyConfig: ProxyConfigResource | null): Promise<StatusContext> {
  const { facts } = apply;
  // Under a name of somebody else nothing can be applied; the Targets' conditions say so.
  if (proxyConfig === null || facts.foreignObjects.length > 0) return { facts, verdict, proxyConfig, isolation: new Map(), services: new Map() };
  const published = await ensureSecrets(context, apply);
  for (const wanted of planObjects(facts, proxyConfig, verdict.render.config, published)) await applyWanted(apply, wanted);
  const services = planServices(facts, verdict, proxyConfig);
  await inParallel(services, (wanted) => applyWanted(apply, wanted));
  const isolation = planIsolation(facts, proxyConfig);
  const policies = [...isolation.values()].flatMap((outcome): readonly WantedObject[] => (outcome.outcome === 'policy' ? [{ kind: 'networkPolicy', object: outcome.object }] : []));
  await inParallel(policies, (wanted) => applyWanted(apply, wanted));
  await inParallel(leftovers(facts, services, isolation), (unwanted) => removeUnwanted(apply, unwanted));
  return { facts, verdict, proxyConfig, isolation, services: new Map(services.map(({ object }) => [object.metadata.labels[targetLabel] ?? '', object.metadata.name])) };
}

/** @returns what clients verify the listeners by, where the operator may publish it. */
async function ensureSecrets({ deps, lookups }: NamespaceContext, { facts, signal }: ApplyContext): Promise<PublishedKeys> {
  for (const name of missingSecrets(facts)) {
    await createOwnSecret(deps.client, facts, name, signal);
    lookups.forget('secret', facts.namespace, name);
  }
  // Read back, so that a Secret that somebody else made at the same time counts.
  const [tls, hostKey] = await Promise.all([listenerTlsSecret, sshHostKeySecret].map((name) => lookups.secret(facts.namespace, name, signal)));
  const caCertificate = tls?.annotations[caAnnotation] ?? null;
  const hostKeys = publicHostKeys({ ...facts, secrets: new Map([[sshHostKeySecret, hostKey ?? null]]) });
  const isForeign = (name: string): Promise<boolean> => lookups.isForeign('configMap', facts.namespace, name, signal);
  return {
    caCertificate: caCertificate === null || await isForeign(caConfigMap) ? null : caCertificate,
    hostKeys: hostKeys.length === 0 || await isForeign(sshKnownHostsConfigMap) ? [] : hostKeys,
  };
}

function noteProgress({ onProgrammed }: NamespaceContext, { facts, proxyConfig }: StatusContext): void {
  const before = proxyConfig?.status;
  const isProgrammed = (proxyConfig?.status?.proxies ?? []).length > 0 && facts.pods.some((pod) => pod.isReady);
  if (proxyConfig === null || !isProgrammed || before?.observedGeneration === proxyConfig.metadata.generation && before?.conditions?.some((condition) => condition.type === 'Programmed' && condition.status === 'True') === true) return;
  if (proxyConfig.status?.proxies?.every((ack) => ack.revision >= proxyConfig.spec.revision) === true) onProgrammed(Math.max(0, facts.nowMs - proxyConfig.spec.revision));
}

function nextLookMs(facts: NamespaceFacts, { ports }: Verdict): number {
  const isMissing = [...facts.secrets.values()].includes(null) || facts.foreignServices.size > 0 || facts.foreignObjects.length > 0;
  const dueMs = [ports.nextFreeAtMs, emptyUntilMs(facts)].flatMap((atMs) => (atMs === null ? [] : [Math.max(1_000, atMs - facts.nowMs + 1_000)]));
  return Math.min(resyncMs, ...(isMissing ? [missingMs] : []), ...dueMs);
}

async function firstFailure<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<{ readonly error: unknown } | null> {
  let failure: { readonly error: unknown } | null = null;
  await inParallel(items, async (item) => {
    try {
      await work(item);
    } catch (error) {
      failure ??= { error };
    }
  });
  return failure;
}
