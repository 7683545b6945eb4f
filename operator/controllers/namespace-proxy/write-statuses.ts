import type { AccessPolicyResource, ProxyConfigResource, TargetResource } from '../../../contract/api/v1alpha1.gen.ts';
import { canonicalJson } from '../../../contract/canonical-json.ts';
import type { Condition } from '../../../contract/conditions.ts';
import { apiVersion, fieldManagers, proxyName } from '../../../contract/names.ts';
import type { EventRecorder } from '../../../runtime/kube/events.ts';
import { KubeError } from '../../../runtime/kube/kube-client.ts';
import type { KubeClient, KubeObject } from '../../../runtime/kube/kube-client.ts';
import { applyObject, mergePatch } from '../../../runtime/kube/verbs.ts';
import { kinds } from '../../kube/kinds.ts';
import { writeStatus } from '../../kube/status.ts';
import { inParallel } from './in-parallel.ts';
import { policyStatus, proxyConfigStatus, targetStatus } from './statuses.ts';
import type { StatusContext } from './statuses.ts';
import type { WriteMemory } from './write-memory.ts';

/** What writing statuses takes. */
export interface StatusWriter {
  readonly client: KubeClient;
  readonly memory: WriteMemory;
  readonly events: Pick<EventRecorder, 'record'>;
  readonly monotonicMs: () => number;
  readonly signal: AbortSignal;
}

/** Longer than this the statuses of one reconcile do not hold up the next one, which may revoke something. */
export const statusBudgetMs = 300;

/**
 * Writes the statuses that differ from what is stored: Targets and policies of the namespace, and this controller's part of the ProxyConfig's.
 *
 * @returns whether all are written; false: the time was up, come again.
 */
export async function writeStatuses(writer: StatusWriter, context: StatusContext): Promise<boolean> {
  const { facts, proxyConfig } = context;
  const untilMs = writer.monotonicMs() + statusBudgetMs;
  const jobs: readonly (() => Promise<boolean>)[] = [
    ...(proxyConfig === null ? [] : [() => writeProxyConfigStatus(writer, context, proxyConfig)]),
    ...facts.targets.map((target) => () => writeOne(writer, target, targetStatus(context, target), untilMs)),
    ...facts.policies.map((policy) => () => writeOne(writer, policy, policyStatus(context, policy), untilMs)),
  ];
  const done = await inParallel(jobs, (job) => job());
  return done.every(Boolean);
}

/**
 * Drops acknowledgements of pods that are gone: they would fill the list. A young one may be ahead of our cache of pods.
 *
 * @returns whether there are young ones to look at again.
 */
export async function dropGoneAcks(writer: StatusWriter, context: StatusContext): Promise<boolean> {
  const { facts, proxyConfig } = context;
  const acks = proxyConfig?.status?.proxies ?? [];
  const pods = new Set(facts.pods.map((pod) => pod.name));
  const kept = acks.filter((ack) => pods.has(ack.pod) || facts.nowMs - Date.parse(ack.appliedAt ?? '') < youngAckMs);
  const hasYoung = kept.some((ack) => !pods.has(ack.pod));
  if (proxyConfig === null || kept.length === acks.length) return hasYoung;
  try {
    await mergePatch(writer.client, kinds.proxyConfig, facts.namespace, proxyName, { metadata: { resourceVersion: proxyConfig.metadata.resourceVersion, uid: proxyConfig.metadata.uid }, status: { proxies: kept } }, { subresource: 'status', fieldManager: fieldManagers.operatorStatus, signal: writer.signal });
  } catch (error) {
    // An acknowledgement came in between; with it the reconcile comes again.
    if (!(error instanceof KubeError && (error.status === 409 || error.status === 404))) throw error;
  }
  return hasYoung;
}

/** How long an acknowledgement of a pod that we do not know is kept, ms. */
export const youngAckMs = 30_000;

