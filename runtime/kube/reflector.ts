import { type RuntimeClock, sleep } from '../clock.ts';
import { type KubeClient, KubeError, type KubeKind, type KubeObject, pathOf, type Reflector } from './kube-client.ts';
import { errorOfEvent } from './kube-errors.ts';
import { withoutBookkeeping } from './object-copy.ts';
import { listPages, type ListQuery, partialObject, selectorsOf } from './verbs.ts';

/** Why everything was listed again. A closed set: it is a metric's label. */
export type RelistReason = 'start' | 'expired' | 'error-event' | 'periodic' | 'asked';

/** What to follow, and whom to tell. */
export interface ReflectorOptions<T extends KubeObject> {
  readonly client: KubeClient;
  readonly kind: KubeKind;
  /** Null = all namespaces. */
  readonly namespace: string | null;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Only metadata crosses the wire and is kept. */
  readonly metadataOnly?: boolean;
  /** What to keep of an object whose managedFields and last-applied annotation are gone already. Default: all. */
  readonly keep?: (object: T) => T;
  /** Told the key of what appeared, changed or went, after the cache has it. What it throws goes to `onError`. */
  readonly onKey: (key: string) => void;
  readonly clock: RuntimeClock;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
  readonly onRelist?: (reason: RelistReason) => void;
  readonly onContact?: () => void;
  /** Failures that it goes on from: a refused list, a broken watch, a throwing `onKey`. */
  readonly onError?: (error: unknown) => void;
  /** Without a byte for this long the watch is opened anew. Default 30 s. */
  readonly idleMs?: number;
}

/** How a reflector paces itself, ms. */
export const reflectorTimes = { idleMs: 30_000, firstBackoffMs: 250, longestBackoffMs: 10_000, healthyMs: 60_000, relistMs: 600_000, pauseMs: 20 } as const;

/**
 * Follows a kind: pages of a list, then a watch with bookmarks from there, for ever. Converges after any fault: 410 and every ERROR event list again, a broken or silent
 * watch is opened again, failures back off (250 ms doubled up to 30 s, jittered, at least Retry-After) until an event comes or a minute is healthy, and every 10 min
 * everything is listed and compared, by uid too. After disposal it sends nothing more.
 */
export function startReflector<T extends KubeObject>(options: ReflectorOptions<T>): Reflector<T> {
  const stopped = new AbortController();
  const cache = new Map<string, T>();
  const first = Promise.withResolvers<void>();
  first.promise.catch(() => {});
  const state: State<T> = { options, cache, signal: stopped.signal, resourceVersion: '', reason: 'start', listedMs: 0, lastContactMs: 0, failures: 0, healthySinceMs: null, endWatch: () => {}, synced: false, onSynced: first.resolve };
  const running = run(state);
  return {
    get: (key) => cache.get(key) ?? null,
    list: () => [...cache.values()],
    get synced() {
      return state.synced;
    },
    whenSynced: () => first.promise,
    get lastContactMs() {
      return state.lastContactMs;
    },
    relist: () => wantRelist(state, 'asked'),
    async [Symbol.asyncDispose]() {
      stopped.abort(new KubeError({ status: 0, reason: 'Aborted', message: 'the reflector is stopped' }));
      first.reject(stopped.signal.reason);
      await running;
    },
  };
}

interface State<T extends KubeObject> {
  readonly options: ReflectorOptions<T>;
  readonly cache: Map<string, T>;
  readonly signal: AbortSignal;
  /** Where the next watch starts; empty = list first, for `reason`. */
  resourceVersion: string;
  reason: RelistReason;
  listedMs: number;
  lastContactMs: number;
  failures: number;
  /** Since when nothing failed; null = not yet since the last failure. */
  healthySinceMs: number | null;
  endWatch: () => void;
  synced: boolean;
  readonly onSynced: () => void;
}

async function run<T extends KubeObject>(state: State<T>): Promise<void> {
  const { clock } = state.options;
  while (!state.signal.aborted) {
    try {
      if (state.resourceVersion === '') await relist(state);
      await watch(state);
      // A server that ends each watch at once must not make a hot loop.
      await sleep(clock, reflectorTimes.pauseMs, state.signal);
    } catch (error) {
      if (state.signal.aborted) return;
      if (error instanceof KubeError && error.status === 410) expire(state, 'expired');
      report(state, error);
      await sleep(clock, nextDelayMs(state, error), state.signal).catch(() => {});
    }
  }
}

async function relist<T extends KubeObject>(state: State<T>): Promise<void> {
  const { options, cache } = state;
  const { reason } = state;
  const next = new Map<string, T>();
  let resourceVersion = '';
  for await (const page of listPages<T>(options.client, options.kind, options.namespace, queryOf(state))) {
    contact(state);
    for (const item of page.items) next.set(keyOf(item), kept(options, item));
    ({ resourceVersion } = page.metadata);
  }
  const touched = [
    ...[...cache].filter(([key]) => !next.has(key)).map(([key]) => key),
    ...[...next].filter(([key, object]) => isOther(cache.get(key), object)).map(([key]) => key),
  ];
  cache.clear();
  for (const [key, object] of next) cache.set(key, object);
  state.resourceVersion = resourceVersion;
  state.listedMs = options.clock.monotonicMs();
  state.synced = true;
  options.onRelist?.(reason);
  for (const key of touched) tell(state, key);
  state.onSynced();
}

