import { canonicalJson } from '../../contract/canonical-json.ts';
import { proxyName } from '../../contract/names.ts';
import type { ProxyConfig } from '../../contract/proxy-config.ts';
import type { KubeObject } from '../../runtime/kube/kube-client.ts';
import { hashOf, type OfferedConfig } from '../../sidecar/adapters/cluster/judge-config.ts';
import { aConfig, aPolicy } from './policies.ts';

/** A config as the operator offers it; what is left out is right. */
export function anOffer(revision: number, over: Partial<OfferedConfig> & { readonly parsed?: ProxyConfig } = {}): OfferedConfig {
  const { parsed = aConfig([aPolicy(`p${revision}`)]), ...rest } = over;
  const config = canonicalJson(parsed);
  return { uid: 'uid-1', revision, hash: hashOf(config), config, ...rest };
}

/** A ProxyConfig object as the API server sends it. */
export function aProxyConfigObject(offered: OfferedConfig, more: { readonly resourceVersion?: string; readonly status?: unknown } = {}): KubeObject {
  const { uid, ...spec } = offered;
  return { apiVersion: 'sallyport.dev/v1alpha1', kind: 'ProxyConfig', metadata: { name: proxyName, namespace: 'payments', uid, resourceVersion: more.resourceVersion ?? String(offered.revision) }, spec, status: more.status ?? { observedGeneration: -1 } };
}

/** A logger that keeps what was said. */
export function aLog(): { readonly lines: string[]; error(message: string, fields?: unknown): void; info(message: string, fields?: unknown): void; debug(message: string, fields?: unknown): void } {
  const lines: string[] = [];
  const write = (level: string) => (message: string, fields?: unknown): void => void lines.push(`${level} ${message}${fields === undefined ? '' : ` ${JSON.stringify(fields)}`}`);
  return { lines, error: write('error'), info: write('info'), debug: write('debug') };
}

/** Lets everything that needs no time go on. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise<void>((resolve) => void setImmediate(resolve));
}
