import type { Policy, Target } from '../../../contract/proxy-config.ts';
import type { Identity } from '../identity/identity.ts';
import { matchSubjects } from '../identity/match-subject.ts';
import type { Grant } from './decision.ts';
import { isGrantOf } from './grants.ts';
import { closesAt, isOpen } from './schedule.ts';

/** What one policy says about one identity, target and moment. `why` is a sentence for people. */
export type PolicyVerdict =
  | { readonly outcome: 'open'; readonly policy: Policy; readonly why: string; /** Null: no end of its own. */ readonly untilMs: number | null; readonly endsBy: 'ScheduleEnded' | 'GrantEnded' }
  /** Matches, but opening needs an approval that does not exist. */
  | { readonly outcome: 'on-request'; readonly policy: Policy; readonly why: string }
  | { readonly outcome: 'not-matched'; readonly policy: Policy; readonly why: string }
  | { readonly outcome: 'failed'; readonly policy: Policy; readonly why: string };

/** Whom, what and when a policy is asked about. */
export interface PolicyQuestion {
  readonly identity: Identity;
  readonly target: Target;
  readonly nowMs: number;
  readonly grants: readonly Grant[];
}

/** Matches one policy by itself: target, time windows, subjects, and whether its access is open. No other policy plays a part. */
export function matchPolicy(policy: Policy, question: PolicyQuestion): PolicyVerdict {
  if (!policy.targets.includes(question.target.name)) return { outcome: 'not-matched', policy, why: 'does not select this target' };
  const window = readWindow(policy, question.nowMs);
  if (window === 'failed') return { outcome: 'failed', policy, why: 'a time zone of its windows is unknown' };
  if (window === 'closed') return { outcome: 'not-matched', policy, why: 'is outside its time windows' };

  const subject = matchSubjects(policy.subjects, question.identity);
  if (subject.outcome === 'failed') return { outcome: 'failed', policy, why: `a Claims expression failed: ${subject.problem}` };
  if (subject.outcome === 'not-matched') return { outcome: 'not-matched', policy, why: 'names none of your user, groups and claims' };
  if (policy.access.mode === 'Standing') return { outcome: 'open', policy, why: `matches by ${subject.subject}`, untilMs: window.untilMs, endsBy: 'ScheduleEnded' };

  const grantEnd = latestGrantEnd(policy, question);
  if (grantEnd === null) return { outcome: 'on-request', policy, why: `matches by ${subject.subject}, but needs an approval` };
  const scheduleFirst = window.untilMs !== null && window.untilMs <= grantEnd;
  return { outcome: 'open', policy, why: `matches by ${subject.subject} and is opened by an approval`, untilMs: scheduleFirst ? window.untilMs : grantEnd, endsBy: scheduleFirst ? 'ScheduleEnded' : 'GrantEnded' };
}

function readWindow(policy: Policy, nowMs: number): { readonly untilMs: number | null } | 'closed' | 'failed' {
  try {
    return isOpen(policy.when, nowMs) ? { untilMs: closesAt(policy.when, nowMs) } : 'closed';
  } catch {
    // An unknown zone is a fault of the policy: its Deny rules must not lapse (P10).
    return 'failed';
  }
}

/** Of several grants the longest counts: each was approved by itself. */
function latestGrantEnd(policy: Policy, question: PolicyQuestion): number | null {
  const ends = question.grants.filter((grant) => isGrantOf(grant, policy, null, question)).map((grant) => grant.expiresAtMs);
  return ends.length === 0 ? null : Math.max(...ends);
}
