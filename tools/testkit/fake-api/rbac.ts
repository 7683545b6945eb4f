import type { Call } from './calls.ts';

/** A rule of a Role or ClusterRole. */
export interface PolicyRule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

/** What one user may do, and where: null = everywhere. */
export interface Grant {
  readonly user: string;
  readonly namespace: string | null;
  readonly rules: readonly PolicyRule[];
}

/** Allows what the grants allow, and remembers which parts of them were ever used. */
export interface Rbac {
  allows(call: Call): boolean;
  /** `group/resource verb` of every grant that no allowed call used: rights that nothing needs. */
  unused(): readonly string[];
}

/** Makes an authorizer; users without a grant are refused everything. */
export function createRbac(grants: readonly Grant[]): Rbac {
  const used = new Set<string>();
  const words = grants.flatMap(({ user, rules }) => rules.flatMap((rule) => (rule.apiGroups ?? []).flatMap((group) => (rule.resources ?? []).flatMap((resource) => rule.verbs.map((verb) => `${user} ${group}/${resource} ${verb}`)))));
  return {
    allows(call) {
      const resource = call.subresource === null ? call.resource : `${call.resource}/${call.subresource}`;
      const isAllowed = grants.some(({ user, namespace, rules }) => user === call.user && (namespace === null || namespace === call.namespace) && rules.some((rule) =>
        includes(rule.apiGroups, call.group) && includes(rule.resources, resource) && includes(rule.verbs, call.verb) && namesAllow(rule.resourceNames, call)));
      if (isAllowed) used.add(`${call.user} ${call.group}/${resource} ${call.verb}`);
      return isAllowed;
    },
    unused: () => words.filter((word) => !used.has(word)),
  };
}

/** The grants of Roles, ClusterRoles and their bindings, as the chart renders them. Users are `system:serviceaccount:NAMESPACE:NAME` or names of users. */
export function grantsOf(manifests: readonly unknown[]): readonly Grant[] {
  const objects = manifests as readonly { readonly kind: string; readonly metadata: { readonly name: string; readonly namespace?: string }; readonly rules?: readonly PolicyRule[]; readonly roleRef?: { readonly kind: string; readonly name: string }; readonly subjects?: readonly { readonly kind: string; readonly name: string; readonly namespace?: string }[] }[];
  return objects.filter((each) => each.kind === 'RoleBinding' || each.kind === 'ClusterRoleBinding').flatMap((binding) => {
    const namespace = binding.kind === 'RoleBinding' ? binding.metadata.namespace ?? null : null;
    const role = objects.find((each) => each.kind === binding.roleRef?.kind && each.metadata.name === binding.roleRef.name && (each.kind === 'ClusterRole' || each.metadata.namespace === binding.metadata.namespace));
    return (binding.subjects ?? []).map((subject) => ({ user: subject.kind === 'ServiceAccount' ? `system:serviceaccount:${subject.namespace ?? namespace ?? ''}:${subject.name}` : subject.name, namespace, rules: role?.rules ?? [] }));
  });
}

function includes(list: readonly string[] | undefined, value: string): boolean {
  return list?.includes('*') === true || list?.includes(value) === true;
}

/** A create has no name yet; list and watch are allowed by name only with the field selector for it. */
function namesAllow(names: readonly string[] | undefined, call: Call): boolean {
  if (names === undefined || names.length === 0) return true;
  const name = call.name ?? (call.verb === 'create' ? null : /^metadata\.name=(.+)$/.exec(call.query['fieldSelector'] ?? '')?.[1] ?? null);
  return name !== null && names.includes(name);
}
