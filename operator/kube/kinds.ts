import type { KubeKind } from '../../runtime/kube/kube-client.ts';
import { apiGroup } from '../../contract/names.ts';

const ours = (plural: string, kind: string, namespaced = true): KubeKind => ({ group: apiGroup, version: 'v1alpha1', plural, kind, namespaced });
const builtin = (group: string, plural: string, kind: string, namespaced = true): KubeKind => ({ group, version: 'v1', plural, kind, namespaced });

/** Our name of a kind. */
export type KindKey =
  | 'target' | 'accessPolicy' | 'identityProvider' | 'proxyConfig' | 'accessRequest' | 'accessDecision' | 'accessSession'
  | 'deployment' | 'service' | 'serviceAccount' | 'pod' | 'secret' | 'configMap' | 'role' | 'roleBinding' | 'podDisruptionBudget' | 'networkPolicy' | 'lease' | 'event' | 'admissionPolicy' | 'admissionBinding';

/** The kinds that the operator reads or writes. */
export const kinds: Readonly<Record<KindKey, KubeKind>> = {
  target: ours('targets', 'Target'), accessPolicy: ours('accesspolicies', 'AccessPolicy'), identityProvider: ours('identityproviders', 'IdentityProvider', false),
  proxyConfig: ours('proxyconfigs', 'ProxyConfig'), accessRequest: ours('accessrequests', 'AccessRequest'), accessDecision: ours('accessdecisions', 'AccessDecision'), accessSession: ours('accesssessions', 'AccessSession'),
  deployment: builtin('apps', 'deployments', 'Deployment'), service: builtin('', 'services', 'Service'), serviceAccount: builtin('', 'serviceaccounts', 'ServiceAccount'), pod: builtin('', 'pods', 'Pod'),
  secret: builtin('', 'secrets', 'Secret'), configMap: builtin('', 'configmaps', 'ConfigMap'), role: builtin('rbac.authorization.k8s.io', 'roles', 'Role'), roleBinding: builtin('rbac.authorization.k8s.io', 'rolebindings', 'RoleBinding'),
  podDisruptionBudget: builtin('policy', 'poddisruptionbudgets', 'PodDisruptionBudget'), networkPolicy: builtin('networking.k8s.io', 'networkpolicies', 'NetworkPolicy'), lease: builtin('coordination.k8s.io', 'leases', 'Lease'), event: builtin('events.k8s.io', 'events', 'Event'),
  admissionPolicy: builtin('admissionregistration.k8s.io', 'validatingadmissionpolicies', 'ValidatingAdmissionPolicy', false), admissionBinding: builtin('admissionregistration.k8s.io', 'validatingadmissionpolicybindings', 'ValidatingAdmissionPolicyBinding', false),
};
