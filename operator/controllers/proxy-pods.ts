import type { KubeClient, KubeObject } from '../../runtime/kube/kube-client.ts';
import { getObject } from '../../runtime/kube/verbs.ts';
import type { Caches } from '../kube/caches.ts';
import { kinds } from '../kube/kinds.ts';

/** The proxies' pods. */
export interface ProxyPods {
  /** Whether a pod is gone or will never run again; asks the API server before it says so. */
  isGone(namespace: string, name: string, signal: AbortSignal): Promise<boolean>;
  /** Told the namespace of a pod that went. */
  subscribe(listener: (namespace: string) => void): void;
}

interface Pod extends KubeObject {
  readonly status?: { readonly phase?: string };
}

/** Watches which pods go: what they held is lost with them. */
export function proxyPods(client: KubeClient, caches: Caches): ProxyPods {
  const pods = caches.of<Pod>('pod');
  return {
    async isGone(namespace, name, signal) {
      const cached = pods.get(namespace, name);
      if (cached !== null && !isOver(cached)) return false;
      const stored = await getObject<Pod>(client, kinds.pod, namespace, name, { signal });
      return stored === null || isOver(stored);
    },
    subscribe(listener) {
      pods.subscribe((key) => {
        const slash = key.indexOf('/');
        const namespace = key.slice(0, slash);
        const pod = pods.get(namespace, key.slice(slash + 1));
        if (pod === null || isOver(pod)) listener(namespace);
      });
    },
  };
}

function isOver(pod: Pod): boolean {
  return pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded';
}
