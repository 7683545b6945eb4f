import { type Identity, subjectKey } from '../identity/identity.ts';
import type { Grant } from './decision.ts';

/**
 * Whether a grant of this subject and target may serve a session (security.md A1): a Session grant only the session that it was given to, one that was asked for a database only
 * a session on that, and any grant only a session with the same agents, in the same order, as the one that asked.
 *
 * @param session also while it is being opened.
 */
export function grantServes(grant: Grant, identity: Identity, session: { readonly id: string; readonly database: string }): boolean {
  if (grant.subject !== subjectKey(identity)) return false;
  if (grant.database !== undefined && grant.database !== session.database) return false;
  if (grant.scope === 'Session' && grant.sessionId !== session.id) return false;
  const agents = identity.actors.map(subjectKey);
  const granted = grant.actorKeys ?? [];
  return agents.length === granted.length && agents.every((key, index) => granted[index] === key);
}
