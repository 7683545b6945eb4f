import type { AccessDecisionResource, AccessRequestResource } from '../../../contract/api/v1alpha1.gen.ts';
import { countDecisions, type DecisionCount } from '../../../contract/count-decisions.ts';
import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import type { RuntimeClock } from '../../../runtime/clock.ts';
import type { KubeClient } from '../../../runtime/kube/kube-client.ts';
import { startReflector } from '../../../runtime/kube/reflector.ts';
import { accessDecisionKind, accessRequestKind } from './kinds.ts';

/** The requests and decisions of one namespace as the API server last told them. */
export interface RequestBook extends AsyncDisposable {
  readonly synced: boolean;
  whenSynced(): Promise<void>;
  get(name: string): AccessRequestResource | null;
  list(): readonly AccessRequestResource[];
  /** The decisions of now counted on a request, which need not be the cached copy. */
  count(request: AccessRequestResource, config: ProxyConfig): DecisionCount;
  /** What an approver wrote, at most 1,024 characters. */
  comment(decision: string): string;
  /** The groups in which an approver decided. */
  asGroups(decision: string): readonly string[];
}

/** What a book is opened with. */
export interface RequestBookOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly aliases: Readonly<Record<string, string>>;
  readonly clock: RuntimeClock;
  readonly random: () => number;
  /** Steady wall clock, ms. */
  readonly now: () => number;
  /** Since when admission is known to stand unchanged; Unix ms. */
  readonly integritySinceMs: () => number | null;
  /** A request, or a decision on it, came, changed or went. */
  readonly onRequest: (name: string) => void;
}

/** Follows AccessRequests and AccessDecisions; decisions are found by the request that they name. */
export function openRequestBook(options: RequestBookOptions): RequestBook {
  const { client, namespace, clock, random } = options;
  const keyOf = (name: string): string => `${namespace}/${name}`;
  /** Request name → keys of decisions, and back: a deleted decision no longer says what it was about. */
  const byRequest = new Map<string, Set<string>>();
  const aboutOf = new Map<string, string>();
  const requests = startReflector<AccessRequestResource>({ client, kind: accessRequestKind, namespace, clock, random, onKey: (key) => options.onRequest(key.slice(namespace.length + 1)) });
  const decisions = startReflector<AccessDecisionResource>({
    client, kind: accessDecisionKind, namespace, clock, random,
    onKey: (key) => {
      const about = decisions.get(key)?.spec.requestRef.name;
      const before = aboutOf.get(key);
      if (before !== undefined && before !== about) {
        aboutOf.delete(key);
        forget(byRequest, before, key);
        options.onRequest(before);
      }
      if (about === undefined) return;
      aboutOf.set(key, about);
      byRequest.set(about, (byRequest.get(about) ?? new Set()).add(key));
      options.onRequest(about);
    },
  });
  return {
    get synced() {
      return requests.synced && decisions.synced;
    },
    whenSynced: async () => {
      await Promise.all([requests.whenSynced(), decisions.whenSynced()]);
    },
    get: (name) => requests.get(keyOf(name)),
    list: () => requests.list(),
    count: (request, config) => {
      const about = [...byRequest.get(request.metadata.name) ?? []].flatMap((key) => decisions.get(key) ?? []);
      return countDecisions(request, about, { config, aliases: options.aliases, nowMs: options.now(), integritySinceMs: options.integritySinceMs() });
    },
    comment: (decision) => decisions.get(keyOf(decision))?.spec.comment ?? '',
    asGroups: (decision) => decisions.get(keyOf(decision))?.spec.asGroups ?? [],
    [Symbol.asyncDispose]: async () => {
      await Promise.all([requests[Symbol.asyncDispose](), decisions[Symbol.asyncDispose]()]);
    },
  };
}

function forget(index: Map<string, Set<string>>, name: string, key: string): void {
  const keys = index.get(name);
  keys?.delete(key);
  if (keys?.size === 0) index.delete(name);
}
