import pg from 'pg';
import type { Cluster } from './cluster.ts';
import type { NamespaceWorld } from './namespace-world.ts';

/** A way to a Target's Service that needs no API server: `kubectl exec` ends when it does. */
export interface Door {
  /** node-postgres through Sallyport, TLS verified by the Target's own name; connected. */
  connect(token: string, options?: pg.ClientConfig): Promise<pg.Client>;
  close(): void;
}

/** Opens it; the Service's address is read once. */
export async function openDoor(cluster: Cluster, world: Pick<NamespaceWorld, 'namespace' | 'listenerCa'>, target = 'orders-db'): Promise<Door> {
  const service = await cluster.get('service', target, world.namespace);
  const spec = service?.spec as { readonly clusterIP: string } | undefined;
  if (spec === undefined) throw new Error(`there is no Service ${target} in ${world.namespace}`);
  const [ca, { port, close }] = await Promise.all([world.listenerCa(), cluster.forward(spec.clusterIP, 5_432)]);
  return {
    close,
    async connect(token, options = {}) {
      const client = new pg.Client({ host: '127.0.0.1', port, user: 'me', database: 'orders', password: token, ssl: { ca, servername: `${target}.${world.namespace}` }, connectionTimeoutMillis: 20_000, ...options });
      // A session that is ended from the other side must not end the tests.
      client.on('error', () => undefined);
      await client.connect();
      return client;
    },
  };
}
