import type { Cluster } from './cluster.ts';

/**
 * What the API server says of one API group: requests that ended since it started (`VERB resource -> count`), and watches of one namespace or one object that are open now
 * (`resource -> count`): other controllers follow all namespaces, so those are the proxies'.
 */
export interface GroupRequests {
  readonly ended: Readonly<Record<string, number>>;
  readonly watches: Readonly<Record<string, number>>;
}

/** Reads the API server's own metrics. */
export async function requestsOfGroup(cluster: Cluster, group: string): Promise<GroupRequests> {
  const text = await cluster.must(['get', '--raw', '/metrics']);
  const read = (metric: string, keyOf: (labels: Readonly<Record<string, string>>) => string | null): Readonly<Record<string, number>> => {
    const counts: Record<string, number> = {};
    for (const match of text.matchAll(new RegExp(`^${metric}\\{([^}]*)\\} (\\S+)$`, 'gm'))) {
      const labels = Object.fromEntries([...(match[1] ?? '').matchAll(/(\w+)="([^"]*)"/g)].map((each) => [each[1], each[2]] as const)) as Readonly<Record<string, string>>;
      const key = labels['group'] === group ? keyOf(labels) : null;
      if (key !== null) counts[key] = (counts[key] ?? 0) + Number(match[2]);
    }
    return counts;
  };
  return {
    ended: read('apiserver_request_total', ({ verb, resource, subresource }) => `${verb ?? ''} ${resource ?? ''}${(subresource ?? '') === '' ? '' : `/${subresource ?? ''}`}`),
    watches: read('apiserver_longrunning_requests', ({ resource, scope }) => (scope === 'cluster' ? null : resource ?? '')),
  };
}

/** The sum of counts. */
export function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
