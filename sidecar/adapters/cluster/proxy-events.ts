import type { AccessRequestResource } from '../../../contract/api/v1alpha1.gen.ts';
import { apiVersion } from '../../../contract/names.ts';
import type { RuntimeClock } from '../../../runtime/clock.ts';
import { type EventFacts, type EventSubject, startEventRecorder } from '../../../runtime/kube/events.ts';
import { type KubeClient, KubeError } from '../../../runtime/kube/kube-client.ts';
import type { Logger } from '../../core/ports.ts';
import type { RequestChange } from './access-requests.ts';

/** Events about requests and sessions. */
export interface ProxyEvents extends AsyncDisposable {
  readonly request: (request: AccessRequestResource, what: RequestChange) => void;
  readonly session: (object: { readonly name: string; readonly uid: string | null }, what: 'Terminated' | 'EndedByForce', by: string) => void;
}

/** Events of a proxy, written in the background: changes of state that it made; what was decided is the operator's to tell. Never a statement, never one per command. */
export function proxyEvents(options: { readonly client: KubeClient; readonly namespace: string; readonly pod: string; readonly clock: RuntimeClock; readonly log: Logger }): ProxyEvents {
  const { client, namespace, pod, clock, log } = options;
  const recorder = startEventRecorder({
    client, clock, controller: 'sallyport.dev/proxy', instance: pod,
    onError: (error) => log.debug('event not written', error instanceof KubeError ? { status: error.status, reason: error.reason } : { error: error instanceof Error ? error.message : 'unknown' }),
  });
  const subject = (kind: string, name: string, uid: string | null | undefined): EventSubject => ({ apiVersion, kind, namespace, name, ...(uid == null ? {} : { uid }) });
  return {
    request: (request, what) => recorder.record(requestEvent(request, what, subject('AccessRequest', request.metadata.name, request.metadata.uid))),
    session: (object, what, by) => recorder.record({
      regarding: subject('AccessSession', object.name, object.uid), type: 'Warning', reason: what === 'Terminated' ? 'SessionTerminated' : 'SessionRevoked', action: 'EndSession',
      note: what === 'Terminated' ? `ended by ${by}` : `ended by the gateway: ${by}`,
    }),
    [Symbol.asyncDispose]: async () => await recorder[Symbol.asyncDispose](),
  };
}

function requestEvent({ spec }: AccessRequestResource, what: RequestChange, regarding: EventSubject): EventFacts {
  const rule = spec.policyRef.rule === undefined ? `policy ${spec.policyRef.name}` : `policy ${spec.policyRef.name}, rule ${spec.policyRef.rule}`;
  switch (what) {
    case 'Requested':
      return { regarding, type: 'Normal', reason: 'ApprovalRequested', action: 'Request', note: `${spec.requester.username} asks for ${spec.scope.toLowerCase()} on ${spec.targetRef.name} (${rule})` };
    case 'Used':
      return { regarding, type: 'Normal', reason: 'ApprovalUsed', action: 'Use', note: `used for ${spec.requester.username} on ${spec.targetRef.name}` };
    case 'Withdrawn':
      return { regarding, type: 'Normal', reason: 'RequestWithdrawn', action: 'Withdraw', note: 'nobody waits for it any more' };
    default:
      throw what satisfies never;
  }
}
