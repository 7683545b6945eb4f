import { readFileSync } from 'node:fs';
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

test('the threat model names every policy and every rule, and none that does not exist', () => {
  const text = readFileSync(new URL('../../docs/threat-model.md', import.meta.url), 'utf8');
  const rows = text.slice(text.indexOf('## In a cluster: what admission refuses'), text.indexOf('### What remains')).split('\n').filter((line) => line.startsWith('| ')).slice(2);
  const named = rows.flatMap((row) => (row.split('|')[3] ?? '').split(',').map((each) => each.trim()));
  const rules = expectedAdmission('sallyport-system').flatMap((each) => each.rules);
  const inWords = new Set(rules.map((rule) => (/^may-read-account-credentials-[246]$/.test(rule) ? rule.slice(-2) : rule)));
  expect([...new Set(named)].sort()).toEqual([...inWords].sort());
  for (const { name } of expectedAdmission('sallyport-system')) expect(text).toMatch(new RegExp(`\`${name.startsWith('operator-grants') ? 'operator-grants-\\*' : name.replace('.sallyport.dev', '')}\``));
});
