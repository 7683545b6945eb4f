import { digestOf } from '../digest.ts';
import { operatorName, systemNamespace } from '../names.ts';
import { admissionObjects } from './admission.gen.ts';
import { isNamespaceName } from './validate-metadata.ts';

/** One ValidatingAdmissionPolicy and its binding, as the API server stores their specs when crds/admission is applied. */
export interface AdmissionObject {
  /** `metadata.name` of both. */
  readonly name: string;
  /** Ids of the validations in their order; each message begins with one and a colon. */
  readonly rules: readonly string[];
  readonly policySpec: Readonly<Record<string, unknown>>;
  readonly bindingSpec: Readonly<Record<string, unknown>>;
}

/** What must stand in the cluster for one policy. */
export interface ExpectedAdmission extends AdmissionObject {
  /** Whether approvals count only while this policy is present and as expected. */
  readonly guardsApprovals: boolean;
  /** Of both specs, as `digestOf({ policySpec, bindingSpec })` gives it for those that are stored. */
  readonly hash: string;
}

/** The policies without which a decision could be forged. */
export const approvalPolicies: readonly string[] = ['accessdecision-integrity.sallyport.dev', 'accessrequest-integrity.sallyport.dev'];

/**
 * The admission policies and bindings that the chart installs, by name.
 *
 * @param namespace where the operator runs; the policies name its service account.
 * @throws Error when `namespace` is no name of a namespace: it becomes part of an expression.
 */
export function expectedAdmission(namespace: string): readonly ExpectedAdmission[] {
  if (!isNamespaceName(namespace)) throw new Error('not the name of a namespace');
  return admissionObjects.map((object) => {
    const { name, rules, policySpec, bindingSpec } = JSON.parse(JSON.stringify(object).replaceAll(operatorUser(systemNamespace), operatorUser(namespace))) as AdmissionObject;
    return { name, rules, policySpec, bindingSpec, guardsApprovals: approvalPolicies.includes(name), hash: digestOf({ policySpec, bindingSpec }) };
  });
}

/** The operator's username at the API server. Whoever renders crds/admission for another namespace replaces this text for `sallyport-system`. */
export function operatorUser(namespace: string): string {
  return `system:serviceaccount:${namespace}:${operatorName}`;
}
