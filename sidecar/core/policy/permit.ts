import type { MaskingRule, Policy, Target } from '../../../contract/proxy-config.ts';
import type { Identity } from '../identity/identity.ts';
import type { SessionLimits } from './decision.ts';

const brand: unique symbol = Symbol('permit');

/**
 * The proof that a session was authorized. Dialing a target takes one; only `authorize.ts` makes one (a type test and the linter hold that).
 */
export interface Permit {
  readonly [brand]: true;
  readonly identity: Identity;
  readonly target: Target;
  readonly namespace: string;
  readonly database: string;
  /** Every policy that matched identity, target and time and whose access is open; rules of all of them are combined. */
  readonly policies: readonly Policy[];
  readonly limits: SessionLimits;
  readonly masking: readonly MaskingRule[];
  readonly recording: { readonly content: 'Full' | 'Metadata'; readonly durability: 'Write' | 'Fsync' };
  /** Wall clock, ms: token end, schedule end or access grant end, whichever comes first. `sessionSeconds` is added by the session. */
  readonly notAfterMs: number;
  readonly notAfterReason: 'TokenExpired' | 'ScheduleEnded' | 'GrantEnded';
  /** OnRequest policies that match but that no grant has opened: their Deny and RequireApproval rules, masking and limits count, their Allow rules never. */
  readonly restrictions?: readonly Policy[];
  /** By policy name: until when (ms) the rules of that open policy permit anything. A policy that is not named has no end of its own. */
  readonly openUntilMs?: Readonly<Record<string, number>>;
  /** When (ms) a time window of some policy on this target opens or closes, or a grant ends: `authorize` must then run again. Null: never. */
  readonly reauthorizeAtMs?: number | null;
}

/** For `authorize.ts` only. */
export function sealPermit(permit: Omit<Permit, typeof brand>): Permit {
  return Object.freeze({ ...permit, [brand]: true as const });
}
