import type { KubeKind } from '../../../runtime/kube/kube-client.ts';
import { kinds } from '../../../operator/kube/kinds.ts';

/** What a request is for. */
export interface Route {
  readonly kind: KubeKind;
  readonly namespace: string | null;
  readonly name: string | null;
  readonly subresource: string | null;
}

const others: readonly KubeKind[] = [
  { group: '', version: 'v1', plural: 'namespaces', kind: 'Namespace', namespaced: false },
  { group: '', version: 'v1', plural: 'events', kind: 'Event', namespaced: true },
  { group: 'apps', version: 'v1', plural: 'replicasets', kind: 'ReplicaSet', namespaced: true },
  { group: 'rbac.authorization.k8s.io', version: 'v1', plural: 'clusterroles', kind: 'ClusterRole', namespaced: false },
  { group: 'rbac.authorization.k8s.io', version: 'v1', plural: 'clusterrolebindings', kind: 'ClusterRoleBinding', namespaced: false },
  { group: 'apiextensions.k8s.io', version: 'v1', plural: 'customresourcedefinitions', kind: 'CustomResourceDefinition', namespaced: false },
  { group: 'discovery.k8s.io', version: 'v1', plural: 'endpointslices', kind: 'EndpointSlice', namespaced: true },
];

/** The operator's kinds, for tests of modules that may not import it. */
export const testKinds: typeof kinds = kinds;

/** The kinds that the fake server serves. */
export const servedKinds: readonly KubeKind[] = [...Object.values(kinds), ...others];

/** Reads a path; null for what is not served. */
export function routeOf(path: string): Route | null {
  const parts = path.split('/').slice(1).map(decodeURIComponent);
  const [group, version, rest] = parts[0] === 'api' ? ['', parts[1], parts.slice(2)] : parts[0] === 'apis' ? [parts[1], parts[2], parts.slice(3)] : [undefined, undefined, []];
  if (group === undefined || version === undefined) return null;
  // `namespaces/x/targets` is in x; `namespaces/x` is the namespace itself, `namespaces/x/status` its status.
  const isInside = rest[0] === 'namespaces' && rest.length >= 3 && !(group === '' && ['status', 'finalize'].includes(rest[2] ?? ''));
  const namespace = isInside ? rest[1] ?? null : null;
  const [plural, name, subresource, ...tooMuch] = isInside ? rest.slice(2) : rest;
  const kind = servedKinds.find((each) => each.group === group && each.version === version && each.plural === plural);
  if (kind === undefined || tooMuch.length > 0 || (kind.namespaced && namespace === null && name !== undefined)) return null;
  return { kind, namespace, name: name ?? null, subresource: subresource ?? null };
}

/** `group/plural`: names a kind in the store. */
export function kindId(kind: KubeKind): string {
  return `${kind.group}/${kind.plural}`;
}
