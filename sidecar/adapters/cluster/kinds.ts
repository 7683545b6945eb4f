import { apiGroup } from '../../../contract/names.ts';
import type { KubeKind } from '../../../runtime/kube/kube-client.ts';

const ours = (plural: string, kind: string): KubeKind => ({ group: apiGroup, version: 'v1alpha1', plural, kind, namespaced: true });

/** The config of a namespace's proxy; there is one, named like the proxy. */
export const proxyConfigKind: KubeKind = ours('proxyconfigs', 'ProxyConfig');
/** What waits for a decision. @public for the approvals */
export const accessRequestKind: KubeKind = ours('accessrequests', 'AccessRequest');
/** A decision of one person. @public for the approvals */
export const accessDecisionKind: KubeKind = ours('accessdecisions', 'AccessDecision');
/** A session as Kubernetes shows it. @public for the session objects */
export const accessSessionKind: KubeKind = ours('accesssessions', 'AccessSession');
/** Credentials of targets; read by name only. */
export const secretKind: KubeKind = { group: '', version: 'v1', plural: 'secrets', kind: 'Secret', namespaced: true };
