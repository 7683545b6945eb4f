import pg from 'pg';
import { proxyName } from '../../../contract/names.ts';
import type { Cluster, Printed } from './cluster.ts';
import type { NamespaceWorld } from './namespace-world.ts';

/** A way to one proxy pod, past the Service: a test says which replica it talks to. */
export interface PodDoor {
  readonly pod: string;
  /** node-postgres through that replica, TLS verified by the Target's own name; connected. */
  connect(token: string, options?: pg.ClientConfig): Promise<pg.Client>;
  close(): void;
}

/** Opens a door to every proxy pod that is not about to end. */
export async function openPodDoors(cluster: Cluster, world: Pick<NamespaceWorld, 'namespace' | 'listenerCa'>, target = 'orders-db'): Promise<readonly PodDoor[]> {
  const [pods, config, ca] = await Promise.all([proxyPods(cluster, world.namespace), cluster.get('proxyconfig', proxyName, world.namespace), world.listenerCa()]);
  const listeners = (config?.spec as { readonly listeners?: readonly { readonly target: string; readonly port: number; readonly releasedAt?: string }[] } | undefined)?.listeners ?? [];
  const listener = listeners.find((each) => each.target === target && each.releasedAt === undefined);
  if (listener === undefined) throw new Error(`Target ${target} has no listener`);
  return Promise.all(pods.map(async ({ metadata, status }) => {
    const { port, close } = await cluster.forward((status as { readonly podIP: string }).podIP, listener.port);
    return {
      pod: metadata.name, close,
      async connect(token: string, options: pg.ClientConfig = {}) {
        const client = new pg.Client({ host: '127.0.0.1', port, user: 'me', database: 'orders', password: token, ssl: { ca, servername: `${target}.${world.namespace}` }, connectionTimeoutMillis: 20_000, ...options });
        // A session that is ended from the other side must not end the tests.
        client.on('error', () => undefined);
        await client.connect();
        return client;
      },
    };
  }));
}

/** The proxy pods of a namespace that are not being deleted. */
export async function proxyPods(cluster: Cluster, namespace: string): Promise<readonly Printed[]> {
  return (await cluster.list('pods', namespace, ['-l', `app.kubernetes.io/name=${proxyName}`])).filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}
