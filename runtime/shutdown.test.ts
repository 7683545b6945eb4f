import { EventEmitter } from 'node:events';
import { describe, expect, test } from '@jest/globals';
import { fakeClock } from '../tools/testkit/fake-clock.ts';
import { sleep, steadyNow } from './clock.ts';
import { watchShutdown } from './shutdown.ts';

describe('a shutdown', () => {
  test('begins with the first signal and ends by itself when everything is closed', () => {
    const { source, clock, exits, shutdown } = arrange();
    expect(shutdown.signal.aborted).toBe(false);
    source.emit('SIGTERM');
    expect(shutdown.signal.aborted).toBe(true);
    shutdown.stop();
    clock.advance(60_000);
    expect([exits, clock.timers, source.eventNames()]).toEqual([[], 0, []]);
  });

  test('is cut at the drain deadline', () => {
    const { source, clock, exits } = arrange();
    source.emit('SIGTERM');
    clock.advance(24_999);
    expect(exits).toEqual([]);
    clock.advance(1);
    expect(exits).toEqual([1]);
  });

  test('has its deadline at the second signal, and is cut by the third', () => {
    const { source, exits, shutdown } = arrange();
    source.emit('SIGTERM');
    expect(shutdown.hurry.aborted).toBe(false);
    source.emit('SIGTERM');
    expect([shutdown.hurry.aborted, exits]).toEqual([true, []]);
    source.emit('SIGINT');
    expect(exits).toEqual([130]);
  });
});

describe('clocks', () => {
  test('a sleep ends at its time, or with the reason of its signal and without its timer', async () => {
    const clock = fakeClock();
    const slept = sleep(clock, 100, new AbortController().signal);
    clock.advance(100);
    await slept;
    const controller = new AbortController();
    const cut = sleep(clock, 100, controller.signal);
    controller.abort(new Error('enough'));
    await expect(cut).rejects.toThrow('enough');
    expect(clock.timers).toBe(0);
  });

  test('steady time never goes back and follows a jump forward', () => {
    const clock = fakeClock(1_000_000);
    const now = steadyNow(clock);
    clock.advance(1_000);
    clock.jump(-500_000);
    clock.advance(1_000);
    expect(now()).toBe(1_002_000);
    clock.jump(900_000);
    expect(now()).toBe(1_402_000);
    clock.jump(-900_000);
    clock.advance(10);
    expect(now()).toBe(1_402_010);
  });
});

function arrange() {
  const source = new EventEmitter();
  const clock = fakeClock();
  const exits: number[] = [];
  return { source, clock, exits, shutdown: watchShutdown({ source, clock, drainMs: 25_000, exit: (code) => exits.push(code) }) };
}
