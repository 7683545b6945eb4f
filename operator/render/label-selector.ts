import type { AccessPolicyResource } from '../../contract/api/v1alpha1.gen.ts';

/** A Kubernetes label selector as AccessPolicy bears it. */
export type LabelSelector = NonNullable<AccessPolicyResource['spec']['targets']['selector']>;
type Requirement = NonNullable<LabelSelector['matchExpressions']>[number];

/**
 * Whether labels fit a selector, as Kubernetes defines it: all of matchLabels and matchExpressions must hold; an empty selector fits everything.
 *
 * @see k8s.io/apimachinery, pkg/labels: NotIn also fits an absent label
 */
export function matchesSelector(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  const byLabel = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value);
  return byLabel && (selector.matchExpressions ?? []).every((requirement) => holds(requirement, labels));
}

/** Why a requirement makes no sense, or null. The schema cannot say it without CEL over lists. */
export function requirementProblem(requirement: Requirement): string | null {
  const count = requirement.values?.length ?? 0;
  const takesValues = requirement.operator === 'In' || requirement.operator === 'NotIn';
  if (takesValues && count === 0) return `${requirement.operator} needs values`;
  return !takesValues && count > 0 ? `${requirement.operator} takes no values` : null;
}

function holds(requirement: Requirement, labels: Readonly<Record<string, string>>): boolean {
  const value = Object.hasOwn(labels, requirement.key) ? labels[requirement.key] : undefined;
  switch (requirement.operator) {
    case 'In': return value !== undefined && (requirement.values ?? []).includes(value);
    case 'NotIn': return value === undefined || !(requirement.values ?? []).includes(value);
    case 'Exists': return value !== undefined;
    case 'DoesNotExist': return value === undefined;
    default: return requirement.operator satisfies never;
  }
}
