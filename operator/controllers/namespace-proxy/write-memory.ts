import type { ProxyConfigResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { RuntimeClock } from '../../../runtime/clock.ts';
import type { KubeObject } from '../../../runtime/kube/kube-client.ts';

/**
 * What was written a moment ago and the cache may not show yet. Without it a reconcile right after another one would write everything again, or decide by an old ProxyConfig.
 * Only a saving: the API server's preconditions decide, and a restart begins without it.
 */
export interface WriteMemory {
  /** The ProxyConfig as written last, as long as the cache still shows one that it replaced. */
  newest(cached: ProxyConfigResource | null, namespace: string): ProxyConfigResource | null;
  /** Whether `newest` may still answer with what the cache does not show. */
  isAhead(namespace: string): boolean;
  /** `replaced`: what the cache showed before the write; null: nothing. */
  wroteConfig(namespace: string, replaced: ProxyConfigResource | null, written: ProxyConfigResource | null): void;
  /** Whether exactly this was written when the cache showed the object as it still does. */
  hasWritten(cached: KubeObject, key: string, digest: string): boolean;
  wrote(cached: KubeObject, key: string, digest: string): void;
  /** Drops what concerns a namespace that has nothing of ours any more. */
  forget(namespace: string): void;
}

/** A cache that shows nothing of a write for this long has another reason for it, ms: the object was removed at once, say. */
export const aheadMs = 10_000;

/** An empty memory. */
export function createWriteMemory({ clock }: { readonly clock: Pick<RuntimeClock, 'monotonicMs'> }): WriteMemory {
  const configs = new Map<string, { readonly written: ProxyConfigResource | null; readonly replaced: Set<string>; readonly untilMs: number }>();
  const writes = new Map<string, Map<string, string>>();
  return {
    newest(cached, namespace) {
      const last = configs.get(namespace);
      if (last === undefined) return cached;
      if (last.replaced.has(versionOf(cached)) && clock.monotonicMs() < last.untilMs) return last.written;
      configs.delete(namespace);
      return cached;
    },
    isAhead: (namespace) => configs.has(namespace),
    wroteConfig(namespace, replaced, written) {
      const before = configs.get(namespace)?.replaced ?? [];
      configs.set(namespace, { written, replaced: new Set([...before, versionOf(replaced)]), untilMs: clock.monotonicMs() + aheadMs });
    },
    hasWritten: (cached, key, digest) => writes.get(cached.metadata.namespace ?? '')?.get(key) === `${versionOf(cached)} ${digest}`,
    wrote(cached, key, digest) {
      const namespace = cached.metadata.namespace ?? '';
      const inside = writes.get(namespace) ?? new Map<string, string>();
      inside.set(key, `${versionOf(cached)} ${digest}`);
      writes.set(namespace, inside);
    },
    forget(namespace) {
      configs.delete(namespace);
      writes.delete(namespace);
    },
  };
}

function versionOf(object: KubeObject | null): string {
  return object === null ? '' : `${object.metadata.uid ?? ''} ${object.metadata.resourceVersion ?? ''}`;
}
