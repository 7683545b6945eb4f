import { expect, test } from '@jest/globals';

import { UnauthenticatedLimit } from './listener.ts';

test('one address may hold ten places, others are unaffected, and a place that is given back is free', () => {
  const limit = new UnauthenticatedLimit();
  const entries = Array.from({ length: 10 }, () => limit.enter('10.0.0.1'));
  expect(limit.enter('10.0.0.1').outcome).toBe('refused_address');
  expect(limit.enter('10.0.0.2').outcome).toBe('accepted');
  const [first] = entries;
  if (first?.outcome === 'accepted') first.leave();
  expect(limit.enter('10.0.0.1').outcome).toBe('accepted');
});

test('the process holds a hundred, from whatever addresses', () => {
  const limit = new UnauthenticatedLimit();
  for (let i = 0; i < 100; i++) expect(limit.enter(`10.0.0.${i}`).outcome).toBe('accepted');
  expect([limit.enter('10.0.1.1').outcome, limit.total]).toEqual(['refused_process', 100]);
});
