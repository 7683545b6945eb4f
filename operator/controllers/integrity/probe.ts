import type { AccessDecisionResource } from '../../../contract/api/v1alpha1.gen.ts';
import { type KubeClient, KubeError, type KubeKind, type KubeObject } from '../../../runtime/kube/kube-client.ts';
import { createObject } from '../../../runtime/kube/verbs.ts';
import { kinds } from '../../kube/kinds.ts';

/** How the API server answered the two forged decisions. */
export type ProbeOutcome =
  | { readonly outcome: 'refused' }
  /** A forged decision would have been stored. */
  | { readonly outcome: 'accepted'; readonly message: string }
  /** Something else happened: it proves nothing. */
  | { readonly outcome: 'unknown'; readonly message: string };

const policy = 'accessdecision-integrity.sallyport.dev';
/** The decisions name things that do not exist; the schema accepts them, so admission is asked. */
const nobody = { requestRef: { name: 'sallyport-integrity-probe', uid: '00000000-0000-0000-0000-000000000000' }, policyRef: { name: 'sallyport-integrity-probe' }, requester: { username: 'probe-requester' }, digest: `sha256:${'0'.repeat(64)}`, decision: 'Approve' } as const;

/**
 * Tries to forge a decision in somebody else's name, and to decide as a service account, both as dry runs in the operator's namespace. Only refusals by the admission policy, naming the rule,
 * count: one by RBAC or by the schema says nothing about admission.
 *
 * @param ownName this process's username at the API server.
 */
export async function probeForgery(client: KubeClient, namespace: string, ownName: string, signal: AbortSignal): Promise<ProbeOutcome> {
  const attempts = [{ by: 'probe-someone-else', rule: 'by-is-caller' }, { by: ownName, rule: 'humans-only' }];
  for (const { by, rule } of attempts) {
    const outcome = await attempt(client, namespace, by, rule, signal);
    if (outcome.outcome !== 'refused') return outcome;
  }
  return { outcome: 'refused' };
}

/** This process's username, as the API server knows it. @throws KubeError */
export async function whoAmI(client: KubeClient, signal: AbortSignal): Promise<string> {
  const answer = await createObject<KubeObject>(client, selfSubjectReview, null, { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview', metadata: { name: '' } }, { signal });
  const { userInfo } = (answer.status ?? {}) as { readonly userInfo?: { readonly username?: string } };
  return userInfo?.username ?? '';
}

const selfSubjectReview: KubeKind = { group: 'authentication.k8s.io', version: 'v1', plural: 'selfsubjectreviews', kind: 'SelfSubjectReview', namespaced: false };

async function attempt(client: KubeClient, namespace: string, by: string, rule: string, signal: AbortSignal): Promise<ProbeOutcome> {
  const forged: AccessDecisionResource = { apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessDecision', metadata: { name: 'sallyport-integrity-probe', namespace }, spec: { ...nobody, by } };
  try {
    await createObject(client, kinds.accessDecision, namespace, forged, { dryRun: true, signal });
    return { outcome: 'accepted', message: `a decision by ${by} was accepted` };
  } catch (error) {
    if (!(error instanceof KubeError) || signal.aborted) throw error;
    const isAdmission = (error.status === 403 || error.status === 422) && error.message.includes(`ValidatingAdmissionPolicy '${policy}'`) && error.message.includes(` ${rule}: `);
    return isAdmission ? { outcome: 'refused' } : { outcome: 'unknown', message: `the refusal does not name ${rule}: ${error.status} ${error.message.slice(0, 300)}` };
  }
}
