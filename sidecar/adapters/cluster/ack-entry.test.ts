import { describe, expect, test } from '@jest/globals';
import { anOffer } from '../../../tools/testkit/cluster-config.ts';
import { aConfig } from '../../../tools/testkit/policies.ts';
import { type AckFacts, ackEntry } from './ack-entry.ts';

const inForce = { ...anOffer(5), parsed: aConfig([]) };
const entry = (over: Partial<AckFacts> = {}): unknown => ackEntry({ pod: 'a', podUid: 'u', draining: false, failedTargets: [], state: { inForce, appliedAtMs: Date.parse('2026-01-02T03:04:05.678Z'), rejected: null }, ...over });
const rejected = (reason: string): AckFacts['state'] => ({ inForce, appliedAtMs: Date.parse('2026-01-02T03:04:05Z'), rejected: { revision: 9, hash: 'sha256:9', reason, message: 'x'.repeat(2_000) } });

describe('an acknowledgement', () => {
  test('names what is in force', () => {
    expect(entry()).toEqual({ pod: 'a', podUID: 'u', revision: 5, hash: inForce.hash, state: 'Applied', appliedAt: '2026-01-02T03:04:05Z' });
  });

  test('is not made before there is a config', () => {
    expect(entry({ state: { inForce: null, appliedAtMs: 0, rejected: null } })).toBeNull();
  });

  test('of a refused config names that one and why; of a config that went back it names the one in force', () => {
    expect(entry({ state: rejected('HashMismatch') })).toMatchObject({ state: 'Rejected', revision: 9, hash: 'sha256:9', reason: 'HashMismatch', message: 'x'.repeat(1_024) });
    expect(entry({ state: rejected('RevisionGoesBack') })).toMatchObject({ state: 'Rejected', revision: 5, hash: inForce.hash, reason: 'RevisionGoesBack' });
    expect(entry({ state: { ...rejected('InvalidConfig'), inForce: null } })).toMatchObject({ state: 'Rejected', revision: 9 });
  });

  test('of a draining pod says so, whatever else is wrong', () => {
    expect(entry({ draining: true, state: rejected('HashMismatch') })).toMatchObject({ state: 'Draining', revision: 5 });
  });

  test('names a Target once, with the first of its reasons', () => {
    expect(entry({ failedTargets: [{ name: 't', reason: 'PORT_NOT_OPEN' }, { name: 't', reason: 'InvalidSecret' }] })).toMatchObject({ failedTargets: [{ name: 't', reason: 'PORT_NOT_OPEN' }] });
  });

  test('names at most 64 failed Targets, in order, so that the same facts give the same entry', () => {
    const failedTargets = Array.from({ length: 70 }, (_, i) => ({ name: `t${String(69 - i).padStart(2, '0')}`, reason: 'SecretNotFound' as const }));
    expect((entry({ failedTargets }) as { failedTargets: { name: string }[] }).failedTargets.map(({ name }) => name)).toEqual(Array.from({ length: 64 }, (_, i) => `t${String(i).padStart(2, '0')}`));
    expect(entry({ failedTargets: [...failedTargets].reverse() })).toEqual(entry({ failedTargets }));
  });
});
