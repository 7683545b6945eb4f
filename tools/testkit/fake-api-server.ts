import { type RuntimeClock, systemClock } from '../../runtime/clock.ts';
import type { KubeClient, KubeKind, KubeObject } from '../../runtime/kube/kube-client.ts';
import { type Call, isWrite } from './fake-api/calls.ts';
import type { Core } from './fake-api/core.ts';
import { createFaults, type Faults } from './fake-api/faults.ts';
import { inProcessClient } from './fake-api/in-process-client.ts';
import { copyOf, type Json, type Stored } from './fake-api/json.ts';
import { type FakeListener, listen, type ListenOptions } from './fake-api/listen.ts';
import type { Rbac } from './fake-api/rbac.ts';
import type { FakeWatch } from './fake-api/reads.ts';
import { createStore, type Store } from './fake-api/store.ts';
import { type Attempt, carryOut } from './fake-api/writes.ts';

/** What the fake server does beyond storing. */
export interface FakeApiOptions {
  /** Default: the system's. With a fake clock, timeouts and `slow` move with it. */
  readonly clock?: RuntimeClock;
  /** Schema and CEL of crds/ for our kinds; unknown fields are refused. Default true. */
  readonly validate?: boolean;
  /** An admission policy: the message of a refusal, or null. */
  readonly admit?: (attempt: Attempt) => string | null;
  /** Default: everybody may do everything. */
  readonly rbac?: Rbac;
  /** Changes that watches may catch up on. Default 1,000. */
  readonly watchWindow?: number;
  /** Objects in a page at most. Default 500. */
  readonly maxPage?: number;
  /** Deletes objects whose owners are all gone, at once. Default true. */
  readonly garbageCollector?: boolean;
}

/** An API server in memory. Never the only proof of what a real one does. */
export interface FakeApi {
  /** A client without sockets, as this user (default `admin`); the user is its field manager too where none is given. */
  client(user?: string): KubeClient;
  listen(options?: ListenOptions): Promise<FakeListener>;
  readonly faults: Faults;
  /** Every request so far. */
  readonly calls: readonly Call[];
  /** Those that change something. */
  writes(): readonly Call[];
  forgetCalls(): void;
  /** The open watches. */
  readonly watches: ReadonlySet<FakeWatch>;
  /** Stores an object as somebody else would, past faults, RBAC, admission policies and the list of calls; schema and status split apply as ever. Replaces one of its name, status included when it has one. */
  put<T extends KubeObject>(kind: KubeKind, object: T, fieldManager?: string): T;
  /** Null when there is none. */
  get<T extends KubeObject>(kind: KubeKind, namespace: string | null, name: string): T | null;
  list<T extends KubeObject>(kind: KubeKind, namespace?: string | null): readonly T[];
  /** Takes an object away at once, finalizers or not. */
  remove(kind: KubeKind, namespace: string | null, name: string): void;
  /** Forgets past changes: older watches and pages get 410. */
  compact(): void;
  /** Bookmarks to all watches that want them. */
  bookmark(): void;
  /** The namespace takes nothing new and loses what it has. */
  terminate(namespace: string): void;
  /** All objects without what differs from run to run (uid, versions, times, managedFields): equal states have equal texts. `leaveOut` lists kinds, e.g. `Event`. */
  finalState(leaveOut?: readonly string[]): readonly Json[];
}

/** Makes an empty one. */
export function fakeApiServer(options: FakeApiOptions = {}): FakeApi {
  const clock = options.clock ?? systemClock();
  const store = createStore(clock, options.watchWindow ?? 1_000);
  const terminating = new Set<string>();
  const calls: Call[] = [];
  const context = { store, clock, validate: options.validate ?? true, admit: options.admit ?? ((): null => null), isTerminating: (namespace: string): boolean => terminating.has(namespace) };
  const core: Core = { context, store, pages: new Map(), faults: createFaults(), clock, calls, watches: new Set(), maxPage: options.maxPage ?? 500, allows: (call) => options.rbac?.allows(call) ?? true };
  if (options.garbageCollector !== false) collectGarbage(store);
  const removeNow = (kind: KubeKind, namespace: string | null, name: string): void => {
    const object = store.get(kind, namespace, name);
    if (object !== null) store.remove(kind, object);
  };
  return {
    client: (user = 'admin') => inProcessClient(core, user),
    listen: (how) => listen(core, how),
    faults: core.faults, calls, watches: core.watches,
    writes: () => calls.filter(isWrite),
    forgetCalls: () => void calls.splice(0),
    put: (kind, object, fieldManager = 'somebody') => putAsSomebody(core, kind, object, fieldManager),
    get: <T extends KubeObject>(kind: KubeKind, namespace: string | null, name: string) => copyOf(store.get(kind, namespace, name)) as unknown as T | null,
    list: <T extends KubeObject>(kind: KubeKind, namespace: string | null = null) => copyOf(store.list(kind, namespace)) as unknown as readonly T[],
    remove: removeNow,
    compact: () => store.compact(),
    bookmark: () => [...core.watches].forEach((watch) => watch.bookmark()),
    terminate(namespace) {
      terminating.add(namespace);
      for (const { kind, object } of store.all()) if (object.metadata.namespace === namespace) removeNow(kind, namespace, object.metadata.name);
    },
    finalState: (leaveOut = []) => store.all().filter(({ kind }) => !leaveOut.includes(kind.kind)).map(({ object }) => comparable(object)),
  };
}

function putAsSomebody<T extends KubeObject>(core: Core, kind: KubeKind, object: T, fieldManager: string): T {
  const namespace = object.metadata.namespace ?? null;
  const { name } = object.metadata;
  const { resourceVersion: _, ...metadata } = object.metadata;
  const context = { ...core.context, admit: (): null => null };
  const write = (subresource: string | null): Json => {
    const exists = core.store.get(kind, namespace, name) !== null;
    const route = { kind, namespace, name: exists ? name : null, subresource };
    const body = copyOf({ ...object, metadata: exists ? metadata : { ...metadata, uid: undefined } }) as unknown;
    return carryOut(context, { method: exists ? 'PUT' : 'POST', route, query: { fieldManager }, contentType: 'application/json', body, user: fieldManager, userAgent: fieldManager }).object;
  };
  const stored = write(null);
  return copyOf(object.status === undefined || stored['status'] === object.status ? stored : write('status')) as unknown as T;
}

/** Background deletion, as the controller manager does it, only at once. */
function collectGarbage(store: Store): void {
  store.onChange((change) => {
    if (change.type !== 'DELETED') return;
    const gone = change.object.metadata.uid;
    for (const { kind, object } of store.all()) {
      const owners = object.metadata.ownerReferences ?? [];
      const isOrphan = owners.some(({ uid }) => uid === gone) && !owners.some(({ uid }) => uid !== gone && store.all().some((each) => each.object.metadata.uid === uid));
      if (isOrphan && store.get(kind, object.metadata.namespace ?? null, object.metadata.name) !== null) store.remove(kind, object);
    }
  });
}

function comparable(object: Stored): Json {
  const { uid: _u, resourceVersion: _r, creationTimestamp: _c, managedFields: _m, ...metadata } = object.metadata;
  const owners = metadata.ownerReferences?.map(({ uid: _, ...owner }) => owner);
  return { ...object, metadata: owners === undefined ? metadata : { ...metadata, ownerReferences: owners } };
}
