import type { RuntimeClock } from '../../../runtime/clock.ts';
import { type FakeAnswer, failure, Refusal } from './answers.ts';
import { isJson, type Json, type Stored } from './json.ts';
import { kindId, type Route } from './route.ts';
import { selectorOf } from './selectors.ts';
import type { Change, Store } from './store.ts';

/** Pages that a client may still ask for: token -> what is left, as it was at the first page. */
export type Pages = Map<string, { readonly items: readonly Stored[]; readonly revision: number }>;

/** Answers GET of one object or of a list. @throws Refusal. */
export function read(store: Store, pages: Pages, route: Route, query: Readonly<Record<string, string>>, accept: string, maxPage: number): FakeAnswer {
  const isPartial = accept.includes('as=PartialObjectMetadata');
  if (route.name !== null) {
    const object = store.get(route.kind, route.namespace, route.name);
    if (object === null) throw new Refusal(404, 'NotFound', `${route.kind.plural} "${route.name}" not found`, { name: route.name, kind: route.kind.plural });
    return { status: 200, body: isPartial ? partial(object) : object };
  }
  const matches = selectorOf(query);
  const token = query['continue'] ?? '';
  const page = token === '' ? { items: store.list(route.kind, route.namespace).filter(matches), revision: store.revision } : pages.get(token);
  if (page === undefined || page.revision < store.oldest) throw new Refusal(410, 'Expired', 'The provided continue parameter is too old to display a consistent list result.');
  const limit = Math.min(Number(query['limit'] ?? 0) || Number.POSITIVE_INFINITY, maxPage);
  const rest = page.items.slice(limit);
  const next = rest.length === 0 ? '' : `${page.revision}.${route.kind.plural}.${pages.size}`;
  if (next !== '') pages.set(next, { items: rest, revision: page.revision });
  return {
    status: 200,
    body: {
      kind: isPartial ? 'PartialObjectMetadataList' : `${route.kind.kind}List`, apiVersion: isPartial ? 'meta.k8s.io/v1' : apiVersionOf(route),
      metadata: { resourceVersion: String(page.revision), ...(next === '' ? {} : { continue: next, remainingItemCount: rest.length }) },
      // Lists of built-in kinds leave out what the list says already.
      items: page.items.slice(0, limit).map((object) => (isPartial ? partial(object) : route.kind.group.includes('sallyport') ? object : bare(object))),
    },
  };
}

/** A watch: lines come until `close`. */
export interface FakeWatch {
  readonly route: Route;
  readonly user: string;
  /** Sends a BOOKMARK when it asked for them. */
  bookmark(): void;
  /** Sends an ERROR event and ends. */
  fail(status: number, reason: string): void;
  /** Sends the last event again. */
  repeat(): void;
  /** From now on nothing comes, and the watch stays open. */
  stall(): void;
  close(how: 'end' | 'reset'): void;
}

/** Where a watch's lines go. */
export interface WatchSink {
  line(value: unknown): void;
  end(how: 'end' | 'reset'): void;
}

/** Opens a watch; null and an ERROR line for a revision that is too old. */
export function openWatch(input: { readonly store: Store; readonly clock: RuntimeClock; readonly route: Route; readonly query: Readonly<Record<string, string>>; readonly accept: string; readonly user: string; readonly sink: WatchSink }): FakeWatch | null {
  const { store, route, query, sink } = input;
  const isPartial = input.accept.includes('as=PartialObjectMetadata');
  const matches = selectorOf(query);
  const isOurs = (object: Stored): boolean => (route.namespace === null || object.metadata.namespace === route.namespace) && (route.name === null || object.metadata.name === route.name) && matches(object);
  let last: unknown = null;
  let isStalled = false;
  let isClosed = false;
  const send = (type: string, object: Stored): void => {
    last = { type, object: isPartial ? partial(object) : object };
    if (!isStalled && !isClosed) sink.line(last);
  };
  const see = (change: Change): void => {
    if (change.kind !== kindId(route.kind)) return;
    const was = change.before !== null && isOurs(change.before);
    const is = change.type !== 'DELETED' && isOurs(change.object);
    if (is) send(was ? 'MODIFIED' : 'ADDED', change.object);
    else if (was) send('DELETED', change.object);
  };
  const from = Number(query['resourceVersion'] ?? '0');
  const missed = from === 0 ? [] : store.since(from);
  if (missed === null) {
    sink.line({ type: 'ERROR', object: failure(410, 'Expired', `too old resource version: ${from} (${store.oldest})`).body });
    sink.end('end');
    return null;
  }
  if (from === 0) for (const object of store.list(route.kind, route.namespace).filter(isOurs)) send('ADDED', object);
  for (const change of missed) see(change);
  const stopListening = store.onChange(see);
  const close = (how: 'end' | 'reset'): void => {
    if (isClosed) return;
    isClosed = true;
    stopListening();
    cancelTimeout();
    sink.end(how);
  };
  const seconds = Number(query['timeoutSeconds'] ?? '0');
  const cancelTimeout = input.clock.after((seconds === 0 ? 1_800 : seconds) * 1_000, () => close('end'));
  return {
    route, user: input.user, close,
    bookmark() {
      if (query['allowWatchBookmarks'] === 'true' && !isStalled && !isClosed) sink.line({ type: 'BOOKMARK', object: { kind: route.kind.kind, apiVersion: apiVersionOf(route), metadata: { resourceVersion: String(store.revision), creationTimestamp: null } } });
    },
    fail(status, reason) {
      if (!isClosed) sink.line({ type: 'ERROR', object: failure(status, reason, reason).body });
      close('end');
    },
    repeat() {
      if (last !== null && !isStalled && !isClosed) sink.line(last);
    },
    stall() {
      isStalled = true;
    },
  };
}

function apiVersionOf({ kind }: Route): string {
  return kind.group === '' ? kind.version : `${kind.group}/${kind.version}`;
}

function partial(object: Stored): Json {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata };
}

function bare(object: Stored): Json {
  const { apiVersion: _a, kind: _k, ...rest } = object;
  return isJson(rest) ? rest : {};
}
