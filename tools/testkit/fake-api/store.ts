import { randomUUID } from 'node:crypto';
import type { RuntimeClock } from '../../../runtime/clock.ts';
import type { KubeKind } from '../../../runtime/kube/kube-client.ts';
import { Refusal } from './answers.ts';
import { copyOf, canonical, type Json, type Stored } from './json.ts';
import type { Owners } from './ownership.ts';
import { kindId } from './route.ts';

/** A change, as watches see it. */
export interface Change {
  readonly revision: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly kind: string;
  readonly object: Stored;
  /** What it was before; null for a new object. */
  readonly before: Stored | null;
}

/** Objects, one revision counter, and the recent changes. */
export interface Store {
  readonly revision: number;
  /** The oldest revision that a watch may start from. */
  readonly oldest: number;
  get(kind: KubeKind, namespace: string | null, name: string): Stored | null;
  list(kind: KubeKind, namespace: string | null): readonly Stored[];
  /** Owners of the fields of an object, by uid. */
  owners(uid: string): Owners;
  /** Stores an object with a new revision; one that is equal to what is stored changes nothing. */
  put(kind: KubeKind, object: Json & { readonly metadata: Json }, owners: Owners): Stored;
  remove(kind: KubeKind, object: Stored): Stored;
  /** Changes after a revision, or null when they are forgotten. */
  since(revision: number): readonly Change[] | null;
  onChange(listener: (change: Change) => void): () => void;
  /** Forgets all changes: whoever asks for older ones gets 410. */
  compact(): void;
  /** Everything, in the order of kind, namespace, name. */
  all(): readonly { readonly kind: KubeKind; readonly object: Stored }[];
}

/** Makes an empty store. `window` = changes that it remembers. */
export function createStore(clock: RuntimeClock, window: number): Store {
  const objects = new Map<string, { readonly kind: KubeKind; readonly object: Stored }>();
  const owners = new Map<string, Owners>();
  const changes: Change[] = [];
  const listeners = new Set<(change: Change) => void>();
  let revision = 100;
  let oldest = 100;
  const idOf = (kind: KubeKind, namespace: string | null, name: string): string => `${kindId(kind)}/${kind.namespaced ? namespace ?? '' : ''}/${name}`;
  const publish = (change: Change): void => {
    changes.push(change);
    if (changes.length > window) oldest = changes.shift()?.revision ?? oldest;
    for (const listener of [...listeners]) listener(change);
  };
  return {
    get revision() {
      return revision;
    },
    get oldest() {
      return oldest;
    },
    get: (kind, namespace, name) => objects.get(idOf(kind, namespace, name))?.object ?? null,
    list: (kind, namespace) => [...objects.values()].filter((each) => each.kind.group === kind.group && each.kind.plural === kind.plural && (namespace === null || each.object.metadata.namespace === namespace)).map(({ object }) => object)
      .sort((a, b) => (`${a.metadata.namespace ?? ''}/${a.metadata.name}` < `${b.metadata.namespace ?? ''}/${b.metadata.name}` ? -1 : 1)),
    owners: (uid) => owners.get(uid) ?? new Map(),
    put(kind, object, nextOwners) {
      const { name, namespace } = object.metadata as { name: string; namespace?: string };
      const id = idOf(kind, namespace ?? null, name);
      const before = objects.get(id)?.object ?? null;
      const identity = before === null
        ? { uid: randomUUID(), creationTimestamp: new Date(Math.floor(clock.now() / 1_000) * 1_000).toISOString().replace('.000', '') }
        : { uid: before.metadata.uid, creationTimestamp: before.metadata.creationTimestamp };
      const same = { ...object, metadata: { ...object.metadata, ...identity, ...(before === null ? {} : { resourceVersion: before.metadata.resourceVersion }) } } as unknown as Stored;
      owners.set(identity.uid, nextOwners);
      if (before !== null && canonical(same) === canonical(before)) return before;
      revision++;
      const stored: Stored = copyOf({ ...same, metadata: { ...same.metadata, resourceVersion: String(revision) } });
      objects.set(id, { kind, object: stored });
      publish({ revision, type: before === null ? 'ADDED' : 'MODIFIED', kind: kindId(kind), object: stored, before });
      return stored;
    },
    remove(kind, object) {
      const id = idOf(kind, object.metadata.namespace ?? null, object.metadata.name);
      if (!objects.delete(id)) throw new Refusal(404, 'NotFound', 'gone');
      owners.delete(object.metadata.uid);
      revision++;
      const last: Stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
      publish({ revision, type: 'DELETED', kind: kindId(kind), object: last, before: object });
      return last;
    },
    since: (from) => (from < oldest ? null : changes.filter((change) => change.revision > from)),
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    compact() {
      changes.splice(0);
      oldest = revision;
    },
    all: () => [...objects.values()].sort((a, b) => (idOf(a.kind, a.object.metadata.namespace ?? null, a.object.metadata.name) < idOf(b.kind, b.object.metadata.namespace ?? null, b.object.metadata.name) ? -1 : 1)),
  };
}
