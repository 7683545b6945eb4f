import { expect, test } from '@jest/globals';
import { digestOf } from '../digest.ts';
import { approvalPolicies, expectedAdmission } from './expected-admission.ts';

test('every policy denies, everywhere, also when it cannot be evaluated', () => {
  for (const { name, policySpec, bindingSpec } of expectedAdmission('sallyport-system')) {
    expect({ name, failurePolicy: policySpec['failurePolicy'], binding: bindingSpec }).toEqual({ name, failurePolicy: 'Fail', binding: { policyName: name, validationActions: ['Deny', 'Audit'] } });
    expect(policySpec['matchConstraints']).toMatchObject({ matchPolicy: 'Equivalent', namespaceSelector: {}, objectSelector: {} });
  }
});

test('the policies name the operator of the namespace that it runs in, and no other', () => {
  const text = JSON.stringify(expectedAdmission('gate'));
  expect(text).toContain('system:serviceaccount:gate:sallyport-operator');
  expect(text).not.toContain('sallyport-system');
});

test('a text that is no namespace never gets into an expression', () => {
  expect(() => expectedAdmission("x' || true || '")).toThrow('not the name of a namespace');
});

test('the hash is that of the specs as they are stored, so another namespace or rule has another hash', () => {
  const [first] = expectedAdmission('sallyport-system');
  const { policySpec, bindingSpec } = first as NonNullable<typeof first>;
  expect(first?.hash).toBe(digestOf({ bindingSpec, policySpec }));
  expect(expectedAdmission('gate')[0]?.hash).not.toBe(first?.hash);
});

test('exactly the policies on requests and decisions gate the counting of approvals', () => {
  expect(expectedAdmission('gate').filter((each) => each.guardsApprovals).map((each) => each.name)).toEqual(approvalPolicies);
});
