import type { ConfigState } from './config-holder.ts';

/** A Target that this pod cannot serve, and why. */
export interface FailedTarget {
  readonly name: string;
  readonly reason: 'PORT_NOT_OPEN' | 'InvalidSecret' | 'SecretNotFound';
}

/** An entry of `status.proxies`. */
export interface AckEntry {
  readonly pod: string;
  readonly podUID: string;
  readonly revision: number;
  readonly hash: string;
  readonly state: 'Applied' | 'Rejected' | 'Draining';
  readonly reason?: string;
  readonly message?: string;
  readonly appliedAt?: string;
  readonly failedTargets?: readonly FailedTarget[];
}

/** What an acknowledgement is made of. */
export interface AckFacts {
  readonly pod: string;
  readonly podUid: string;
  readonly state: ConfigState;
  readonly draining: boolean;
  readonly failedTargets: readonly FailedTarget[];
}

const maxFailed = 64;
const maxMessage = 1_024;

/**
 * What this pod says about its config. Pure; the same facts give the same entry.
 *
 * A config that went back is answered with the revision in force, so that the operator can continue above it; any other refusal names the refused one.
 * @returns null before there is anything to say.
 */
export function ackEntry({ pod, podUid, state, draining, failedTargets }: AckFacts): AckEntry | null {
  const { inForce, rejected } = state;
  const own = { pod, podUID: podUid };
  // One entry for each Target: the list is keyed by name.
  const failed = [...new Map([...failedTargets].reverse().map((target) => [target.name, target])).values()].sort((a, b) => (a.name < b.name ? -1 : 1)).slice(0, maxFailed);
  const applied = inForce === null ? {} : { appliedAt: `${new Date(state.appliedAtMs).toISOString().slice(0, 19)}Z`, ...(failed.length === 0 ? {} : { failedTargets: failed }) };
  if (rejected !== null && !draining) {
    const named = rejected.reason === 'RevisionGoesBack' && inForce !== null ? inForce : rejected;
    return { ...own, revision: named.revision, hash: named.hash, state: 'Rejected', reason: rejected.reason, message: rejected.message.slice(0, maxMessage), ...applied };
  }
  if (inForce === null) return null;
  return { ...own, revision: inForce.revision, hash: inForce.hash, state: draining ? 'Draining' : 'Applied', ...applied };
}
