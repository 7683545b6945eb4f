import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parse } from 'yaml';
import { evaluateAdmission } from '../../tools/testkit/evaluate-admission.ts';
import type { AdmissionRequest, AdmissionVerdict } from '../../tools/testkit/evaluate-admission.ts';
import { expectedAdmission } from './expected-admission.ts';
import type { AdmissionObject } from './expected-admission.ts';

interface Case extends AdmissionRequest { readonly name: string; readonly policy: string; readonly expect: 'allowed' | 'denied'; readonly rule?: string }

const { cases } = parse(readFileSync(new URL('../../e2e/cluster/cases/vap-cases.yaml', import.meta.url), 'utf8')) as { cases: readonly Case[] };
const policies = new Map(expectedAdmission('sallyport-system').map((each) => [each.name, each.policySpec]));

function verdictOf(spec: AdmissionObject['policySpec'] | undefined, each: Case): string {
  if (spec === undefined) return `there is no policy ${each.policy}`;
  return worded(evaluateAdmission(spec, each));
}

function worded(verdict: AdmissionVerdict): string {
  switch (verdict.verdict) {
    case 'allowed': case 'unmatched': return 'allowed';
    case 'denied': return `denied ${verdict.rule}`;
    case 'error': return `error ${verdict.at} ${verdict.error}`;
    default: return verdict satisfies never;
  }
}

describe('every case of vap-cases.yaml is answered in process as it says', () => {
  test.each(cases.map((each) => [`${each.policy}: ${each.name}`, each] as const))('%s', (_name, each) => {
    expect(verdictOf(policies.get(each.policy), each)).toBe(each.expect === 'allowed' ? 'allowed' : `denied ${each.rule ?? ''}`);
  });
});

test('no other policy answers a case: a denial has one reason', () => {
  const others = cases.flatMap((each) => [...policies].filter(([name]) => name !== each.policy).map(([name, spec]) => ({ case: each.name, policy: name, verdict: worded(evaluateAdmission(spec, each)) })));
  expect(others.filter((each) => each.verdict !== 'allowed')).toEqual([]);
});

test.each([...policies])('%s: every rule, replaced by true, lets a case through that must be denied', (name, spec) => {
  const own = cases.filter((each) => each.policy === name);
  const validations = spec['validations'] as readonly { readonly expression: string; readonly message: string }[];
  const idle = validations.filter((_, place) => {
    const weaker = { ...spec, validations: validations.map((each, at) => (at === place ? { ...each, expression: 'true' } : each)) };
    return own.every((each) => verdictOf(weaker, each) === (each.expect === 'allowed' ? 'allowed' : `denied ${each.rule ?? ''}`));
  });
  expect(idle.map((each) => each.message)).toEqual([]);
});

test('every policy allows a case that it matches, so that a policy which denies everything fails', () => {
  const silent = [...policies].filter(([name, spec]) => !cases.some((each) => each.policy === name && evaluateAdmission(spec, each).verdict === 'allowed'));
  // Nothing is granted cluster-wide by the operator.
  expect(silent.map(([name]) => name)).toEqual(['operator-grants-cluster.sallyport.dev']);
});

test('whatever workload of others is written, the policy that watches all of them neither fails nor refuses it', () => {
  const maybe = <T>(inner: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(inner, { nil: undefined });
  const texts = maybe(fc.dictionary(fc.constantFrom('app.kubernetes.io/name', 'kubectl.kubernetes.io/restartedAt', 'a', 'b'), fc.constantFrom('', 'app', 'x')));
  const metadata = maybe(fc.record({ name: maybe(fc.constant('app')), labels: texts, annotations: texts }));
  const podSpec = fc.record({ serviceAccountName: maybe(fc.constantFrom('', 'default', 'sallyport-proxy2')), containers: maybe(fc.array(fc.record({ image: fc.string() }))), volumes: maybe(fc.array(fc.constant({ hostPath: {} }))) });
  const object = fc.record({ metadata: fc.record({ labels: texts }), spec: fc.oneof(podSpec, fc.record({ replicas: maybe(fc.nat()), template: maybe(fc.record({ metadata, spec: maybe(podSpec) })) })) });
  const spec = policies.get('proxy-workload.sallyport.dev') as AdmissionObject['policySpec'];
  fc.assert(fc.property(fc.constantFrom('pods', 'deployments', 'replicasets'), fc.constantFrom('CREATE' as const, 'UPDATE' as const), object, object, (resource, operation, after, before) => {
    const absent = JSON.parse(JSON.stringify({ object: after, ...(operation === 'UPDATE' ? { oldObject: before } : {}) })) as object;
    expect(evaluateAdmission(spec, { user: 'oidc:dev', operation, resource, namespace: 'payments', ...absent })).toEqual({ verdict: 'allowed' });
  }), { numRuns: 500 });
});

test('a denial by a rule with a message of its own names what the caller has to know', () => {
  const forged = cases.find((each) => each.rule === 'may-approve') as Case;
  expect(evaluateAdmission(policies.get(forged.policy) as AdmissionObject['policySpec'], forged)).toMatchObject({ verdict: 'denied', message: 'may-approve: you need the verb approve on accesspolicies/oncall' });
});
