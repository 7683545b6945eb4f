import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fakeClock } from '../../tools/testkit/fake-clock.ts';
import { settle } from '../../tools/testkit/settle.ts';
import { createWorkQueue } from './work-queue.ts';

describe('a queue', () => {
  test('gives keys in the order in which they came, each once', async () => {
    const queue = createWorkQueue({ clock: fakeClock() });
    for (const key of ['a', 'b', 'a', 'c', 'b']) queue.add(key);
    expect([await queue.take(), await queue.take(), await queue.take(), queue.depth]).toEqual(['a', 'b', 'c', 0]);
  });

  test('a key that is added while it is worked on comes again once, after done', async () => {
    const queue = createWorkQueue({ clock: fakeClock() });
    queue.add('a');
    await queue.take();
    queue.add('a');
    queue.add('a');
    const next = queue.take();
    await expect(Promise.race([next, settle().then(() => 'nothing')])).resolves.toBe('nothing');
    queue.done('a');
    expect(await next).toBe('a');
    queue.done('a');
    expect([queue.depth, queue.isIdle]).toEqual([0, true]);
  });

  test('addAfter keeps the earliest wish, also beyond what one timer can hold', async () => {
    const clock = fakeClock();
    const queue = createWorkQueue({ clock });
    queue.addAfter('a', 5_000);
    queue.addAfter('a', 2_000);
    queue.addAfter('a', 9_000);
    clock.advance(1_999);
    expect(queue.depth).toBe(0);
    clock.advance(1);
    expect(queue.depth).toBe(1);
    expect(clock.timers).toBe(0);
    queue.addAfter('b', 0);
    expect(queue.depth).toBe(2);
  });

  test('a timer that fires early, as those above 24 days do, waits for the rest', () => {
    const clock = fakeClock();
    const longestMs = 1_000_000;
    const queue = createWorkQueue({ clock: { ...clock, after: (delayMs, fire) => clock.after(Math.min(delayMs, longestMs), fire) } });
    queue.addAfter('a', 2_500_000);
    clock.advance(2_400_000);
    expect(queue.depth).toBe(0);
    clock.advance(100_000);
    expect(queue.depth).toBe(1);
  });

  test('failures of a key wait 5 ms, 10 ms, … up to 5 min, until they are forgotten', () => {
    const clock = fakeClock();
    const queue = createWorkQueue({ clock });
    const waits = Array.from({ length: 20 }, () => {
      queue.addRateLimited('a');
      const fromMs = clock.monotonicMs();
      while (queue.depth === 0) clock.advance(5);
      void queue.take();
      queue.done('a');
      return clock.monotonicMs() - fromMs;
    });
    expect([waits.slice(0, 4), waits.at(-1)]).toEqual([[5, 10, 20, 40], 300_000]);
    queue.forget('a');
    queue.addRateLimited('a');
    clock.advance(5);
    expect(queue.depth).toBe(1);
  });

  test('many failing keys together come at most at 10 per second after a burst of 100', () => {
    const clock = fakeClock();
    const queue = createWorkQueue({ clock });
    for (let index = 0; index < 300; index++) queue.addRateLimited(`k${index}`);
    clock.advance(10);
    expect(queue.depth).toBeLessThanOrEqual(101);
    clock.advance(10_000);
    expect(queue.depth).toBeLessThanOrEqual(201);
    clock.advance(10_000);
    expect(queue.depth).toBe(300);
  });

  test('closing ends those who wait, forgets what waits and takes nothing more', async () => {
    const clock = fakeClock();
    const queue = createWorkQueue({ clock });
    const waiting = queue.take();
    queue.addAfter('later', 1_000);
    queue.close();
    queue.add('a');
    queue.addAfter('b', 1);
    expect([await waiting, await queue.take(), queue.depth, clock.timers]).toEqual([null, null, 0, 0]);
  });

  test('no order of adds, takes and dones works on a key twice at once or loses one', async () => {
    const step = fc.oneof(fc.record({ do: fc.constantFrom('add' as const, 'addAfter' as const, 'fail' as const), key: fc.constantFrom('a', 'b', 'c') }), fc.record({ do: fc.constantFrom('take' as const, 'done' as const, 'wait' as const), key: fc.constantFrom('a', 'b', 'c') }));
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const clock = fakeClock();
      const queue = createWorkQueue({ clock });
      const working = new Set<string>();
      const owed = new Set<string>();
      const takeOne = async (): Promise<void> => {
        const key = await queue.take();
        if (key === null) return;
        expect(working.has(key)).toBe(false);
        working.add(key);
        owed.delete(key);
      };
      for (const each of steps) {
        switch (each.do) {
          case 'add': queue.add(each.key); owed.add(each.key); break;
          case 'addAfter': queue.addAfter(each.key, 50); owed.add(each.key); break;
          case 'fail': queue.addRateLimited(each.key); owed.add(each.key); break;
          case 'take': if (queue.depth > 0) await takeOne(); break;
          case 'done': if (working.delete(each.key)) queue.done(each.key); break;
          case 'wait': clock.advance(60); break;
          default: each satisfies never;
        }
      }
      for (const key of [...working]) {
        working.delete(key);
        queue.done(key);
      }
      clock.advance(600_000);
      while (queue.depth > 0) await takeOne();
      expect([...owed]).toEqual([]);
    }));
  });
});
