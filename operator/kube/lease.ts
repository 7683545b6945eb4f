import { type RuntimeClock, sleep } from '../../runtime/clock.ts';
import { type KubeClient, KubeError, type KubeObject } from '../../runtime/kube/kube-client.ts';
import { createObject, getObject, replaceObject, type VerbOptions } from '../../runtime/kube/verbs.ts';
import { kinds } from './kinds.ts';

/** coordination.k8s.io/v1 Lease. */
interface LeaseObject extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

/** Who stands for election, and where. */
export interface ElectionOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Name of the Lease. */
  readonly name: string;
  /** Different for each process: `${podName}_${uuid}`. */
  readonly identity: string;
  readonly clock: RuntimeClock;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
  readonly onElected?: () => void;
  /** Leadership ended against our will: the process must stop writing and exit with 1. Called once. */
  readonly onLost?: () => void;
  /** A try failed; the next one comes. */
  readonly onError?: (error: unknown) => void;
}

/** A candidate. Disposal gives the Lease back, so that the next one need not wait for it to expire. */
export interface Election extends AsyncDisposable {
  /** True only while no other candidate can hold the Lease. Ask before each write. */
  isLeader(): boolean;
  /** Ms of leadership left without a renewal; 0 when not leading. */
  remainingMs(): number;
  /** Resolves when elected; rejects when the candidate is disposed before. */
  whenLeader(): Promise<void>;
}

/** client-go's figures, ms. */
export const leaseTimes = { leaseMs: 15_000, renewDeadlineMs: 10_000, retryMs: 2_000, jitter: 1.2 } as const;

/**
 * Stands for election by a Lease. Only monotonic time of this process counts: a holder stops 10 s after the start of its last successful renewal, another takes over no earlier
 * than 15 s after it saw the record change. Wall clocks are written for people and never read. Each write carries the resourceVersion that was read, so one of two wins.
 */
export function startElection(options: ElectionOptions): Election {
  const stopped = new AbortController();
  const elected = Promise.withResolvers<void>();
  elected.promise.catch(() => {});
  const state: State = { lease: null, seen: '', seenMs: 0, leaderUntilMs: Number.NEGATIVE_INFINITY, isHolding: false, isLost: false };
  const remainingMs = (): number => (state.isHolding && !state.isLost ? Math.max(0, state.leaderUntilMs - options.clock.monotonicMs()) : 0);
  const run = async (): Promise<void> => {
    while (!stopped.signal.aborted && !state.isLost) {
      const wasHolding = state.isHolding;
      await attempt(options, state, stopped.signal).catch((error: unknown) => options.onError?.(error));
      if (stopped.signal.aborted) return;
      if (!wasHolding && state.isHolding) {
        options.onElected?.();
        elected.resolve();
      }
      if (wasHolding && remainingMs() === 0) return lose(options, state);
      const delayMs = leaseTimes.retryMs * (1 + options.random() * (leaseTimes.jitter - 1));
      // Not past the deadline: whoever leads must notice in time that it is over.
      await sleep(options.clock, state.isHolding ? Math.min(delayMs, remainingMs()) : delayMs, stopped.signal).catch(() => {});
      if (state.isHolding && remainingMs() === 0 && !stopped.signal.aborted) return lose(options, state);
    }
  };
  const running = run();
  return {
    isLeader: () => remainingMs() > 0,
    remainingMs,
    whenLeader: () => elected.promise,
    async [Symbol.asyncDispose]() {
      const wasLeader = remainingMs() > 0;
      stopped.abort(new KubeError({ status: 0, reason: 'Aborted', message: 'the candidate stands down' }));
      await running;
      state.isHolding = false;
      elected.reject(stopped.signal.reason);
      if (wasLeader) await release(options, state);
    },
  };
}

interface State {
  /** As last read or written. */
  lease: LeaseObject | null;
  /** The record's text, and monotonic ms at which it last changed before our eyes. */
  seen: string;
  seenMs: number;
  leaderUntilMs: number;
  isHolding: boolean;
  isLost: boolean;
}

