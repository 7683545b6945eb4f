import { operatorSettingsSchema } from '../../contract/operator-settings.ts';
import type { AccessPolicyResource, ProxyConfigResource, TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import { parseProxyConfig } from '../../contract/proxy-config.ts';
import type { KubeObject } from '../../runtime/kube/kube-client.ts';
import type { NamespaceFacts, ProxyPod } from '../../operator/controllers/namespace-proxy/facts.ts';

/** 2026-11-24T12:00:00Z. */
export const factsNowMs = 1_795_521_600_000;

/** What a reconcile of namespace payments found: nothing, unless said. */
export function namespaceFacts(change: Partial<NamespaceFacts> & { readonly proxy?: Readonly<Record<string, unknown>> } = {}): NamespaceFacts {
  const { proxy = {}, ...facts } = change;
  const proxyConfig = facts.proxyConfig ?? null;
  const parsed = proxyConfig === null ? null : parseProxyConfig(JSON.parse(proxyConfig.spec.config));
  return {
    namespace: 'payments', nowMs: factsNowMs, settings: operatorSettingsSchema.parse({ namespace: 'sallyport-system', proxy: { image: 'i', ...proxy } }), targets: [], policies: [], identityProviders: [],
    proxyConfig, lastGood: parsed?.outcome === 'parsed' ? parsed.config : null, pods: [], generated: new Map<string, KubeObject>(), secrets: new Map(), foreignServices: new Set(), foreignObjects: [], upstreams: new Map(), ...facts,
  };
}

/** An object as the API server stores it: with uid, generation and creation time. */
export function stored<T extends TargetResource | AccessPolicyResource>(object: T, generation = 1, createdAt = '2026-01-01T00:00:00Z'): T {
  return { ...object, metadata: { ...object.metadata, uid: `uid-${object.metadata.name}`, generation, creationTimestamp: createdAt } };
}

/** A ProxyConfig as stored. */
export function storedConfig(spec: ProxyConfigResource['spec'], proxies: NonNullable<ProxyConfigResource['status']>['proxies'] = []): ProxyConfigResource {
  return { apiVersion: 'sallyport.dev/v1alpha1', kind: 'ProxyConfig', metadata: { name: 'sallyport-proxy', namespace: 'payments', uid: 'uid-config', resourceVersion: '7', generation: 1 }, spec, status: { observedGeneration: 1, proxies } };
}

/** A pod that is ready. */
export function readyPod(name: string, change: Partial<ProxyPod> = {}): ProxyPod {
  return { name, uid: `uid-${name}`, isReady: true, isTerminating: false, ...change };
}
