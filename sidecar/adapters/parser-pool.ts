import type { Worker } from 'node:worker_threads';
import { startWorker } from '../../runtime/worker.ts';
import type { ParseAnswer, ParseJob } from './parser-thread.ts';

/** A finished job, or why there is none: `timeout` covers the deadline, the memory limit, a full queue and a closed pool. */
export type PoolAnswer = Exclude<ParseAnswer, { readonly outcome: 'ready' }> | { readonly outcome: 'timeout' };

/** Parses long texts in one worker thread, one at a time, each with a deadline. */
export interface ParserPool extends AsyncDisposable {
  run(text: string): Promise<PoolAnswer>;
}

/** Limits of the pool; defaults are those of the product. */
export interface ParserPoolLimits {
  /** One parse, ms, from when the thread takes it. The thread is ended when it passes. */
  readonly deadlineMs: number;
  /** Jobs that may wait; one more is answered `timeout` at once. */
  readonly queued: number;
  /** How long a job may wait for its turn, ms. */
  readonly waitMs: number;
  /** JavaScript heap of the thread, MiB. */
  readonly heapMegabytes: number;
}

export const defaultParserPoolLimits: ParserPoolLimits = { deadlineMs: 2_000, queued: 64, waitMs: 10_000, heapMegabytes: 512 };

/** Starts the pool; the thread itself starts with the first job and is replaced whenever it had to be ended. */
export function createParserPool(limits: ParserPoolLimits = defaultParserPoolLimits): ParserPool {
  let worker: Promise<Worker | null> | null = null;
  let closed = false;
  let lastId = 0;
  let turn: Promise<unknown> = Promise.resolve();
  let waiting = 0;

  const run = async (text: string): Promise<PoolAnswer> => {
    if (closed || waiting >= limits.queued) return { outcome: 'timeout' };
    waiting += 1;
    const enqueuedAt = performance.now();
    const mine = turn.then(async (): Promise<PoolAnswer> => {
      waiting -= 1;
      if (closed || performance.now() - enqueuedAt > limits.waitMs) return { outcome: 'timeout' };
      const thread = await (worker ??= start(limits));
      if (thread === null) {
        worker = null;
        return { outcome: 'timeout' };
      }
      lastId += 1;
      const answer = await ask(thread, { id: lastId, text }, limits.deadlineMs);
      if (answer.outcome === 'timeout') {
        worker = null;
        await thread.terminate();
      }
      return answer;
    });
    turn = mine;
    return mine;
  };

  return {
    run,
    async [Symbol.asyncDispose]() {
      closed = true;
      const thread = await worker;
      worker = null;
      await thread?.terminate();
    },
  };
}

/** Null when the thread does not come up within its deadline. */
function start(limits: ParserPoolLimits): Promise<Worker | null> {
  const thread = startWorker(import.meta.url, './parser-thread', { resourceLimits: { maxOldGenerationSizeMb: limits.heapMegabytes }, name: 'sql-parser', env: {}, argv: [], execArgv: [] });
  thread.unref();
  return new Promise((resolve) => {
    const finish = (result: Worker | null): void => {
      clearTimeout(timer);
      thread.off('message', onReady);
      if (result === null) void thread.terminate();
      resolve(result);
    };
    const onReady = (): void => finish(thread);
    const timer = setTimeout(() => finish(null), limits.waitMs);
    // Stays for the thread's life: an error without a listener would end the process.
    thread.on('error', () => finish(null));
    thread.on('message', onReady);
  });
}

function ask(thread: Worker, job: ParseJob, deadlineMs: number): Promise<PoolAnswer> {
  return new Promise((resolve) => {
    const finish = (answer: PoolAnswer): void => {
      clearTimeout(timer);
      thread.off('message', onMessage);
      thread.off('exit', onExit);
      resolve(answer);
    };
    const onMessage = (answer: ParseAnswer): void => {
      if (answer.outcome !== 'ready' && answer.id === job.id) finish(answer);
    };
    const onExit = (): void => finish({ outcome: 'timeout' });
    const timer = setTimeout(() => finish({ outcome: 'timeout' }), deadlineMs);
    thread.on('message', onMessage);
    thread.on('exit', onExit);
    thread.postMessage(job);
  });
}
