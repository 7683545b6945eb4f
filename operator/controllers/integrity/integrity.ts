import type { ConditionReason } from '../../../contract/conditions.ts';

/** What is known of the admission policies at this moment. */
export interface IntegrityFacts {
  readonly holds: boolean;
  /** Since when they stand unchanged; null while they do not hold. */
  readonly sinceMs: number | null;
  readonly reason: ConditionReason;
  readonly message: string;
}

/** Whether approvals can be trusted, for those who count them. */
export interface Integrity {
  facts(): IntegrityFacts;
  /** Told when `holds` or `sinceMs` changed. */
  subscribe(listener: () => void): void;
}
