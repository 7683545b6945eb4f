import type { FakeClock } from './fake-clock.ts';

/** Lets everything run that waits for nothing but its turn. */
export async function settle(turns = 20): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/**
 * Waits until a condition holds, turn by turn, moving the clock by `stepMs` each time when one is given.
 *
 * @throws Error after `limit` turns.
 */
export async function until(condition: () => boolean, options: { readonly clock?: FakeClock; readonly stepMs?: number; readonly limit?: number } = {}): Promise<void> {
  for (let turn = 0; turn < (options.limit ?? 2_000); turn++) {
    if (condition()) return;
    options.clock?.advance(options.stepMs ?? 100);
    await settle(2);
  }
  if (!condition()) throw new Error(`the condition does not hold: ${condition.toString()}`);
}

/** Moves the clock through a span in steps, with turns in between, so that what wakes can act and wait again. */
export async function pass(clock: FakeClock, spanMs: number, stepMs = 500): Promise<void> {
  for (let done = 0; done < spanMs; done += stepMs) {
    clock.advance(Math.min(stepMs, spanMs - done));
    await settle(4);
  }
}
