/** Condition types of all kinds (docs/operator.md explains each). */
export type ConditionType =
  | 'Accepted' | 'ResolvedRefs' | 'Programmed' | 'Ready' | 'BypassBlocked' | 'Reachable' | 'Available' | 'ApprovalIntegrity' | 'AdmissionIntegrity' | 'Decided' | 'Stalled' | 'Reconciling';

/** The closed list of reasons; each condition's positive reason is its own type's name. */
export type ConditionReason =
  | ConditionType
  | 'NameConflict' | 'Invalid' | 'InvalidExpression' | 'UnsupportedValue' | 'ConfigTooLarge' | 'Withheld'
  | 'SecretNotFound' | 'InvalidSecret' | 'RefNotPermitted' | 'TargetNotFound' | 'NoMatchingTarget'
  | 'Pending' | 'Partial' | 'Rejected' | 'ProxyUnavailable' | 'Stale' | 'SpoolNotPersistent'
  | 'NotExpressible' | 'NotRequested'
  | 'PrefixConflict' | 'DiscoveryFailed' | 'IssuerMismatch' | 'NoUsableKey'
  | 'HostKeyMissing' | 'PolicyMissing' | 'PolicyChanged' | 'BindingChanged' | 'ForgeryAccepted' | 'ProbeFailed'
  | 'Denied' | 'Expired' | 'Revoked' | 'Withdrawn' | 'HolderGone' | 'Superseded' | 'InvalidDigest' | 'TooManyPending';

/** One condition of a resource's status, as Kubernetes defines it. */
export interface Condition {
  readonly type: ConditionType;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: ConditionReason;
  /** For people; at most 4,096 characters. */
  readonly message: string;
  readonly observedGeneration?: number;
  /** RFC 3339, whole seconds; moves only when `status` changes. */
  readonly lastTransitionTime: string;
}

/**
 * The conditions to write: those wanted, each with the time at which its status last changed.
 *
 * @param before the conditions in the stored status. Types that `wanted` leaves out are dropped.
 * @param now RFC 3339, whole seconds.
 */
export function withTransitionTimes(before: readonly { readonly type: string; readonly status: string; readonly lastTransitionTime: string }[], wanted: readonly Omit<Condition, 'lastTransitionTime'>[], now: string): readonly Condition[] {
  return wanted.map((condition) => {
    const old = before.find((candidate) => candidate.type === condition.type);
    return { ...condition, message: condition.message.slice(0, 4_096), lastTransitionTime: old?.status === condition.status ? old.lastTransitionTime : now };
  });
}
