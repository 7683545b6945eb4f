import type { RuntimeClock } from '../../runtime/clock.ts';
import { KubeError } from '../../runtime/kube/kube-client.ts';
import type { Log } from '../../runtime/log.ts';
import type { OperatorMetrics } from './metrics.ts';
import { createWorkQueue, type WorkQueue } from './work-queue.ts';

/** An error that no retry mends: it is counted and logged, and the key waits for its next change. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
}

/** When to come again without a change; nothing = only on a change. */
export interface ReconcileAnswer {
  readonly requeueAfterMs?: number;
}

/** One controller. */
export interface ControllerOptions {
  /** Label of its metrics, e.g. `namespace-proxy`. */
  readonly name: string;
  /** Brings one key to what is wanted; level-based: it reads the caches and does not know why it was called. Its signal aborts when the controller stops. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most reconciles end without an answer, and say so by returning nothing.
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<ReconcileAnswer | void>;
  /** Default 4. */
  readonly workers?: number;
  /** False holds all work back, for a replica that does not lead; what was added waits. Ask again with `wake`. */
  readonly mayWork?: () => boolean;
  readonly metrics: OperatorMetrics;
  readonly log: Log;
  readonly clock: RuntimeClock;
}

/** A running controller. Disposal takes no new key, aborts what runs and waits for it. */
export interface Controller extends AsyncDisposable {
  /** For the `onKey` of reflectors. */
  enqueue(key: string): void;
  enqueueAfter(key: string, delayMs: number): void;
  /** Looks at `mayWork` again. */
  wake(): void;
  /** Takes no new key and lets running reconciles finish, at most `deadlineMs`; then they are aborted. */
  drain(deadlineMs: number): Promise<void>;
  readonly queue: WorkQueue;
}

/** Starts workers on a queue of keys. A failing key comes again with back-off; a failure of one key holds up no other and never ends the process. */
export function startController(options: ControllerOptions): Controller {
  const { clock, name } = options;
  const workers = options.workers ?? 4;
  const metrics = options.metrics.controller(name, workers);
  const queue = createWorkQueue({ clock, facts: { onAdd: metrics.added, onTake: metrics.waited, onDone: metrics.worked, onRetry: metrics.retried } });
  metrics.observe(queue, () => clock.monotonicMs());
  const stopped = new AbortController();
  let turn = Promise.withResolvers<void>();
  let isClosing = false;
  const wake = (): void => {
    turn.resolve();
    turn = Promise.withResolvers<void>();
  };

  const work = async (): Promise<void> => {
    for (;;) {
      // A closed queue gives no key: who waits to lead ends too.
      while (options.mayWork?.() === false && !isClosing) await turn.promise;
      const key = await queue.take();
      if (key === null) return;
      if (options.mayWork?.() === false) {
        // Leadership went while the worker waited for a key.
        queue.done(key);
        queue.add(key);
        continue;
      }
      await reconcileOnce(options, queue, metrics, key, stopped.signal);
      queue.done(key);
    }
  };
  const running = Promise.all(Array.from({ length: workers }, work));
  const stop = async (deadlineMs: number): Promise<void> => {
    isClosing = true;
    queue.close();
    const cancel = clock.after(deadlineMs, () => stopped.abort(new Error('the controller stops')));
    if (deadlineMs <= 0) stopped.abort(new Error('the controller stops'));
    wake();
    await running;
    cancel();
    stopped.abort(new Error('the controller stopped'));
  };
  return { enqueue: queue.add, enqueueAfter: queue.addAfter, wake, queue, drain: stop, [Symbol.asyncDispose]: () => stop(0) };
}

async function reconcileOnce(options: ControllerOptions, queue: WorkQueue, metrics: ReturnType<OperatorMetrics['controller']>, key: string, signal: AbortSignal): Promise<void> {
  const startedMs = options.clock.monotonicMs();
  const ended = (result: Parameters<typeof metrics.ended>[0]): void => metrics.ended(result, options.clock.monotonicMs() - startedMs);
  metrics.started();
  try {
    const answer = await options.reconcile(key, signal);
    queue.forget(key);
    const requeueAfterMs = answer?.requeueAfterMs;
    if (requeueAfterMs !== undefined) queue.addAfter(key, requeueAfterMs);
    ended(requeueAfterMs === undefined ? 'success' : 'requeue_after');
  } catch (error) {
    ended('error');
    if (signal.aborted) return;
    if (error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError) metrics.panic();
    if (error instanceof TerminalError) {
      metrics.terminalError();
      queue.forget(key);
      return options.log.error('reconcile failed for good', { controller: options.name, key, error });
    }
    // A conflict only says that the cache was behind.
    if (error instanceof KubeError && error.status === 409) options.log.debug('reconcile met a newer object', { controller: options.name, key, reason: error.reason });
    else options.log.error('reconcile failed', { controller: options.name, key, error });
    queue.addRateLimited(key, error instanceof KubeError ? error.retryAfterMs ?? 0 : 0);
  }
}
