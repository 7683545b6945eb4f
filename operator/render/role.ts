import { proxySecretsRole } from '../../contract/names.ts';
import type { ProxyConfig, Target } from '../../contract/proxy-config.ts';
import { generatedMetadata } from './generated-object.ts';
import type { GeneratedObject, RenderPlace } from './generated-object.ts';

/** Lets the proxy read the Secrets that its config names, and no other (D7). */
export function renderSecretsRole(place: RenderPlace, config: ProxyConfig): GeneratedObject {
  const resourceNames = secretsOf(config);
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: generatedMetadata(place, proxySecretsRole),
    // A rule without resourceNames would open every Secret of the namespace.
    rules: resourceNames.length === 0 ? [] : [{ apiGroups: [''], resources: ['secrets'], resourceNames, verbs: ['get'] }],
  };
}

/** Names of the Secrets that a config's Targets need, sorted, each once. */
export function secretsOf(config: ProxyConfig): readonly string[] {
  return [...new Set(config.targets.flatMap(secretsOfTarget))].sort();
}

function secretsOfTarget(target: Target): readonly string[] {
  if ('ssh' in target) return [target.ssh.credentialsSecret, ...Object.values(target.ssh.accountCredentials)];
  const { credentialsSecret, tls } = target.postgres;
  return tls.caSecret === null ? [credentialsSecret] : [credentialsSecret, tls.caSecret.name];
}
