import type { Policy, Target } from '../../../contract/proxy-config.ts';
import { type Identity, subjectKey } from '../identity/identity.ts';
import type { Grant } from './decision.ts';

/** For whom and where a grant is looked for. */
export interface GrantHolder {
  readonly identity: Identity;
  readonly target: Target;
  readonly nowMs: number;
}

/**
 * Whether a grant is in force for this very policy generation, this target, and this person with the same agents (A1): an approval for a person is not
 * one for an agent that acts for them, and not the other way round.
 */
export function isGrantOf(grant: Grant, policy: Policy, rule: string | null, holder: GrantHolder): boolean {
  return grant.policyUid === policy.uid && grant.policyGeneration === policy.generation && grant.rule === rule
    && grant.target === holder.target.name && grant.expiresAtMs > holder.nowMs
    && grant.subject === subjectKey(holder.identity)
    && JSON.stringify(grant.actorKeys ?? []) === JSON.stringify(holder.identity.actors.map(subjectKey));
}
