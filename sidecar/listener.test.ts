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

test('an eleventh of one address waits for a place of that address, in the order of coming, while others pass', () => {
  const limit = new UnauthenticatedLimit();
  const leave: (() => void)[] = [];
  const came: string[] = [];
  const come = (name: string, address: string): void => limit.enterOrWait(address, (entry) => {
    came.push(`${name} ${entry.outcome}`);
    if (entry.outcome === 'accepted') leave.push(() => entry.leave());
  });
  for (let i = 0; i < 10; i++) come('early', '10.0.0.1');
  came.length = 0;
  come('first', '10.0.0.1');
  come('second', '10.0.0.1');
  come('other', '10.0.0.2');
  expect([came, limit.waiting]).toEqual([['other accepted'], 2]);
  leave[0]?.();
  expect(came).toEqual(['other accepted', 'first accepted']);
  leave[1]?.();
  expect([came, limit.waiting, limit.total]).toEqual([['other accepted', 'first accepted', 'second accepted'], 0, 11]);
});

test('who waits for too long is refused, as is whom nothing is left to wait in; a place that comes free later is not lost', () => {
  const limit = new UnauthenticatedLimit({ perAddress: 1, waiting: 3, waitingPerAddress: 2, waitMs: 10_000 });
  const came: string[] = [];
  let leave = (): void => undefined;
  const come = (address: string): void => limit.enterOrWait(address, (entry) => {
    came.push(entry.outcome);
    if (entry.outcome === 'accepted') leave = entry.leave;
  });
  for (let i = 0; i < 4; i++) come('10.0.0.1');
  expect([came, limit.waiting]).toEqual([['accepted', 'refused_address'], 2]);
  jest.advanceTimersByTime(10_000);
  expect([came, limit.waiting]).toEqual([['accepted', 'refused_address', 'refused_address', 'refused_address'], 0]);
  leave();
  come('10.0.0.1');
  expect([came.at(-1), limit.total, jest.getTimerCount()]).toEqual(['accepted', 1, 0]);
});

test('a place of the process that comes free goes to whoever waits longest and may have it', () => {
  const limit = new UnauthenticatedLimit({ perProcess: 2, perAddress: 1 });
  const came: string[] = [];
  const leave = new Map<string, () => void>();
  const come = (name: string, address: string): void => limit.enterOrWait(address, (entry) => {
    came.push(name);
    if (entry.outcome === 'accepted') leave.set(name, entry.leave);
  });
  for (const [name, address] of [['a', '1'], ['b', '2'], ['a2', '1'], ['c', '3']] as const) come(name, address);
  leave.get('b')?.();
  expect([came, limit.waiting]).toEqual([['a', 'b', 'c'], 1]);
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
