import type { AccessPolicyResource, IdentityProviderResource, ProxyConfigResource, TargetResource } from '../../../contract/api/v1alpha1.gen.ts';
import { keysSecret, listenerTlsSecret, sshHostKeySecret, sshUserCaSecret } from '../../../contract/names.ts';
import type { OperatorSettings } from '../../../contract/operator-settings.ts';
import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import type { KubeObject } from '../../../runtime/kube/kube-client.ts';
import type { UpstreamService } from '../../render/network-policies.ts';

/** Kinds that are generated in a namespace and watched by our label. */
export type GeneratedKind = 'serviceAccount' | 'role' | 'roleBinding' | 'service' | 'deployment' | 'podDisruptionBudget' | 'networkPolicy' | 'configMap';

/** A pod of the proxy, as much of it as matters. */
export interface ProxyPod {
  readonly name: string;
  readonly uid: string;
  readonly isReady: boolean;
  readonly isTerminating: boolean;
}

/** What is known of a Secret without reading a value of it. */
export interface SecretFacts {
  readonly resourceVersion: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Everything that one reconcile of a namespace decides by, read once at its start. */
export interface NamespaceFacts {
  readonly namespace: string;
  readonly nowMs: number;
  readonly settings: OperatorSettings;
  /** Those that are being deleted are left out. */
  readonly targets: readonly TargetResource[];
  readonly policies: readonly AccessPolicyResource[];
  readonly identityProviders: readonly IdentityProviderResource[];
  readonly proxyConfig: ProxyConfigResource | null;
  /** What `proxyConfig` says, parsed; null where there is none or it cannot be read. */
  readonly lastGood: ProxyConfig | null;
  readonly pods: readonly ProxyPod[];
  /** Objects with our label, by kind and name. */
  readonly generated: ReadonlyMap<string, KubeObject>;
  /** Secrets that Targets name and our own; null = it does not exist. */
  readonly secrets: ReadonlyMap<string, SecretFacts | null>;
  /** Service names that Targets want and that somebody else's Service has. */
  readonly foreignServices: ReadonlySet<string>;
  /** Objects of somebody else under names that the proxy needs, as `Deployment sallyport-proxy`. */
  readonly foreignObjects: readonly string[];
  /** By Target, where isolation asks for it: the Service of this namespace behind its host. */
  readonly upstreams: ReadonlyMap<string, UpstreamService | null>;
}

/** The namespace's own Secrets: made once, mounted in its proxies. */
export const ownSecrets: readonly string[] = [listenerTlsSecret, keysSecret, sshHostKeySecret, sshUserCaSecret];

/** Key of `generated`. */
export function generatedKey(kind: GeneratedKind, name: string): string {
  return `${kind}/${name}`;
}

/** The Target's Service name. */
export function serviceNameOf(target: TargetResource): string {
  return target.spec.serviceName ?? target.metadata.name;
}

/** Targets of a protocol that this version knows; a newer one's API may have others. */
export function servableTargets(facts: NamespaceFacts): readonly TargetResource[] {
  return facts.targets.filter(({ spec }) => spec.postgres !== undefined || spec.ssh !== undefined);
}

/** Oldest first; of one age by name. */
export function byAge(a: KubeObject, b: KubeObject): number {
  const [left, right] = [a, b].map(({ metadata }) => `${metadata.creationTimestamp ?? ''} ${metadata.name}`) as [string, string];
  return left < right ? -1 : left > right ? 1 : 0;
}
