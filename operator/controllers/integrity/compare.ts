import type { ExpectedAdmission } from '../../../contract/api/expected-admission.ts';
import { digestOf } from '../../../contract/digest.ts';
import type { KubeObject } from '../../../runtime/kube/kube-client.ts';

/** How a stored policy or binding differs from what must be there. */
export interface AdmissionFinding {
  readonly reason: 'PolicyMissing' | 'PolicyChanged' | 'BindingChanged';
  /** Name of the policy, which is its binding's too. */
  readonly name: string;
  readonly guardsApprovals: boolean;
}

/** The admission objects as stored, by name. */
export interface StoredAdmission {
  policy(name: string): KubeObject | null;
  binding(name: string): KubeObject | null;
}

/**
 * Compares the stored admission policies and bindings with the expected ones: present, spec equal field by field (the expected ones hold the API server's defaults), so also action Deny
 * and no narrowing of what they match. Pure. A missing binding is a missing policy: nothing is enforced.
 */
export function compareAdmission(expected: readonly ExpectedAdmission[], stored: StoredAdmission): readonly AdmissionFinding[] {
  return expected.flatMap((one): AdmissionFinding[] => {
    const [policy, binding] = [stored.policy(one.name), stored.binding(one.name)];
    const found = (reason: AdmissionFinding['reason']): AdmissionFinding[] => [{ reason, name: one.name, guardsApprovals: one.guardsApprovals }];
    if (policy === null || binding === null) return found('PolicyMissing');
    if (policy.metadata.deletionTimestamp !== undefined || binding.metadata.deletionTimestamp !== undefined) return found('PolicyMissing');
    if (digestOf(policy.spec) !== digestOf(one.policySpec)) return found('PolicyChanged');
    return digestOf(binding.spec) === digestOf(one.bindingSpec) ? [] : found('BindingChanged');
  });
}

/**
 * What changes whenever one of the approval policies or bindings is edited or made anew, even if it is put back before anybody looks: uid and generation of each.
 * Null when one is missing.
 */
export function admissionEvidence(expected: readonly ExpectedAdmission[], stored: StoredAdmission): string | null {
  const marks = expected.filter((one) => one.guardsApprovals).flatMap((one) => [stored.policy(one.name), stored.binding(one.name)]).map((object) =>
    object?.metadata.uid === undefined ? null : [object.metadata.name, object.metadata.uid, object.metadata.generation ?? 0]);
  return marks.includes(null) ? null : digestOf(marks);
}

/** When the youngest of the approval policies and bindings was made, by the API server's clock; Unix ms, 0 when none says it. What was decided until then, none of them had seen. */
export function newestAdmissionMs(expected: readonly ExpectedAdmission[], stored: StoredAdmission): number {
  const times = expected.filter((one) => one.guardsApprovals).flatMap((one) => [stored.policy(one.name), stored.binding(one.name)]).map((object) => Date.parse(object?.metadata.creationTimestamp ?? ''));
  return Math.max(0, ...times.filter((time) => !Number.isNaN(time)));
}
