import type { Cluster } from './cluster.ts';

/** A signal for every psql in the client's pod of a namespace. INT is Ctrl-C: each then sends a CancelRequest to where it is connected to, the Service. */
export async function interruptClients(cluster: Cluster, namespace: string, signal: 'INT' | 'KILL' = 'INT'): Promise<void> {
  // The pod has a shell and psql, and no more.
  await cluster.must(['exec', '-n', namespace, 'client', '--', 'sh', '-c', `cd /proc; for p in [0-9]*; do read -r name < $p/comm && [ "$name" = psql ] && kill -${signal} $p; done; true`]);
}
