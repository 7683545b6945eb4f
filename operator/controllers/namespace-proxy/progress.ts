import type { ProxyConfigResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { ProxyPod } from './facts.ts';

type Ack = NonNullable<NonNullable<ProxyConfigResource['status']>['proxies']>[number];

/** How far one object has come on the proxies that are ready. */
export interface Progress {
  readonly ready: number;
  readonly applied: number;
  /** What a proxy said that refused the config, the first by pod name. */
  readonly rejection: string | null;
  /** Pods that could not open the Target's port. */
  readonly unopened: readonly string[];
  /** What is wrong with the Target's Secret, as a proxy found it. */
  readonly secretProblem: 'InvalidSecret' | 'SecretNotFound' | null;
}

/** Which object, in which revision it appeared as it is now. */
export interface ProgressQuestion {
  /** Null: it is in no config. */
  readonly sinceRevision: number | null;
  /** The Target's name, where the object is one. */
  readonly target?: string;
}

/** Proxies that count: ready, not on their way out. */
export function readyPods(config: ProxyConfigResource | null, pods: readonly ProxyPod[]): readonly ProxyPod[] {
  return pods.filter((pod) => pod.isReady && !pod.isTerminating && ackOf(config, pod)?.state !== 'Draining').sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The acknowledgement that a pod of this very uid wrote. */
export function ackOf(config: ProxyConfigResource | null, pod: ProxyPod): Ack | null {
  return config?.status?.proxies?.find((ack) => ack.pod === pod.name && (ack.podUID === undefined || ack.podUID === pod.uid)) ?? null;
}

/** Joins acknowledgements with the pods that are ready. Entries of other pods say nothing. */
export function progressOf(config: ProxyConfigResource | null, pods: readonly ProxyPod[], question: ProgressQuestion): Progress {
  const ready = readyPods(config, pods);
  const acks = ready.map((pod) => ({ pod, ack: ackOf(config, pod) }));
  const { sinceRevision, target } = question;
  const unopened = acks.filter(({ ack }) => target !== undefined && failureOf(ack, target) === 'PORT_NOT_OPEN').map(({ pod }) => pod.name);
  const applied = acks.filter(({ pod, ack }) => ack !== null && sinceRevision !== null && hasApplied(config, ack, sinceRevision) && !unopened.includes(pod.name) && !isUnknown(ack, target)).length;
  const rejected = acks.map(({ ack }) => ack).find((ack) => ack?.state === 'Rejected');
  const secrets = target === undefined ? [] : acks.map(({ ack }) => failureOf(ack, target)).filter((reason) => reason === 'InvalidSecret' || reason === 'SecretNotFound');
  return { ready: ready.length, applied, rejection: rejected === undefined ? null : `${rejected?.reason ?? 'Rejected'}: ${rejected?.message ?? 'no reason given'}`, unopened, secretProblem: secrets[0] ?? null };
}

/** The highest revision that a live proxy has in force, or null. An absurd one (a day ahead of the clock) is ignored: a broken proxy must not use up the numbers. */
export function highestAcknowledged(config: ProxyConfigResource | null, pods: readonly ProxyPod[], nowMs: number): number | null {
  const revisions = pods.flatMap((pod) => ackOf(config, pod)?.revision ?? []).filter((revision) => revision < nowMs + 86_400_000);
  return revisions.length === 0 ? null : Math.max(...revisions);
}

function hasApplied(config: ProxyConfigResource | null, ack: Ack, sinceRevision: number): boolean {
  if (ack.state === 'Rejected' || ack.revision < sinceRevision || config === null) return false;
  // Above what is stored: applied from a config that was restored or deleted since, so nobody knows what is in it.
  if (ack.revision > config.spec.revision) return false;
  return ack.revision < config.spec.revision || ack.hash === config.spec.hash;
}

function failureOf(ack: Ack | null, target: string): string | null {
  return ack?.failedTargets?.find((failed) => failed.name === target)?.reason ?? null;
}

/** A pod lists at most 64 failures; behind a full list others may hide. */
const maxFailures = 64;

function isUnknown(ack: Ack, target: string | undefined): boolean {
  return target !== undefined && (ack.failedTargets?.length ?? 0) >= maxFailures;
}
