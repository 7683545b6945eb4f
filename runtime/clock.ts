/** Wall clock, monotonic clock and timers, so that tests can stand in for time. */
export interface RuntimeClock {
  /** Unix time, ms. */
  now(): number;
  /** Never goes back, ms. */
  monotonicMs(): number;
  /** Runs `fire` once after `delayMs` of monotonic time; the answer cancels it. Delays above 2^31-1 ms fire early, at that limit. Timers do not keep the process alive. */
  after(delayMs: number, fire: () => void): () => void;
}

/** The clock of this machine. */
export function systemClock(): RuntimeClock {
  return {
    now: () => Date.now(),
    monotonicMs: () => performance.now(),
    after(delayMs, fire) {
      const timer = setTimeout(fire, Math.min(Math.max(0, delayMs), longestTimerMs));
      timer.unref();
      return () => clearTimeout(timer);
    },
  };
}

/**
 * Waits.
 *
 * @throws the signal's reason when it is or becomes aborted; no timer is left behind.
 */
export async function sleep(clock: RuntimeClock, delayMs: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const cancel = clock.after(delayMs, resolve);
  const abort = (): void => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    await promise;
  } finally {
    cancel();
    signal.removeEventListener('abort', abort);
  }
}

/**
 * A wall clock that never goes back, for things that end: after a jump back of the wall clock it goes on by monotonic time, so nothing lives longer (security.md 3.3).
 */
export function steadyNow(clock: Pick<RuntimeClock, 'now' | 'monotonicMs'>): () => number {
  let wall = clock.now();
  let monotonic = clock.monotonicMs();
  return () => {
    const elapsedMs = clock.monotonicMs() - monotonic;
    monotonic += elapsedMs;
    wall = Math.max(clock.now(), wall + elapsedMs);
    return Math.floor(wall);
  };
}

/** setTimeout fires at once for longer delays. */
const longestTimerMs = 2 ** 31 - 1;
