import { isSameParty } from '../../../contract/access-request-status.ts';
import { type Denial, deny } from '../errors.ts';
import { type Identity, subjectKey } from '../identity/identity.ts';

/**
 * Whether an identity may decide on a request (D5): never the requester, the agent that asked for them, the human behind that agent, or anybody acting through one of them;
 * otherwise a person in one of the approving groups. There is no exemption for any role.
 *
 * @param groups approving groups of the rule, as policies name them (prefixed).
 * @returns null when they may, else APPROVAL_SELF or APPROVAL_NOT_APPROVER.
 */
export function mayDecide(requester: { readonly key: string; readonly actorKeys: readonly string[] }, approver: Identity, groups: readonly string[]): Denial | null {
  if (isSameParty(requester, { key: subjectKey(approver), actorKeys: approver.actors.map(subjectKey) })) return deny('APPROVAL_SELF');
  if (approver.serviceAccount !== null || approver.actors.length > 0) {
    return deny('APPROVAL_NOT_APPROVER', { message: 'only a person decides, not a workload or an agent', hint: 'decide with your own token' });
  }
  return approver.groups.some((group) => groups.includes(group)) ? null : deny('APPROVAL_NOT_APPROVER');
}