async function attempt(options: ElectionOptions, state: State, signal: AbortSignal): Promise<void> {
  const startedMs = options.clock.monotonicMs();
  // A holder writes at once with the version that it wrote last; a conflict makes it read again.
  if (!state.isHolding) {
    const lease = await read(options, state, signal);
    if (lease !== null && !isFree(options, state, lease)) return;
  }
  try {
    look(options, state, await write(options, state, signal));
  } catch (error) {
    if (!(error instanceof KubeError && error.status === 409)) throw error;
    // Our own last write may have arrived without its answer; another's means that it is over.
    const lease = await read(options, state, signal);
    if (lease?.spec?.holderIdentity !== options.identity) state.leaderUntilMs = Number.NEGATIVE_INFINITY;
    return;
  }
  state.isHolding = true;
  state.leaderUntilMs = startedMs + leaseTimes.renewDeadlineMs;
}

async function read(options: ElectionOptions, state: State, signal: AbortSignal): Promise<LeaseObject | null> {
  const lease = await getObject<LeaseObject>(options.client, kinds.lease, options.namespace, options.name, callOf(options, state, signal));
  look(options, state, lease);
  return lease;
}

function look(options: ElectionOptions, state: State, lease: LeaseObject | null): void {
  state.lease = lease;
  const seen = JSON.stringify([lease?.metadata.uid, lease?.metadata.resourceVersion, lease?.spec]);
  if (seen === state.seen) return;
  state.seen = seen;
  state.seenMs = options.clock.monotonicMs();
}

function isFree(options: ElectionOptions, state: State, lease: LeaseObject): boolean {
  const holder = lease.spec?.holderIdentity ?? '';
  if (holder === '' || holder === options.identity) return true;
  const leaseMs = Math.max(leaseTimes.leaseMs, (lease.spec?.leaseDurationSeconds ?? 0) * 1_000);
  return options.clock.monotonicMs() - state.seenMs > leaseMs;
}

function write(options: ElectionOptions, state: State, signal: AbortSignal): Promise<LeaseObject> {
  const now = microTime(options.clock.now());
  const before = state.lease?.spec;
  const isOurs = before?.holderIdentity === options.identity;
  const spec = {
    holderIdentity: options.identity, leaseDurationSeconds: leaseTimes.leaseMs / 1_000, renewTime: now,
    acquireTime: isOurs ? before.acquireTime ?? now : now, leaseTransitions: (before?.leaseTransitions ?? 0) + (isOurs || before === undefined ? 0 : 1),
  };
  const call = callOf(options, state, signal);
  if (state.lease === null) return createObject<LeaseObject>(options.client, kinds.lease, options.namespace, { ...head, metadata: { name: options.name, namespace: options.namespace }, spec }, call);
  return replaceObject<LeaseObject>(options.client, kinds.lease, { ...state.lease, ...head, spec }, call);
}

async function release(options: ElectionOptions, state: State): Promise<void> {
  if (state.lease === null) return;
  const spec = { ...state.lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime(options.clock.now()) };
  // Where it fails the Lease expires.
  await replaceObject(options.client, kinds.lease, { ...state.lease, ...head, spec }, { timeoutMs: requestTimeoutMs }).catch((error: unknown) => options.onError?.(error));
}

/** A renewal that hangs must leave time for another one, and the last one must not outlast the deadline. */
function callOf(options: ElectionOptions, state: State, signal: AbortSignal): VerbOptions {
  const leftMs = state.isHolding ? state.leaderUntilMs - options.clock.monotonicMs() : requestTimeoutMs;
  return { signal, timeoutMs: Math.max(1, Math.min(requestTimeoutMs, leftMs)) };
}

function lose(options: ElectionOptions, state: State): void {
  state.isLost = true;
  options.onLost?.();
}

const head = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' } as const;
const requestTimeoutMs = 4_000;

function microTime(unixMs: number): string {
  return new Date(unixMs).toISOString().replace('Z', '000Z');
}
