import type { Cluster } from './cluster.ts';

/** Ctrl-C for every psql in the client's pod of a namespace; each then sends a CancelRequest to where it is connected to, the Service. */
export async function interruptClients(cluster: Cluster, namespace: string): Promise<void> {
  // The pod has a shell and psql, and no more.
  await cluster.must(['exec', '-n', namespace, 'client', '--', 'sh', '-c', 'for p in /proc/[0-9]*; do read -r name < $p/comm && [ "$name" = psql ] && kill -INT ${p#/proc/}; done; true']);
}
