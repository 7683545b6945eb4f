import { type KubeClient, KubeError, type KubeRequest } from '../../runtime/kube/kube-client.ts';

/** A client whose answers a test gives; watches are opened and say nothing. */
export interface ScriptedClient extends KubeClient {
  readonly requests: KubeRequest[];
  /** Answers requests from now on; throw a KubeError to refuse. */
  answer(with_: (request: KubeRequest) => unknown): void;
}

/** Until told otherwise nothing answers. */
export function scriptedClient(): ScriptedClient {
  const requests: KubeRequest[] = [];
  let answer: (request: KubeRequest) => unknown = () => { throw unreachable(); };
  return {
    requests,
    answer: (next) => { answer = next; },
    request: async (request) => {
      requests.push(request);
      request.signal?.throwIfAborted();
      return answer(request);
    },
    async *stream({ signal }) {
      const { promise, reject } = Promise.withResolvers<never>();
      signal?.addEventListener('abort', () => reject(unreachable()), { once: true });
      yield await promise;
    },
    close: async () => undefined,
  };
}

/** As when the API server is away. */
export function unreachable(): KubeError {
  return new KubeError({ status: 0, reason: 'Unreachable', message: 'no answer' });
}

/** As when it answers with an error. */
export function refused(status: number, reason = 'Refused'): KubeError {
  return new KubeError({ status, reason, message: reason });
}
