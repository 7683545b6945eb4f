import type { Cluster } from './cluster.ts';

/** Requests that the API server has answered since it started, `VERB resource -> count`, of one API group; watches count when they end. */
export async function requestsOfGroup(cluster: Cluster, group: string): Promise<Readonly<Record<string, number>>> {
  const text = await cluster.must(['get', '--raw', '/metrics']);
  const counts: Record<string, number> = {};
  for (const match of text.matchAll(/^apiserver_request_total\{([^}]*)\} (\S+)$/gm)) {
    const labels = Object.fromEntries([...(match[1] ?? '').matchAll(/(\w+)="([^"]*)"/g)].map((each) => [each[1], each[2]] as const)) as Readonly<Record<string, string>>;
    if (labels['group'] !== group) continue;
    const key = `${labels['verb'] ?? ''} ${labels['resource'] ?? ''}${labels['subresource'] === '' ? '' : `/${labels['subresource'] ?? ''}`}`;
    counts[key] = (counts[key] ?? 0) + Number(match[2]);
  }
  return counts;
}

/** Their sum. */
export function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
