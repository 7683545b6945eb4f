import { describe, expect, test } from '@jest/globals';
import { expectedAdmission } from '../../../contract/api/expected-admission.ts';
import type { ProxyConfigResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { KubeObject } from '../../../runtime/kube/kube-client.ts';
import { admissionEvidence, compareAdmission, newestAdmissionMs, type StoredAdmission } from './compare.ts';
import { type CheckFacts, configStatus, judgeIntegrity, storedSince } from './plan.ts';

const expected = expectedAdmission('sallyport-system');
const guards = expected.filter((one) => one.guardsApprovals).map((one) => one.name);
const nowMs = Date.parse('2026-11-24T10:00:00.500Z');
type Spec = Record<string, unknown>;

describe('the stored admission policies', () => {
  test('are as expected when every spec is', () => {
    expect(compareAdmission(expected, stored())).toEqual([]);
    expect(guards).toHaveLength(2);
  });

  test.each(guards)('miss %s when it or its binding is gone or going', (name) => {
    for (const part of ['policy', 'binding'] as const) {
      expect(compareAdmission(expected, stored({ [name]: { [part]: () => null } }))).toEqual([{ reason: 'PolicyMissing', name, guardsApprovals: true }]);
      const going = (object: KubeObject): KubeObject => ({ ...object, metadata: { ...object.metadata, deletionTimestamp: '2026-11-24T10:00:00Z' } });
      expect(compareAdmission(expected, stored({ [name]: { [part]: going } }))).toMatchObject([{ reason: 'PolicyMissing' }]);
    }
  });

  test.each(guards)('have another %s when any of its fields differs', (name) => {
    const changes: ((spec: Spec) => Spec)[] = [
      (spec) => ({ ...spec, failurePolicy: 'Ignore' }), (spec) => ({ ...spec, validations: (spec['validations'] as unknown[]).slice(1) }),
      (spec) => ({ ...spec, matchConditions: [{ name: 'never', expression: 'false' }] }), (spec) => ({ ...spec, matchConstraints: { ...(spec['matchConstraints'] as Spec), namespaceSelector: { matchLabels: { a: 'b' } } } }),
    ];
    for (const change of changes) {
      expect(compareAdmission(expected, stored({ [name]: { policy: (object) => ({ ...object, spec: change(object.spec as Spec) }) } }))).toEqual([{ reason: 'PolicyChanged', name, guardsApprovals: true }]);
    }
  });

  test.each(guards)('have another binding of %s when it warns only, is narrowed or binds something else', (name) => {
    for (const change of [{ validationActions: ['Audit'] }, { matchResources: { namespaceSelector: { matchLabels: { a: 'b' } } } }, { policyName: 'other' }]) {
      expect(compareAdmission(expected, stored({ [name]: { binding: (object) => ({ ...object, spec: { ...(object.spec as Spec), ...change } }) } }))).toEqual([{ reason: 'BindingChanged', name, guardsApprovals: true }]);
    }
  });

  test('leave evidence when one of the two that guard approvals is edited and put back, and none for the others', () => {
    const edited = (name: string): string | null => admissionEvidence(expected, stored({ [name]: { policy: (object) => ({ ...object, metadata: { ...object.metadata, generation: 3 } }) } }));
    const before = admissionEvidence(expected, stored());
    for (const name of guards) expect(edited(name)).not.toBe(before);
    expect(edited(expected.find((one) => !one.guardsApprovals)?.name ?? '')).toBe(before);
    expect(admissionEvidence(expected, stored({ [guards[0] ?? '']: { binding: () => null } }))).toBeNull();
  });
});

describe('approval integrity', () => {
  const good: CheckFacts = { findings: [], evidence: 'e', probe: { outcome: 'refused' }, knownSinceMs: null, madeMs: 0, nowMs };

  test('holds when the policies are as expected and both forgeries are refused by them', () => {
    expect(judgeIntegrity(good)).toMatchObject({ holds: true, reason: 'ApprovalIntegrity', evidence: 'e', others: { holds: true } });
  });

  test('is believed to have held since it was first seen with this evidence, else from after now', () => {
    expect(judgeIntegrity({ ...good, knownSinceMs: 1_000 }).sinceMs).toBe(1_000);
    expect(judgeIntegrity(good).sinceMs).toBe(Date.parse('2026-11-24T10:00:02Z'));
  });

  test('is not believed to have held before the policies and bindings were made, by the clock of the API server, which ours may lag behind', () => {
    const madeMs = newestAdmissionMs(expected, stored({ [guards[0] ?? '']: { binding: (object) => ({ ...object, metadata: { ...object.metadata, creationTimestamp: '2026-11-24T10:05:00Z' } }) } }));
    expect(madeMs).toBe(Date.parse('2026-11-24T10:05:00Z'));
    expect(judgeIntegrity({ ...good, madeMs }).sinceMs).toBe(madeMs);
    expect(judgeIntegrity({ ...good, madeMs, knownSinceMs: 1_000 }).sinceMs).toBe(madeMs);
    expect(newestAdmissionMs(expected, stored())).toBe(0);
  });

  test.each<[string, Partial<CheckFacts>, string]>([
    ['a policy is missing', { findings: [{ reason: 'PolicyMissing', name: 'a', guardsApprovals: true }], probe: null }, 'PolicyMissing'],
    ['a policy was changed', { findings: [{ reason: 'PolicyChanged', name: 'a', guardsApprovals: true }], probe: null }, 'PolicyChanged'],
    ['a binding was changed', { findings: [{ reason: 'BindingChanged', name: 'a', guardsApprovals: true }], probe: null }, 'BindingChanged'],
    ['a forged decision is accepted', { probe: { outcome: 'accepted', message: 'a decision was accepted' } }, 'ForgeryAccepted'],
    ['the refusal proves nothing', { probe: { outcome: 'unknown', message: '403 by RBAC' } }, 'ProbeFailed'],
    ['the probe was not made', { probe: null }, 'ProbeFailed'],
  ])('is lost when %s', (_name, change, reason) => {
    expect(judgeIntegrity({ ...good, ...change })).toMatchObject({ holds: false, reason });
  });

  test('that could not be proven for a while is continuous when the policies were not touched; after a forgery was accepted it is not', () => {
    expect(judgeIntegrity({ ...good, knownSinceMs: 1_000, probe: { outcome: 'unknown', message: '' } }).sinceMs).toBe(1_000);
    expect(judgeIntegrity({ ...good, knownSinceMs: 1_000, probe: { outcome: 'accepted', message: '' } }).sinceMs).toBeNull();
  });

  test('does not depend on the policies that guard other things; those have their own condition', () => {
    expect(judgeIntegrity({ ...good, findings: [{ reason: 'PolicyMissing', name: 'target-secrets', guardsApprovals: false }] })).toMatchObject({ holds: true, others: { holds: false, reason: 'PolicyMissing' } });
  });

  test('is known from a ProxyConfig after a restart only for the same evidence', () => {
    const config = (evidence: string, since: string): ProxyConfigResource => ({ status: { integrityEvidence: evidence, integritySince: since } }) as ProxyConfigResource;
    const configs = [config('e', '2026-11-24T09:00:00Z'), config('e', '2026-11-24T09:30:00Z'), config('x', '2026-11-24T09:59:00Z')];
    expect(storedSince(configs, 'e')).toBe(Date.parse('2026-11-24T09:30:00Z'));
    expect(storedSince(configs, 'y')).toBeNull();
    expect(storedSince(configs, null)).toBeNull();
  });
});

describe('what a ProxyConfig says of integrity', () => {
  const state = judgeIntegrity({ findings: [], evidence: 'e', probe: { outcome: 'refused' }, knownSinceMs: 1_000, madeMs: 0, nowMs });

  test('is written once an interval, and at once when it changes', () => {
    const written = configStatus(undefined, state, 300);
    expect(written).toMatchObject({ integrityCheckedAt: '2026-11-24T10:00:00Z', integrityEvidence: 'e', conditions: [{ type: 'ApprovalIntegrity', status: 'True' }, { type: 'AdmissionIntegrity', status: 'True' }] });
    expect(configStatus(written!, { ...state, checkedAtMs: nowMs + 299_000 }, 300)).toBeNull();
    expect(configStatus(written!, { ...state, checkedAtMs: nowMs + 300_000 }, 300)).toMatchObject({ integrityCheckedAt: '2026-11-24T10:05:00Z' });
    expect(configStatus(written!, { ...state, holds: false, sinceMs: null, reason: 'PolicyMissing', message: 'm', checkedAtMs: nowMs + 1_000 }, 300))
      .toMatchObject({ integrityCheckedAt: '2026-11-24T10:00:00Z', conditions: [{ status: 'False', reason: 'PolicyMissing', lastTransitionTime: '2026-11-24T10:00:01Z' }, { status: 'True' }] });
  });

  test('is not written again and again while it does not hold', () => {
    const lost = { ...state, holds: false, sinceMs: null, reason: 'PolicyMissing' as const, message: 'm' };
    const written = configStatus(undefined, lost, 300);
    expect(written).not.toHaveProperty('integritySince');
    expect(configStatus(written!, { ...lost, checkedAtMs: nowMs + 900_000 }, 300)).toBeNull();
  });
});

type Change = (object: KubeObject) => KubeObject | null;

function stored(changes: Readonly<Record<string, { readonly policy?: Change; readonly binding?: Change }>> = {}): StoredAdmission {
  const make = (part: 'policy' | 'binding', name: string): KubeObject | null => {
    const one = expected.find((candidate) => candidate.name === name);
    if (one === undefined) return null;
    const object: KubeObject = { metadata: { name, uid: `${part}-${name}`, generation: 1 }, spec: structuredClone(part === 'policy' ? one.policySpec : one.bindingSpec) };
    const change = changes[name]?.[part];
    return change === undefined ? object : change(object);
  };
  return { policy: (name) => make('policy', name), binding: (name) => make('binding', name) };
}
