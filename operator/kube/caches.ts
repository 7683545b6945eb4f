import type { RuntimeClock } from '../../runtime/clock.ts';
import type { KubeClient, KubeObject, Reflector } from '../../runtime/kube/kube-client.ts';
import { startReflector } from '../../runtime/kube/reflector.ts';
import type { Log } from '../../runtime/log.ts';
import { kinds } from './kinds.ts';
import type { KindKey } from './kinds.ts';
import type { OperatorMetrics } from './metrics.ts';

/** How one kind is followed. */
export interface CachePlan {
  readonly kind: KindKey;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly metadataOnly?: boolean;
  /** What to keep of an object. */
  readonly keep?: (object: KubeObject) => KubeObject;
}

/** All objects of one kind that the operator may see. */
export interface ObjectCache<T extends KubeObject> {
  /** `namespace` is empty for kinds without one. */
  get(namespace: string, name: string): T | null;
  inNamespace(namespace: string): readonly T[];
  list(): readonly T[];
  /** Told the key (`namespace/name`) of what appeared, changed or went, after the cache has it. For as long as the caches live. */
  subscribe(onKey: (key: string) => void): void;
}

/** The caches of all kinds. */
export interface Caches extends AsyncDisposable {
  /** @throws RangeError for a kind that is not followed: a bug. */
  of<T extends KubeObject>(kind: KindKey): ObjectCache<T>;
  /** Resolves at the first complete list of every kind. */
  whenSynced(): Promise<void>;
  readonly synced: boolean;
  /** Monotonic ms at which the reflector that was silent the longest heard of the API server last; 0 before the first time. */
  oldestContactMs(): number;
}

/** What following takes. */
export interface CacheOptions {
  readonly client: KubeClient;
  readonly plans: readonly CachePlan[];
  /** Empty = all namespaces by one reflector a kind; else one a kind and namespace. */
  readonly namespaces: readonly string[];
  readonly clock: RuntimeClock;
  readonly random: () => number;
  readonly metrics: OperatorMetrics;
  readonly log: Log;
}

/** Starts following every kind of the plans. A namespaced kind is followed in the listed namespaces only; a kind without namespaces always as a whole. */
export function startCaches(options: CacheOptions): Caches {
  const caches = new Map(options.plans.map((plan) => [plan.kind, startCache(options, plan)]));
  const all = [...caches.values()];
  return {
    of<T extends KubeObject>(kind: KindKey): ObjectCache<T> {
      const cache = caches.get(kind);
      if (cache === undefined) throw new RangeError(`no cache follows ${kind}`);
      // Each kind's objects have one shape: the schema of its definition.
      return cache.view as unknown as ObjectCache<T>;
    },
    whenSynced: async () => void (await Promise.all(all.flatMap(({ reflectors }) => reflectors.map((reflector) => reflector.whenSynced())))),
    get synced() {
      return all.every(({ reflectors }) => reflectors.every((reflector) => reflector.synced));
    },
    oldestContactMs: () => Math.min(...all.flatMap(({ reflectors }) => reflectors.map((reflector) => reflector.lastContactMs))),
    async [Symbol.asyncDispose]() {
      await Promise.all(all.flatMap(({ reflectors }) => reflectors.map((reflector) => reflector[Symbol.asyncDispose]())));
    },
  };
}

function startCache(options: CacheOptions, plan: CachePlan): { readonly reflectors: readonly Reflector<KubeObject>[]; readonly view: ObjectCache<KubeObject> } {
  const { clock, metrics, log } = options;
  const kind = kinds[plan.kind];
  const listeners: ((key: string) => void)[] = [];
  const names = new Map<string, Set<string>>();
  const places: readonly (string | null)[] = kind.namespaced && options.namespaces.length > 0 ? options.namespaces : [null];
  const byPlace = new Map<string | null, Reflector<KubeObject>>();
  const reflectorOf = (namespace: string): Reflector<KubeObject> | undefined => byPlace.get(null) ?? byPlace.get(namespace);
  const get = (namespace: string, name: string): KubeObject | null => reflectorOf(namespace)?.get(`${namespace}/${name}`) ?? null;
  const onKey = (key: string): void => {
    const slash = key.indexOf('/');
    const [namespace, name] = [key.slice(0, slash), key.slice(slash + 1)];
    const inside = names.get(namespace) ?? new Set<string>();
    if (get(namespace, name) === null) inside.delete(name);
    else inside.add(name);
    if (inside.size === 0) names.delete(namespace);
    else names.set(namespace, inside);
    for (const listener of listeners) listener(key);
  };
  for (const place of places) {
    const followed = metrics.reflector(kind.kind, () => byPlace.get(place)?.lastContactMs ?? 0, () => clock.monotonicMs());
    byPlace.set(place, startReflector<KubeObject>({
      client: options.client, kind, namespace: place, clock, random: options.random, onKey, onRelist: followed.relisted,
      onError: (error) => log.debug('watch failed, it goes on', { kind: kind.kind, error }),
      ...(plan.labelSelector === undefined ? {} : { labelSelector: plan.labelSelector }), ...(plan.fieldSelector === undefined ? {} : { fieldSelector: plan.fieldSelector }), ...(plan.metadataOnly === undefined ? {} : { metadataOnly: plan.metadataOnly }),
      ...(plan.keep === undefined ? {} : { keep: plan.keep }),
    }));
  }
  const reflectors = [...byPlace.values()];
  return {
    reflectors,
    view: {
      get,
      inNamespace: (namespace) => [...(names.get(namespace) ?? [])].flatMap((name) => get(namespace, name) ?? []),
      list: () => reflectors.flatMap((reflector) => reflector.list()),
      subscribe: (listener) => void listeners.push(listener),
    },
  };
}
