import { type KubeClient, KubeError, type KubeRequest } from '../../runtime/kube/kube-client.ts';

/** A client whose process dies at one call. */
export interface CrashingClient extends KubeClient {
  /** Resolves when it died; then every call hangs until its signal aborts, as in a process that is gone. */
  readonly crashed: Promise<void>;
  /** Calls so far, the deadly one included. */
  readonly count: () => number;
}

/**
 * Dies at the `at`-th request (1 = the first; watches do not count). `when`: before the API server sees it, or after it acted and before the answer arrives.
 * A test runs this for at = 1, 2, … until a run ends without dying, each time with a new operator on the same fake server afterwards, and compares `finalState()`.
 */
export function crashAtCall(client: KubeClient, at: number, when: 'before' | 'after'): CrashingClient {
  const crashed = Promise.withResolvers<void>();
  let count = 0;
  let isDead = false;
  const die = (request: Pick<KubeRequest, 'signal'>): Promise<never> => {
    isDead = true;
    crashed.resolve();
    return new Promise((_resolve, reject) => {
      const abort = (): void => reject(new KubeError({ status: 0, reason: 'Aborted', message: 'the process is gone' }));
      if (request.signal?.aborted === true) abort();
      else request.signal?.addEventListener('abort', abort, { once: true });
    });
  };
  return {
    crashed: crashed.promise, count: () => count,
    async request(request) {
      if (isDead) return die(request);
      count++;
      if (count !== at) {
        const answer = await client.request(request);
        return isDead ? die(request) : answer;
      }
      if (when === 'after') await client.request(request).catch(() => {});
      return die(request);
    },
    async *stream(request) {
      if (isDead) await die(request);
      for await (const line of client.stream(request)) {
        if (isDead) await die(request);
        yield line;
      }
    },
    close: () => client.close(),
  };
}
