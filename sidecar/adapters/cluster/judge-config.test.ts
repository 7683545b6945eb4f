import { describe, expect, test } from '@jest/globals';
import { anOffer } from '../../../tools/testkit/cluster-config.ts';
import { aConfig } from '../../../tools/testkit/policies.ts';
import { hashOf, judgeConfig } from './judge-config.ts';

const inForce = anOffer(5);
const judge = (offered = anOffer(6), isConsistent = false): unknown => {
  const verdict = judgeConfig(inForce, offered, 'payments', isConsistent);
  return verdict.verdict === 'rejected' ? verdict.reason : verdict.verdict;
};

describe('an offered config', () => {
  test('that is newer is accepted, parsed', () => {
    expect(judgeConfig(inForce, anOffer(6), 'payments', false)).toMatchObject({ verdict: 'accepted', accepted: { revision: 6, parsed: { namespace: 'payments', policies: [{ name: 'p6' }] } } });
  });

  test('that is in force already changes nothing', () => {
    expect(judge(inForce)).toBe('same');
  });

  test('that is older is not believed until it was read past every cache; then the config went back', () => {
    expect([judge(anOffer(4)), judge(anOffer(4), true)]).toEqual(['older', 'RevisionGoesBack']);
  });

  test.each([
    ['whose hash is another', anOffer(6, { hash: hashOf('{}') }), 'HashMismatch'],
    ['whose bytes were changed', anOffer(6, { config: `${anOffer(6).config} ` }), 'HashMismatch'],
    ['that is no JSON', anOffer(6, { config: '{', hash: hashOf('{') }), 'InvalidConfig'],
    ['with a field that we do not know', anOffer(6, { config: '{"schemaVersion":1,"extra":1}', hash: hashOf('{"schemaVersion":1,"extra":1}') }), 'InvalidConfig'],
    ['of another namespace', anOffer(6, { parsed: { ...aConfig([]), namespace: 'other' } }), 'WrongNamespace'],
  ])('%s is refused', (_, offered, reason) => {
    expect(judge(offered)).toBe(reason);
  });

  test('of the same revision with other bytes is judged anew', () => {
    expect(judge(anOffer(5, { parsed: aConfig([]) }))).toBe('accepted');
  });
});
