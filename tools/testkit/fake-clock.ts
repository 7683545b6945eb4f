import type { RuntimeClock } from '../../runtime/clock.ts';

/** A clock that moves only when told. `timers` counts what is armed. */
export interface FakeClock extends RuntimeClock {
  /** Moves both clocks and fires what is due, in order. */
  advance(ms: number): void;
  /** Moves the wall clock alone. */
  jump(ms: number): void;
  readonly timers: number;
}

/** Starts at `startMs` of Unix time. */
export function fakeClock(startMs = 1_700_000_000_000): FakeClock {
  let wall = startMs;
  let monotonic = 0;
  const armed = new Set<{ readonly dueMs: number; readonly fire: () => void }>();
  const next = (untilMs: number): { readonly dueMs: number; readonly fire: () => void } | undefined =>
    [...armed].filter((timer) => timer.dueMs <= untilMs).sort((a, b) => a.dueMs - b.dueMs)[0];
  return {
    now: () => wall,
    monotonicMs: () => monotonic,
    after(delayMs, fire) {
      const timer = { dueMs: monotonic + Math.max(0, delayMs), fire };
      armed.add(timer);
      return () => armed.delete(timer);
    },
    advance(ms) {
      const untilMs = monotonic + ms;
      for (let timer = next(untilMs); timer !== undefined; timer = next(untilMs)) {
        armed.delete(timer);
        wall += timer.dueMs - monotonic;
        monotonic = timer.dueMs;
        timer.fire();
      }
      wall += untilMs - monotonic;
      monotonic = untilMs;
    },
    jump(ms) {
      wall += ms;
    },
    get timers() {
      return armed.size;
    },
  };
}
