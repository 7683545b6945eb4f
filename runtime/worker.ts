import { Worker, type WorkerOptions } from 'node:worker_threads';

/**
 * Starts a worker thread from a module that stands beside the caller, from sources and from compiled output alike.
 * The compiler rewrites import paths but not worker URLs, so the extension follows that of the caller's own file.
 *
 * @param callerUrl the caller's `import.meta.url`.
 * @param module relative path without extension, e.g. `./parser-thread`.
 */
export function startWorker(callerUrl: string, module: string, options: WorkerOptions): Worker {
  return new Worker(workerUrl(callerUrl, module), options);
}

/** The URL that `startWorker` starts: `.ts` beside a `.ts` caller, `.js` otherwise. */
export function workerUrl(callerUrl: string, module: string): URL {
  return new URL(`${module}${new URL(callerUrl).pathname.endsWith('.ts') ? '.ts' : '.js'}`, callerUrl);
}