async function writeOne(writer: StatusWriter, object: TargetResource | AccessPolicyResource, status: { readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[] }, untilMs: number): Promise<boolean> {
  if (canonicalJson(object.status ?? null) === canonicalJson(status)) return true;
  const key = `${object.kind}/${object.metadata.name}`;
  const digest = canonicalJson(status);
  if (writer.memory.hasWritten(object, key, digest)) return true;
  if (writer.monotonicMs() > untilMs) return false;
  try {
    const kind = object.kind === 'Target' ? kinds.target : kinds.accessPolicy;
    // Fields that are wanted no longer are named, so that the patch removes them.
    const removed = Object.fromEntries(Object.keys(object.status ?? {}).map((name) => [name, null]));
    await writeStatus(writer.client, kind, object, { ...removed, ...status }, { fieldManager: fieldManagers.operatorStatus, signal: writer.signal });
  } catch (error) {
    // Deleted, or made anew under its name, since it was read.
    if (!(error instanceof KubeError && (error.status === 404 || error.status === 409))) throw error;
  }
  writer.memory.wrote(object, key, digest);
  tell(writer, object, status);
  return true;
}

/** An Event for what a person should notice: a refusal that was not there before. */
function tell(writer: StatusWriter, object: TargetResource | AccessPolicyResource, status: Parameters<typeof writeOne>[2]): void {
  const accepted = status.conditions?.find((condition) => condition.type === 'Accepted');
  const before = object.status?.conditions?.find((condition) => condition.type === 'Accepted');
  if (accepted?.status !== 'False' || (before?.status === 'False' && before.reason === accepted.reason)) return;
  writer.events.record({ regarding: subjectOf(object), type: 'Warning', reason: accepted.reason, action: 'Accept', note: accepted.message });
}

/** Own field manager and no list replaced: the same status holds acknowledgements and the integrity conditions of others. */
async function writeProxyConfigStatus(writer: StatusWriter, { facts }: StatusContext, proxyConfig: ProxyConfigResource): Promise<true> {
  const status = proxyConfigStatus(facts, proxyConfig);
  const stored = proxyConfig.status ?? {};
  const isSame = stored.observedGeneration === status.observedGeneration && stored.programmed === status.programmed && stored.sshHostKeyFingerprint === status.sshHostKeyFingerprint &&
    status.conditions.every((condition) => canonicalJson(stored.conditions?.find((each) => each.type === condition.type) ?? null) === canonicalJson(condition));
  const digest = canonicalJson(status);
  if (isSame || writer.memory.hasWritten(proxyConfig, 'ProxyConfig/status', digest)) return true;
  await applyObject(writer.client, kinds.proxyConfig, { metadata: { name: proxyName, namespace: facts.namespace }, status } as Parameters<typeof applyObject>[2], { fieldManager: fieldManagers.operatorStatus, force: true, subresource: 'status', signal: writer.signal });
  writer.memory.wrote(proxyConfig, 'ProxyConfig/status', digest);
  const rejected = (conditions: readonly { readonly type: string; readonly reason: string }[]): boolean => conditions.some((condition) => condition.type === 'Programmed' && condition.reason === 'Rejected');
  if (rejected(status.conditions) && !rejected(stored.conditions ?? [])) {
    writer.events.record({ regarding: subjectOf(proxyConfig), type: 'Warning', reason: 'Rejected', action: 'Program', note: messageOf(status.conditions) });
  }
  return true;
}

function messageOf(conditions: readonly Condition[]): string {
  return conditions.find((condition) => condition.type === 'Programmed')?.message ?? '';
}

function subjectOf(object: KubeObject & { readonly kind?: string }): Parameters<EventRecorder['record']>[0]['regarding'] {
  const { name, namespace = '', uid } = object.metadata;
  return { apiVersion, kind: object.kind ?? 'ProxyConfig', namespace, name, ...(uid === undefined ? {} : { uid }) };
}
