import type { AccessRequestResource } from '../../../contract/api/v1alpha1.gen.ts';
import { type KubeClient, KubeError } from '../../../runtime/kube/kube-client.ts';
import { getObject, replaceObject } from '../../../runtime/kube/verbs.ts';
import { accessRequestKind } from './kinds.ts';

/** How a request is in use. */
export type RequestUse = NonNullable<NonNullable<AccessRequestResource['status']>['use']>;

/** What became of the wish to write `status.use`. `stored` is the object as the API server has it now. */
export type UseOutcome =
  | { readonly outcome: 'written'; readonly stored: AccessRequestResource }
  /** `mayWrite` said no to the object as it is. */
  | { readonly outcome: 'refused' }
  /** No certain answer: it may or may not be written, and nothing may rest on it. */
  | { readonly outcome: 'unknown'; readonly error: unknown };

/** The operator writes the status too; more conflicts than this are somebody's fault. */
const attempts = 6;

/**
 * Writes `status.use` with the resourceVersion of the very object that `mayWrite` saw: of all replicas that want it, one gets it. After a conflict the object is read and judged anew.
 *
 * @param known what is judged first; may be out of date, which costs one conflict.
 */
export async function writeUse(client: KubeClient, known: AccessRequestResource, use: RequestUse, mayWrite: (request: AccessRequestResource) => boolean): Promise<UseOutcome> {
  let request: AccessRequestResource | null = known;
  for (let attempt = 0; attempt < attempts; attempt++) {
    try {
      if (request === null || request.metadata.uid !== known.metadata.uid || !mayWrite(request)) return { outcome: 'refused' };
      // The whole status goes back as it was read: a field left out would be a change, and a proxy may change `use` only.
      return { outcome: 'written', stored: await replaceObject(client, accessRequestKind, { ...request, status: { ...request.status, use } }, { subresource: 'status' }) };
    } catch (error) {
      if (!(error instanceof KubeError && error.status === 409)) return { outcome: 'unknown', error };
    }
    try {
      request = await getObject<AccessRequestResource>(client, accessRequestKind, known.metadata.namespace ?? null, known.metadata.name);
    } catch (error) {
      return { outcome: 'unknown', error };
    }
  }
  return { outcome: 'unknown', error: new Error('too many conflicts') };
}
