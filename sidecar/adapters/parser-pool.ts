import type { Worker } from 'node:worker_threads';
import { startWorker } from '../../runtime/worker.ts';
import type { ParseAnswer, ParseJob } from './parser-thread.ts';

/** Why a job has no answer: its deadline, the memory limit, a full queue or a closed pool. */
interface Timeout { readonly outcome: 'timeout' }

/** Parses long texts in one worker thread, one at a time, each with a deadline. */
export interface ParserPool<Answer extends ThreadAnswer = Exclude<ParseAnswer, { readonly outcome: 'ready' }>> extends AsyncDisposable {
  run(text: string): Promise<Answer | Timeout>;
}

/** What every parser thread answers: the id of the job and how it ended; first of all `ready` with id 0. */
export interface ThreadAnswer {
  readonly id: number;
  readonly outcome: string;
}

/** The module of a parser thread, beside this file, and the thread's name. */
export interface ParserThread {
  readonly module: string;
  readonly name: string;
}

const sqlThread: ParserThread = { module: './parser-thread', name: 'sql-parser' };

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
export function createParserPool<Answer extends ThreadAnswer = Exclude<ParseAnswer, { readonly outcome: 'ready' }>>(limits: ParserPoolLimits = defaultParserPoolLimits, threadModule: ParserThread = sqlThread): ParserPool<Answer> {
  let worker: Promise<Worker | null> | null = null;
  let closed = false;
  let lastId = 0;
  let turn: Promise<unknown> = Promise.resolve();
  let waiting = 0;

  const run = async (text: string): Promise<Answer | Timeout> => {
    if (closed || waiting >= limits.queued) return { outcome: 'timeout' };
    waiting += 1;
    const enqueuedAt = performance.now();
    const mine = turn.then(async (): Promise<Answer | Timeout> => {
      waiting -= 1;
      if (closed || performance.now() - enqueuedAt > limits.waitMs) return { outcome: 'timeout' };
      const thread = await (worker ??= start(limits, threadModule));
      if (thread === null) {
        worker = null;
        return { outcome: 'timeout' };
      }
      lastId += 1;
      const answer = await ask<Answer>(thread, { id: lastId, text }, limits.deadlineMs);
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
function start(limits: ParserPoolLimits, { module, name }: ParserThread): Promise<Worker | null> {
  const thread = startWorker(import.meta.url, module, { resourceLimits: { maxOldGenerationSizeMb: limits.heapMegabytes }, name, env: {}, argv: [], execArgv: [] });
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

function ask<Answer extends ThreadAnswer>(thread: Worker, job: ParseJob, deadlineMs: number): Promise<Answer | Timeout> {
  return new Promise((resolve) => {
    const finish = (answer: Answer | Timeout): void => {
      clearTimeout(timer);
      thread.off('message', onMessage);
      thread.off('exit', onExit);
      resolve(answer);
    };
    const onMessage = (answer: Answer): void => {
      // Ids count from 1; 0 is `ready`.
      if (answer.id === job.id) finish(answer);
    };
    const onExit = (): void => finish({ outcome: 'timeout' });
    const timer = setTimeout(() => finish({ outcome: 'timeout' }), deadlineMs);
    thread.on('message', onMessage);
    thread.on('exit', onExit);
    thread.postMessage(job);
  });
}
