import { type RuntimeClock, sleep } from '../../runtime/clock.ts';

/** Spreads calls over time. */
export interface Pacer {
  /** Waits for the next turn. @throws the signal's reason. */
  turn(signal: AbortSignal): Promise<void>;
}

/** Gives at most `perSecond` turns a second, evenly, over all who ask; nothing is saved up. */
export function createPacer(clock: RuntimeClock, perSecond: number): Pacer {
  let nextMs = 0;
  return {
    async turn(signal) {
      const nowMs = clock.monotonicMs();
      const mineMs = Math.max(nowMs, nextMs);
      nextMs = mineMs + 1_000 / perSecond;
      if (mineMs > nowMs) await sleep(clock, mineMs - nowMs, signal);
      signal.throwIfAborted();
    },
  };
}
