import { createHash } from 'node:crypto';
import type { RuntimeClock } from '../clock.ts';
import { type KubeClient, type KubeKind, type KubeObject, KubeError } from './kube-client.ts';
import { createObject, mergePatch } from './verbs.ts';

/** Which object an Event is about. */
export interface EventSubject {
  readonly apiVersion: string;
  readonly kind: string;
  /** Empty for kinds without a namespace; their Events stand in `default`. */
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string;
}

/** A change of state, for people. Never a statement, a value or a credential. */
export interface EventFacts {
  readonly regarding: EventSubject;
  readonly related?: EventSubject;
  readonly type: 'Normal' | 'Warning';
  /** CamelCase, at most 128 characters. */
  readonly reason: string;
  /** What was done, CamelCase, at most 128 characters. */
  readonly action: string;
  /** Cut at 1 KiB. */
  readonly note: string;
}

/** Who reports. */
export interface EventRecorderOptions {
  readonly client: KubeClient;
  readonly clock: RuntimeClock;
  /** `sallyport.dev/operator` or `sallyport.dev/proxy`. */
  readonly controller: string;
  /** The pod. */
  readonly instance: string;
  readonly onDropped?: () => void;
  readonly onError?: (error: unknown) => void;
}

/** Writes Events in the background. Disposal tries what waits for at most 5 s. */
export interface EventRecorder extends AsyncDisposable {
  /** Never waits and never throws. */
  record(facts: EventFacts): void;
  /** Events dropped since the start: by the bucket of an object, or because 1,000 waited. */
  dropped(): number;
  /** Nothing waits and nothing is being sent. */
  readonly isIdle: boolean;
}

/** Limits of a recorder: events and ms. */
export const eventLimits = { queue: 1_000, burst: 25, refillMs: 300_000, seriesMs: 360_000, subjects: 4_096 } as const;

/**
 * Records events.k8s.io/v1 Events. The same event again within 6 min becomes a series of the first one; each object may cause 25 at once and one per 5 min; at most 1,000 wait, the
 * oldest is dropped. An Event that the API server refuses is dropped: nothing depends on it.
 */
export function startEventRecorder(options: EventRecorderOptions): EventRecorder {
  const queue: EventFacts[] = [];
  const series = new Map<string, Series>();
  const buckets = new Map<string, Bucket>();
  const stopped = new AbortController();
  let dropped = 0;
  let sending: Promise<void> | null = null;
  const drop = (): void => {
    dropped++;
    options.onDropped?.();
  };
  const send = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined && !stopped.signal.aborted; next = queue.shift()) {
      await write(options, series, next, stopped.signal).catch((error: unknown) => options.onError?.(error));
    }
    sending = null;
  };
  return {
    record(facts) {
      if (stopped.signal.aborted) return;
      if (!mayPass(buckets, subjectKey(facts.regarding), options.clock.monotonicMs())) return drop();
      if (queue.push(facts) > eventLimits.queue) {
        queue.shift();
        drop();
      }
      sending ??= send();
    },
    dropped: () => dropped,
    get isIdle() {
      return sending === null;
    },
    async [Symbol.asyncDispose]() {
      const cancel = options.clock.after(5_000, () => stopped.abort(new Error('the recorder stops')));
      await sending;
      cancel();
      stopped.abort(new Error('the recorder stopped'));
    },
  };
}

interface Series {
  readonly name: string;
  readonly namespace: string;
  count: number;
  lastMs: number;
}

interface Bucket {
  /** Monotonic ms at which it is full again. */
  fullMs: number;
}

const eventKind: KubeKind = { group: 'events.k8s.io', version: 'v1', plural: 'events', kind: 'Event', namespaced: true };

async function write(options: EventRecorderOptions, series: Map<string, Series>, facts: EventFacts, signal: AbortSignal): Promise<void> {
  const nowMs = options.clock.monotonicMs();
  const key = JSON.stringify([facts.type, facts.action, facts.reason, facts.regarding, facts.related ?? null]);
  const running = series.get(key);
  const time = microTime(options.clock.now());
  if (running !== undefined && nowMs - running.lastMs <= eventLimits.seriesMs) {
    running.count++;
    running.lastMs = nowMs;
    try {
      await mergePatch(options.client, eventKind, running.namespace, running.name, { series: { count: running.count, lastObservedTime: time } }, { signal });
      return;
    } catch (error) {
      // Events live an hour and may be deleted; then it is told anew.
      if (!(error instanceof KubeError && error.status === 404)) throw error;
    }
  }
  const namespace = facts.regarding.namespace === '' ? 'default' : facts.regarding.namespace;
  const name = `${facts.regarding.name.slice(0, 200)}.${nameSuffix(options, key)}`;
  remember(series, key, { name, namespace, count: 1, lastMs: nowMs }, nowMs);
  const event: KubeObject & Readonly<Record<string, unknown>> = {
    apiVersion: 'events.k8s.io/v1', kind: 'Event', metadata: { name, namespace }, eventTime: time, reportingController: options.controller, reportingInstance: options.instance.slice(0, 128),
    type: facts.type, action: facts.action.slice(0, 128), reason: facts.reason.slice(0, 128), note: cutBytes(facts.note, 1_024), regarding: facts.regarding,
    ...(facts.related === undefined ? {} : { related: facts.related }),
  };
  await createObject(options.client, eventKind, namespace, event, { signal });
}

/** Time, and who and what, or two replicas that report at once would take one name. */
function nameSuffix(options: EventRecorderOptions, key: string): string {
  return `${Math.floor(options.clock.now()).toString(16)}${createHash('sha256').update(`${options.instance}\n${key}`).digest('hex').slice(0, 6)}`;
}

function remember(series: Map<string, Series>, key: string, entry: Series, nowMs: number): void {
  for (const [old, { lastMs }] of series) if (nowMs - lastMs > eventLimits.seriesMs) series.delete(old);
  if (series.size >= eventLimits.subjects) series.delete(series.keys().next().value ?? '');
  series.set(key, entry);
}

function mayPass(buckets: Map<string, Bucket>, key: string, nowMs: number): boolean {
  const bucket = buckets.get(key) ?? { fullMs: nowMs };
  if (bucket.fullMs - nowMs > (eventLimits.burst - 1) * eventLimits.refillMs) return false;
  bucket.fullMs = Math.max(bucket.fullMs, nowMs) + eventLimits.refillMs;
  // Those that are full again are as good as new.
  if (buckets.size >= eventLimits.subjects) for (const [old, { fullMs }] of buckets) if (fullMs <= nowMs || buckets.size >= eventLimits.subjects) buckets.delete(old);
  buckets.set(key, bucket);
  return true;
}

function subjectKey(subject: EventSubject): string {
  return JSON.stringify([subject.kind, subject.namespace, subject.name, subject.uid ?? '']);
}

function microTime(unixMs: number): string {
  return new Date(unixMs).toISOString().replace('Z', '000Z');
}

/** At most `limit` bytes of UTF-8, whole characters. */
function cutBytes(text: string, limit: number): string {
  if (Buffer.byteLength(text) <= limit) return text;
  return Buffer.from(text).subarray(0, limit).toString('utf8').replace(/\uFFFD+$/, '');
}
