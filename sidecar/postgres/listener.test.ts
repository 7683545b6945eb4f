import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';

import { LoginDeadline, UnauthenticatedLimit } from './listener.ts';

beforeEach(() => { jest.useFakeTimers(); });
afterEach(() => { jest.useRealTimers(); });

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

test('a login ends at its deadline, and the time that it is paused does not count', () => {
  const login = new LoginDeadline(60_000, () => undefined);
  jest.advanceTimersByTime(40_000);
  const [first, second] = [login.pause(), login.pause()];
  jest.advanceTimersByTime(3_600_000);
  first();
  first();
  jest.advanceTimersByTime(3_600_000);
  second();
  jest.advanceTimersByTime(19_999);
  expect(login.signal.aborted).toBe(false);
  jest.advanceTimersByTime(1);
  expect(login.signal.reason).toMatchObject({ code: 'STARTUP_TIMEOUT' });
});

test('a login that is complete has no deadline, and gives its place back once', () => {
  let left = 0;
  const login = new LoginDeadline(60_000, () => { left++; });
  const resume = login.pause();
  login.admitted();
  login.admitted();
  resume();
  jest.advanceTimersByTime(3_600_000);
  expect([login.signal.aborted, left]).toEqual([false, 1]);
});
