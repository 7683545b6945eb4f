import { expect, test } from '@jest/globals';

import { CancelKeys } from './cancel-keys.ts';

function keysAt(clock: { ms: number }): CancelKeys {
  return new CancelKeys({ now: () => clock.ms, monotonicMs: () => clock.ms });
}

test('a request with the pid and the key of a session cancels that session', () => {
  const keys = keysAt({ ms: 0 });
  const cancelled: string[] = [];
  const [a, b] = [keys.issue(4, () => cancelled.push('a')), keys.issue(32, () => cancelled.push('b'))];
  expect([a.key.length, b.key.length]).toEqual([4, 32]);
  expect(keys.cancel(b.pid, b.key, '10.0.0.1')).toBe('cancelled');
  expect(cancelled).toEqual(['b']);
});

test.each([
  ['another key', (pid: number, key: Buffer) => [pid, Buffer.from(key.map((byte) => byte ^ 1))] as const],
  ['a key that is cut', (pid: number, key: Buffer) => [pid, key.subarray(0, 4)] as const],
  ['a key with bytes behind', (pid: number, key: Buffer) => [pid, Buffer.concat([key, Buffer.alloc(1)])] as const],
  ['another pid', (pid: number, key: Buffer) => [pid === 1 ? 2 : pid - 1, key] as const],
])('a request with %s does nothing', (_, change) => {
  const keys = keysAt({ ms: 0 });
  const cancelled: string[] = [];
  const issued = keys.issue(32, () => cancelled.push('a'));
  const [pid, key] = change(issued.pid, issued.key);
  expect(keys.cancel(pid, key, '10.0.0.1')).toBe('unknown');
  expect(cancelled).toEqual([]);
});

test('a key is gone with its session', () => {
  const keys = keysAt({ ms: 0 });
  const issued = keys.issue(4, () => { throw new Error('must not be called'); });
  issued.remove();
  expect([keys.cancel(issued.pid, issued.key, '10.0.0.1'), keys.size]).toEqual(['unknown', 0]);
});

test('an address that guesses is not listened to after ten requests in a second, others are', () => {
  const clock = { ms: 500 };
  const keys = keysAt(clock);
  const issued = keys.issue(4, () => undefined);
  const guesses = Array.from({ length: 11 }, () => keys.cancel(issued.pid, Buffer.alloc(4), '10.0.0.9'));
  expect(guesses.at(9)).toBe('unknown');
  expect(keys.cancel(issued.pid, issued.key, '10.0.0.9')).toBe('limited');
  expect(keys.cancel(issued.pid, issued.key, '10.0.0.1')).toBe('cancelled');
  clock.ms = 1_000;
  expect(keys.cancel(issued.pid, issued.key, '10.0.0.9')).toBe('cancelled');
});

test('pids are positive 31-bit numbers, no two alike', () => {
  const keys = keysAt({ ms: 0 });
  const pids = Array.from({ length: 2_000 }, () => keys.issue(4, () => undefined).pid);
  expect(new Set(pids).size).toBe(2_000);
  expect(pids.every((pid) => pid >= 1 && pid < 2 ** 31)).toBe(true);
});

test('what another replica asks needs pid and key as well, and has no limit of ours: the replica that the client asked has counted it', () => {
  const keys = keysAt({ ms: 0 });
  let cancelled = 0;
  const issued = keys.issue(4, () => cancelled++);
  expect(keys.cancelForPeer(issued.pid, Buffer.alloc(4))).toBe('unknown');
  for (let n = 0; n < 20; n++) expect(keys.cancelForPeer(issued.pid, issued.key)).toBe('cancelled');
  expect(cancelled).toBe(20);
});
