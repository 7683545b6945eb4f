import { proxyName, proxySecretsRole } from '../../contract/names.ts';
import { generatedMetadata } from './generated-object.ts';
import type { GeneratedObject, RenderPlace } from './generated-object.ts';

/** What the proxy's account may do: the chart's ClusterRole in this namespace, and read its Secrets. */
export function renderRoleBindings(place: RenderPlace): readonly GeneratedObject[] {
  const bind = (name: string, kind: 'ClusterRole' | 'Role'): GeneratedObject => ({
    apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: generatedMetadata(place, name),
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name },
    subjects: [{ kind: 'ServiceAccount', name: proxyName, namespace: place.namespace }],
  });
  return [bind(proxyName, 'ClusterRole'), bind(proxySecretsRole, 'Role')];
}
