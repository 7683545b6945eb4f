import { z } from 'zod';
import type { AccessRequestResource } from '../../contract/api/v1alpha1.gen.ts';
import { GatewayError } from '../gateway-client.ts';
import type { Kubectl } from '../kubectl.ts';

const text = z.string();
const statusSchema = z.looseObject({
  phase: z.enum(['Pending', 'Approved', 'Denied', 'Expired', 'Revoked', 'Withdrawn', 'Superseded']).optional(), approvals: text.optional(), decidedAt: text.optional(), expiresAt: text.optional(),
  use: z.looseObject({ state: z.enum(['Waiting', 'Used', 'Withdrawn']) }).optional(),
  decisions: z.array(z.looseObject({ name: text, by: text, decision: text, at: text.optional(), counted: z.boolean(), ignoredReason: text.optional() })).optional(),
  conditions: z.array(z.looseObject({ type: text, status: text, reason: text, message: text })).optional(),
});
/** What the commands read of an AccessRequest; the rest of the spec is kept, since the digest covers it. */
const requestSchema = z.looseObject({
  metadata: z.looseObject({ name: text, namespace: text, uid: text, creationTimestamp: text }),
  spec: z.looseObject({
    scope: z.enum(['Statement', 'Session', 'Window']), requester: z.looseObject({ username: text, actor: text.optional() }), policyRef: z.looseObject({ name: text, generation: z.number(), rule: text.optional() }),
    targetRef: z.looseObject({ name: text }), action: text, statement: text.optional(), parameters: z.array(text).optional(), facts: z.array(z.looseObject({ name: text, value: text })).optional(),
    digest: text, approvers: z.looseObject({ groups: z.array(text), required: z.number() }), reason: text.optional(), decideWithin: text, grantTTL: text.optional(),
  }),
  status: statusSchema.optional(),
});

/** An AccessRequest as the cluster gave it: every field that the commands use is there. */
export type ClusterRequest = AccessRequestResource & { readonly metadata: { readonly namespace: string; readonly uid: string; readonly creationTimestamp: string } };

/** Reads one request. @throws GatewayError APPROVAL_NOT_FOUND and others. */
export async function getRequest(kubectl: Kubectl, name: string): Promise<ClusterRequest> {
  return checked(requestSchema.safeParse(await kubectl.json(['get', 'accessrequests.sallyport.dev'], { operands: [name] }))) as unknown as ClusterRequest;
}

/** Lists requests, newest first. */
export async function listClusterRequests(kubectl: Kubectl, options: { readonly allNamespaces: boolean }): Promise<readonly ClusterRequest[]> {
  const listed = checked(z.looseObject({ items: z.array(requestSchema) }).safeParse(await kubectl.json(['get', 'accessrequests.sallyport.dev', ...(options.allNamespaces ? ['--all-namespaces'] : [])])));
  const newestFirst = [...listed.items].sort((a, b) => (a.metadata.creationTimestamp < b.metadata.creationTimestamp ? 1 : a.metadata.creationTimestamp > b.metadata.creationTimestamp ? -1 : a.metadata.name < b.metadata.name ? -1 : 1));
  return newestFirst as unknown as readonly ClusterRequest[];
}

/** The user as the API server knows them. */
export interface ClusterUser {
  readonly username: string;
  readonly groups: readonly string[];
}

/** Asks the API server who the user is; a login plugin may talk to the user meanwhile. */
export async function whoAmI(kubectl: Kubectl): Promise<ClusterUser> {
  const answer = z.looseObject({ status: z.looseObject({ userInfo: z.looseObject({ username: text, groups: z.array(text).optional() }) }) });
  const { userInfo } = checked(answer.safeParse(await kubectl.json(['auth', 'whoami'], { mayPrompt: true }))).status;
  return { username: userInfo.username, groups: userInfo.groups ?? [] };
}

function checked<T>(result: z.ZodSafeParseResult<T>): T {
  if (result.success) return result.data;
  throw new GatewayError('CLUSTER_ANSWER_INVALID', 'the cluster\'s answer is not what this version reads', 'check that Sallyport is installed in this cluster, and that both have the same version');
}
