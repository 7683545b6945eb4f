import type { RequestOptions } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';
import { createKubeClient, type KubeClientOptions } from '../../runtime/kube/http-client.ts';
import type { KubeClient } from '../../runtime/kube/kube-client.ts';

/**
 * A client with the credentials of a kubeconfig file: tokens, certificates, exec plugins. @kubernetes/client-node only finds and renews them: its verbs open a TLS connection
 * per request and know no deadline (docs/adr/0015).
 *
 * @throws when the file cannot be read, or its current context names no cluster.
 */
export function kubeconfigClient(path: string, options: Pick<KubeClientOptions, 'userAgent' | 'onRequest' | 'limits'>): KubeClient {
  let config = loadConfig(path);
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new Error('the current context of the kubeconfig names no cluster');
  // CA, certificate and headers of one request come from one look: an exec plugin is asked once.
  let current: Promise<RequestOptions> | null = null;
  const read = (): Promise<RequestOptions> => {
    current ??= fill(config).finally(() => {
      current = null;
    });
    return current;
  };
  return createKubeClient({
    ...options,
    server: cluster.server,
    ca: async () => toBuffer((await read()).ca),
    headers: async () => headerList((await read()).headers),
    async clientCertificate() {
      const { cert, key } = await read();
      const [ownCert, ownKey] = [toBuffer(cert), toBuffer(key)];
      return ownCert === null || ownKey === null ? null : { cert: ownCert, key: ownKey };
    },
    onUnauthorized() {
      config = loadConfig(path);
    },
    skipTlsVerify: cluster.skipTLSVerify === true,
    ...(cluster.tlsServerName === undefined ? {} : { serverName: cluster.tlsServerName }),
  });
}

function loadConfig(path: string): KubeConfig {
  const config = new KubeConfig();
  config.loadFromFile(path);
  return config;
}

async function fill(config: KubeConfig): Promise<RequestOptions> {
  const filled: RequestOptions = {};
  await config.applyToHTTPSOptions(filled);
  return filled;
}

function headerList(headers: RequestOptions['headers']): readonly string[] {
  if (Array.isArray(headers)) throw new TypeError('credentials came as a list of headers');
  return Object.entries(headers ?? {}).flatMap(([name, value]) => [value ?? []].flat().flatMap((each) => [name, String(each).trim()]));
}

function toBuffer(value: unknown): Buffer | null {
  if (Buffer.isBuffer(value)) return value;
  return typeof value === 'string' ? Buffer.from(value) : null;
}
