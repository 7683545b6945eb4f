import type { ProxyConfigResource } from '../../../contract/api/v1alpha1.gen.ts';
import { type Condition, type ConditionReason, withTransitionTimes } from '../../../contract/conditions.ts';
import type { AdmissionFinding } from './compare.ts';
import type { IntegrityFacts } from './integrity.ts';
import type { ProbeOutcome } from './probe.ts';

type ConfigStatus = NonNullable<ProxyConfigResource['status']>;

/** What the last check found. */
export interface IntegrityState extends IntegrityFacts {
  readonly evidence: string | null;
  /** Unix ms of the check. */
  readonly checkedAtMs: number;
  /** About the policies that approvals do not depend on. */
  readonly others: { readonly holds: boolean; readonly reason: ConditionReason; readonly message: string };
}

/** What a check is judged by. */
export interface CheckFacts {
  readonly findings: readonly AdmissionFinding[];
  /** `admissionEvidence` of now. */
  readonly evidence: string | null;
  /** Null: not tried, because a policy is not as it must be. */
  readonly probe: ProbeOutcome | null;
  /** Since when that evidence is known to stand, from the last check or from a ProxyConfig; null when it is not. */
  readonly knownSinceMs: number | null;
  /** `newestAdmissionMs` of now. */
  readonly madeMs: number;
  readonly nowMs: number;
}

/** Clocks of the API server and of this process may differ by this much. */
const clockMarginMs = 2_000;

/** Judges a check. Pure. */
export function judgeIntegrity(facts: CheckFacts): IntegrityState {
  const { findings, evidence, probe, nowMs } = facts;
  const others = judgeOthers(findings.filter((finding) => !finding.guardsApprovals));
  const lost = (reason: ConditionReason, message: string, sinceMs: number | null): IntegrityState => ({ holds: false, reason, message, evidence, sinceMs, checkedAtMs: nowMs, others });
  const [worst] = findings.filter((finding) => finding.guardsApprovals);
  if (worst !== undefined) return lost(worst.reason, describe(findings.filter((finding) => finding.guardsApprovals)), null);
  if (probe?.outcome === 'accepted') return lost('ForgeryAccepted', `${probe.message}: admission does not enforce the approval policies`, null);
  // Nothing was proven, and nothing was disproven: if the policies still stand unchanged afterwards, they did all the time.
  if (probe === null || probe.outcome === 'unknown') return lost('ProbeFailed', probe?.message ?? 'the probe could not be made', facts.knownSinceMs);
  const sinceMs = Math.max(facts.madeMs, facts.knownSinceMs ?? Math.floor(nowMs / 1_000) * 1_000 + clockMarginMs);
  return { holds: true, reason: 'ApprovalIntegrity', message: 'the approval policies are in force', evidence, sinceMs, checkedAtMs: nowMs, others };
}

/** Since when the given evidence stands, as ProxyConfigs tell it: the latest of their times. Null when none knows it. */
export function storedSince(configs: readonly ProxyConfigResource[], evidence: string | null): number | null {
  const times = configs.flatMap(({ status }) => (evidence === null || status?.integrityEvidence !== evidence || status.integritySince === undefined ? [] : [Date.parse(status.integritySince)]));
  return times.length === 0 ? null : Math.max(...times);
}

/** The part of a ProxyConfig's status that tells of integrity, as it must be; null when it already is, or when nothing was checked yet. Pure. */
export function configStatus(stored: ConfigStatus | undefined, state: IntegrityState, everySeconds: number): Partial<ConfigStatus> | null {
  const wanted: Omit<Condition, 'lastTransitionTime'>[] = [
    { type: 'ApprovalIntegrity', status: state.holds ? 'True' : 'False', reason: state.reason, message: state.message },
    { type: 'AdmissionIntegrity', status: state.others.holds ? 'True' : 'False', reason: state.others.reason, message: state.others.message },
  ];
  const conditions = withTransitionTimes(stored?.conditions ?? [], wanted, rfc3339(state.checkedAtMs)).map((condition) => ({ ...condition }));
  const isSaid = conditions.every((condition) => {
    const said = stored?.conditions?.find((one) => one.type === condition.type);
    return said?.status === condition.status && said.reason === condition.reason && said.message === condition.message;
  });
  const since = state.sinceMs === null ? undefined : rfc3339(state.sinceMs);
  const checkedAt = state.holds ? rfc3339(state.checkedAtMs) : stored?.integrityCheckedAt;
  const isFresh = !state.holds || state.checkedAtMs - Date.parse(stored?.integrityCheckedAt ?? '1970-01-01T00:00:00Z') < everySeconds * 1_000;
  if (isSaid && isFresh && stored?.integritySince === since && stored?.integrityEvidence === (state.evidence ?? undefined)) return null;
  return {
    conditions,
    ...(checkedAt === undefined ? {} : { integrityCheckedAt: checkedAt }), ...(since === undefined ? {} : { integritySince: since }), ...(state.evidence === null ? {} : { integrityEvidence: state.evidence }),
  };
}

function judgeOthers(findings: readonly AdmissionFinding[]): IntegrityState['others'] {
  const [worst] = findings;
  if (worst === undefined) return { holds: true, reason: 'AdmissionIntegrity', message: 'the other admission policies are in place' };
  return { holds: false, reason: worst.reason, message: describe(findings) };
}

function describe(findings: readonly AdmissionFinding[]): string {
  const words = { PolicyMissing: 'is missing or not bound', PolicyChanged: 'is not what the operator expects', BindingChanged: 'has a binding that is not what the operator expects' } as const;
  return findings.map((finding) => `ValidatingAdmissionPolicy ${finding.name} ${words[finding.reason]}`).join('; ');
}

function rfc3339(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
}
