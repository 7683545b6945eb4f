import type { KubeClientOptions } from '../../runtime/kube/http-client.ts';
import { inClusterClient } from '../../runtime/kube/in-cluster.ts';
import type { KubeClient } from '../../runtime/kube/kube-client.ts';

/** Where the credentials come from, said by the caller: nothing is ever taken from a developer's environment by itself. */
export type Credentials =
  | { readonly from: 'kubeconfig'; readonly path: string }
  | { readonly from: 'cluster'; readonly serviceAccountDirectory: string; readonly host: string; readonly port: number };

/**
 * The operator's client. A pod uses its service account; a kubeconfig file is for tests and for work outside a cluster, and only then @kubernetes/client-node is loaded
 * (0.6 s and 131 MB, measured).
 *
 * @throws when the kubeconfig cannot be read, or its current context names no cluster.
 */
export async function operatorClient(credentials: Credentials, options: Pick<KubeClientOptions, 'userAgent' | 'onRequest' | 'limits'> = {}): Promise<KubeClient> {
  const named = { userAgent: 'sallyport-operator', ...options };
  if (credentials.from === 'cluster') return inClusterClient({ ...credentials, ...named });
  const { kubeconfigClient } = await import('./kubeconfig-client.ts');
  return kubeconfigClient(credentials.path, named);
}
