import { type KubeClient, KubeError, type KubeRequest } from '../../runtime/kube/kube-client.ts';
import type { Election } from './lease.ts';

/**
 * A client that writes only while we lead: each write is checked right before it is sent, and given up when the leadership that allowed it would end.
 * Reads pass. Dry runs are checked too.
 *
 * @throws KubeError reason `NotLeader`, status 0, from `request`.
 */
export function writesOnlyAsLeader(client: KubeClient, election: Pick<Election, 'isLeader' | 'remainingMs'>): KubeClient {
  const check = (): void => {
    if (!election.isLeader()) throw new KubeError({ status: 0, reason: 'NotLeader', message: 'this replica does not lead' });
  };
  const guarded = (request: KubeRequest): KubeRequest => ({
    ...request, timeoutMs: Math.min(request.timeoutMs ?? 15_000, election.remainingMs()),
    beforeSend() {
      request.beforeSend?.();
      check();
    },
  });
  return {
    async request(request) {
      if (request.method === 'GET') return client.request(request);
      check();
      return client.request(guarded(request));
    },
    stream: (request) => client.stream(request),
    close: () => client.close(),
  };
}