async function watch<T extends KubeObject>(state: State<T>): Promise<void> {
  const { options } = state;
  const end = new AbortController();
  const endWatch = (): void => end.abort(new Error('listing again'));
  const cancelRelist = options.clock.after(state.listedMs + reflectorTimes.relistMs - options.clock.monotonicMs(), () => wantRelist(state, 'periodic'));
  state.signal.addEventListener('abort', endWatch, { once: true });
  state.endWatch = endWatch;
  let isOpen = false;
  try {
    // Whoever was told of the list may have asked for another one by now.
    if (state.signal.aborted || state.resourceVersion === '') return;
    const lines = options.client.stream({
      method: 'GET', path: pathOf(options.kind, options.namespace), idleMs: options.idleMs ?? reflectorTimes.idleMs, signal: end.signal,
      ...(options.metadataOnly === true ? { accept: partialObject } : {}), onOpen() {
        isOpen = true;
        contact(state);
      },
      query: {
        ...selectorsOf(queryOf(state)), watch: 'true', allowWatchBookmarks: 'true', resourceVersion: state.resourceVersion,
        timeoutSeconds: String(300 + Math.floor(options.random() * 300)),
      },
    });
    for await (const line of lines) take(state, line as WatchEvent<T>);
  } catch (error) {
    // We ended it ourselves, or it was silent: a quiet kind looks like a dead connection, so it is opened anew from where it was.
    if (end.signal.aborted || (error instanceof KubeError && error.reason === 'Timeout' && isOpen)) return;
    throw error;
  } finally {
    cancelRelist();
    state.endWatch = () => {};
    state.signal.removeEventListener('abort', endWatch);
  }
}

interface WatchEvent<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: T;
}

function take<T extends KubeObject>(state: State<T>, event: WatchEvent<T>): void {
  if (state.signal.aborted) return;
  contact(state);
  if (event.type === 'ERROR') {
    const error = errorOfEvent(event.object);
    expire(state, error.status === 410 ? 'expired' : 'error-event');
    throw error;
  }
  // After an asked relist the rest of the old watch is void.
  if (state.resourceVersion === '') return;
  state.resourceVersion = event.object.metadata.resourceVersion ?? '';
  if (event.type === 'BOOKMARK') return;
  state.failures = 0;
  const key = keyOf(event.object);
  const isKnown = event.type !== 'DELETED' && !isOther(state.cache.get(key), event.object);
  if (event.type === 'DELETED') state.cache.delete(key);
  else state.cache.set(key, kept(state.options, event.object));
  if (!isKnown) tell(state, key);
}

function expire<T extends KubeObject>(state: State<T>, reason: RelistReason): void {
  state.resourceVersion = '';
  state.reason = reason;
}

function wantRelist<T extends KubeObject>(state: State<T>, reason: RelistReason): void {
  expire(state, reason);
  state.endWatch();
}

/** The API server answered: the time counts as healthy from here on. */
function contact<T extends KubeObject>(state: State<T>): void {
  const nowMs = state.options.clock.monotonicMs();
  state.lastContactMs = nowMs;
  state.healthySinceMs ??= nowMs;
  state.options.onContact?.();
}

function nextDelayMs<T extends KubeObject>(state: State<T>, error: unknown): number {
  const { clock, random } = state.options;
  if (state.healthySinceMs !== null && clock.monotonicMs() - state.healthySinceMs >= reflectorTimes.healthyMs) state.failures = 0;
  state.healthySinceMs = null;
  const backoffMs = Math.min(reflectorTimes.longestBackoffMs, reflectorTimes.firstBackoffMs * 2 ** Math.min(state.failures, 16));
  state.failures++;
  const retryAfterMs = error instanceof KubeError ? error.retryAfterMs ?? 0 : 0;
  // After a restart of the API server everybody was told the same Retry-After.
  return Math.max(backoffMs * (0.5 + random() / 2), retryAfterMs * (1 + random() / 10));
}

function tell<T extends KubeObject>(state: State<T>, key: string): void {
  if (state.signal.aborted) return;
  try {
    state.options.onKey(key);
  } catch (error) {
    report(state, error);
  }
}

function report<T extends KubeObject>(state: State<T>, error: unknown): void {
  try {
    state.options.onError?.(error);
  } catch {
    // A throwing reporter must not stop the loop either.
  }
}

function queryOf<T extends KubeObject>({ options, signal }: State<T>): ListQuery {
  return {
    signal, ...(options.labelSelector === undefined ? {} : { labelSelector: options.labelSelector }), ...(options.fieldSelector === undefined ? {} : { fieldSelector: options.fieldSelector }),
    ...(options.metadataOnly === true ? { metadataOnly: true } : {}),
  };
}

function kept<T extends KubeObject>(options: ReflectorOptions<T>, object: T): T {
  const copy = withoutBookkeeping(object);
  return options.keep === undefined ? copy : options.keep(copy);
}

function isOther(before: KubeObject | undefined, now: KubeObject): boolean {
  return before?.metadata.uid !== now.metadata.uid || before?.metadata.resourceVersion !== now.metadata.resourceVersion;
}

/** `namespace/name`, or `/name` for kinds without a namespace. */
export function keyOf(object: KubeObject): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}
