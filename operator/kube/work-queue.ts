import type { RuntimeClock } from '../../runtime/clock.ts';

/** Told what happens in a queue; metrics are made of it. */
export interface QueueFacts {
  readonly onAdd?: () => void;
  readonly onTake?: (waitedMs: number) => void;
  readonly onDone?: (workedMs: number) => void;
  readonly onRetry?: () => void;
}

/** Keys that wait for work. A key is in it once, and is never given out while it is being worked on. */
export interface WorkQueue {
  /** Adds now. A key that is being worked on comes again once after `done`. */
  add(key: string): void;
  /** Adds after a while; of several wishes for a key the earliest counts. */
  addAfter(key: string, delayMs: number): void;
  /** Adds after the failures' back-off: 5 ms doubled up to 5 min, and not more than 10/s after a burst of 100 over all keys; no sooner than `atLeastMs`. */
  addRateLimited(key: string, atLeastMs?: number): void;
  /** Forgets the failures of a key. */
  forget(key: string): void;
  /** The next key; null when the queue is closed. */
  take(): Promise<string | null>;
  /** Ends the work on a key that `take` gave. */
  done(key: string): void;
  /** Gives nothing out any more and forgets what waits. */
  close(): void;
  /** Keys ready to be taken. */
  readonly depth: number;
  /** Monotonic ms at which each key that is being worked on was taken. */
  readonly processing: ReadonlyMap<string, number>;
  /** Nothing waits for a worker and nothing is being worked on; keys that wait for their time do not count. */
  readonly isIdle: boolean;
}

/** client-go's figures. */
const limits = { firstDelayMs: 5, longestDelayMs: 300_000, perSecond: 10, burst: 100 } as const;

/** Makes a queue; its bound is the number of different keys. */
export function createWorkQueue({ clock, facts = {} }: { readonly clock: RuntimeClock; readonly facts?: QueueFacts }): WorkQueue {
  /** Wanted; a Set keeps the order in which keys came, so it is the FIFO too. */
  const ready = new Map<string, number>();
  const again = new Set<string>();
  const processing = new Map<string, number>();
  const delayed = new Map<string, { readonly dueMs: number; readonly cancel: () => void }>();
  const failures = new Map<string, number>();
  const takers: ((key: string | null) => void)[] = [];
  let isClosed = false;
  /** Monotonic ms at which the bucket is full again. */
  let bucketFullMs = 0;

  const give = (): void => {
    for (const [key, addedMs] of ready) {
      const taker = takers.shift();
      if (taker === undefined) return;
      ready.delete(key);
      processing.set(key, clock.monotonicMs());
      facts.onTake?.(clock.monotonicMs() - addedMs);
      taker(key);
    }
  };
  const add = (key: string): void => {
    if (isClosed || ready.has(key) || again.has(key)) return;
    facts.onAdd?.();
    if (processing.has(key)) return void again.add(key);
    ready.set(key, clock.monotonicMs());
    give();
  };
  const addAfter = (key: string, delayMs: number): void => {
    if (isClosed) return;
    if (delayMs <= 0) return add(key);
    const dueMs = clock.monotonicMs() + delayMs;
    const before = delayed.get(key);
    if (before !== undefined && before.dueMs <= dueMs) return;
    before?.cancel();
    const cancel = clock.after(delayMs, () => {
      delayed.delete(key);
      // A timer cannot be longer than 24 days.
      if (clock.monotonicMs() < dueMs - 1_000) addAfter(key, dueMs - clock.monotonicMs());
      else add(key);
    });
    delayed.set(key, { dueMs, cancel });
  };
  const fromBucket = (): number => {
    const nowMs = clock.monotonicMs();
    bucketFullMs = Math.max(bucketFullMs, nowMs) + 1_000 / limits.perSecond;
    return Math.max(0, bucketFullMs - nowMs - (limits.burst * 1_000) / limits.perSecond);
  };
  return {
    add,
    addAfter,
    addRateLimited(key, atLeastMs = 0) {
      const count = failures.get(key) ?? 0;
      failures.set(key, count + 1);
      facts.onRetry?.();
      addAfter(key, Math.max(atLeastMs, Math.min(limits.longestDelayMs, limits.firstDelayMs * 2 ** Math.min(count, 20)), fromBucket()));
    },
    forget: (key) => void failures.delete(key),
    take() {
      if (isClosed) return Promise.resolve(null);
      return new Promise((resolve) => {
        takers.push(resolve);
        give();
      });
    },
    done(key) {
      const takenMs = processing.get(key);
      if (takenMs === undefined) return;
      processing.delete(key);
      facts.onDone?.(clock.monotonicMs() - takenMs);
      if (!again.delete(key) || isClosed) return;
      ready.set(key, clock.monotonicMs());
      give();
    },
    close() {
      isClosed = true;
      for (const { cancel } of delayed.values()) cancel();
      delayed.clear();
      ready.clear();
      again.clear();
      for (const taker of takers.splice(0)) taker(null);
    },
    get depth() {
      return ready.size;
    },
    processing,
    get isIdle() {
      return ready.size === 0 && processing.size === 0;
    },
  };
}
