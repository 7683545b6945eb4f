import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import type { AccessDecisionResource } from '../../contract/api/v1alpha1.gen.ts';
import { requestDigest } from '../../contract/request-digest.ts';
import { type CommandIo, GatewayError } from '../gateway-client.ts';
import type { Kubectl } from '../kubectl.ts';
import { type ClusterRequest, type ClusterUser, getRequest, whoAmI } from './requests.ts';
import { phaseOf, showClusterRequest } from './show-request.ts';

/** A decision that the user wants to make. */
export interface ClusterDecision {
  readonly decision: 'Approve' | 'Deny' | 'Revoke';
  readonly name: string;
  readonly comment: string;
  readonly json: boolean;
  /** Asked after the request was shown; false = nothing is decided. */
  readonly confirm: () => Promise<boolean>;
}

const countedWithinMs = 5_000;
const pollMs = 250;

/**
 * Shows a request of the cluster, builds the AccessDecision on exactly what was shown and creates it with the user's own credentials; then waits shortly for the operator to say whether it counts.
 *
 * @returns 0 decided, 1 made but not counted, 3 not confirmed.
 * @throws GatewayError when it cannot be made.
 */
export async function decideInCluster(kubectl: Kubectl, io: CommandIo, wanted: ClusterDecision): Promise<number> {
  const user = await whoAmI(kubectl);
  const request = await getRequest(kubectl, wanted.name);
  if (!wanted.json) io.stdout.write(`${showClusterRequest(request)}\n`);
  const decision = buildDecision(request, user, wanted, randomUUID().slice(0, 8));
  if (!(await wanted.confirm())) return 3;
  await kubectl.json(['create', '--filename', '-'], { input: decision });
  const after = await waitForCount(kubectl, request, decision.metadata.name);
  const entry = after.status?.decisions?.find((one) => one.name === decision.metadata.name);
  if (wanted.json) io.stdout.write(`${JSON.stringify(after, null, 2)}\n`);
  else if (entry === undefined) io.stdout.write(`${decision.metadata.name} is made; nobody has counted it yet. See: sallyport requests ${request.metadata.name} -n ${request.metadata.namespace}\n`);
  else io.stdout.write(`${request.metadata.name} is now ${phaseOf(after)} (${after.status?.approvals ?? ''})\n`);
  if (entry === undefined || entry.counted) return 0;
  throw new GatewayError(`DECISION_IGNORED`, `your decision does not count: ${entry.ignoredReason ?? 'unknown'}`, 'docs/approvals.md says what each reason means');
}

/**
 * The AccessDecision that repeats what was shown. Pure.
 *
 * @throws GatewayError for what could not count or would be refused: it says so before anything is sent.
 */
export function buildDecision(request: ClusterRequest, user: ClusterUser, wanted: Pick<ClusterDecision, 'decision' | 'comment'>, suffix: string): AccessDecisionResource {
  const { spec, metadata } = request;
  if (requestDigest(spec) !== spec.digest) throw new GatewayError('APPROVAL_DIGEST_MISMATCH', 'the request is not what its digest says: nobody can decide on it', 'tell whoever runs Sallyport');
  if (user.username === spec.requester.username || user.username === spec.requester.actor) throw new GatewayError('APPROVAL_SELF', 'you cannot decide on your own request', 'ask another member of the approving groups');
  const phase = phaseOf(request);
  const isOpen = wanted.decision === 'Revoke' ? phase === 'Approved' : phase === 'Pending';
  if (!isOpen) throw new GatewayError('APPROVAL_CLOSED', `the request is ${phase}`, wanted.decision !== 'Revoke' && phase === 'Approved' ? `end what it grants with: sallyport revoke ${metadata.name}` : 'nothing to do');
  const isAgain = wanted.decision === 'Approve' && request.status?.decisions?.some((one) => one.counted && one.decision === 'Approve' && one.by === user.username) === true;
  if (isAgain) throw new GatewayError('DECISION_IGNORED', 'you have approved this request already; a second approval of one person does not count: Duplicate', 'ask another member of the approving groups');
  const asGroups = spec.approvers.groups.filter((group) => user.groups.includes(group));
  if (asGroups.length === 0) throw new GatewayError('APPROVAL_NOT_APPROVER', `you are in none of the approving groups: ${spec.approvers.groups.join(', ')}`, 'kubectl auth whoami shows the groups that the cluster knows you by');
  return {
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: { name: `${metadata.name}-${wanted.decision.toLowerCase()}-${suffix}`, namespace: metadata.namespace },
    spec: {
      requestRef: { name: metadata.name, uid: metadata.uid }, policyRef: { name: spec.policyRef.name },
      requester: { username: spec.requester.username, ...(spec.requester.actor === undefined ? {} : { actor: spec.requester.actor }) },
      digest: spec.digest, decision: wanted.decision, by: user.username, asGroups, ...(wanted.comment === '' ? {} : { comment: wanted.comment }),
    },
  };
}

async function waitForCount(kubectl: Kubectl, request: ClusterRequest, decision: string): Promise<ClusterRequest> {
  const endMs = Date.now() + countedWithinMs;
  for (;;) {
    const now = await getRequest(kubectl, request.metadata.name);
    if (Date.now() >= endMs || now.status?.decisions?.some((one) => one.name === decision) === true) return now;
    await wait(pollMs);
  }
}
