import { withTransitionTimes } from '../../contract/conditions.ts';
import type { Condition } from '../../contract/conditions.ts';

/** A condition before it has its time and generation. */
export type Wanted = Omit<Condition, 'lastTransitionTime' | 'observedGeneration'>;

/** What conditions are computed against. */
export interface Conditioned {
  readonly metadata: { readonly generation?: number };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string; readonly lastTransitionTime: string }[] } | undefined;
}

/**
 * The conditions of a kind: those that it needs to be ready, Ready itself (the first one that fails says why not), others, and Stalled while nothing but an edit helps.
 *
 * @param readyMessage of Ready while it is True.
 */
export function conditionsOf(object: Conditioned, nowMs: number, needed: readonly Wanted[], others: readonly Wanted[], readyMessage: string): Condition[] {
  const failing = needed.find((condition) => condition.status !== 'True');
  const ready: Wanted = failing === undefined
    ? { type: 'Ready', status: 'True', reason: 'Ready', message: readyMessage }
    : { type: 'Ready', status: failing.status, reason: failing.reason, message: failing.message };
  const refused = needed.find((condition) => condition.type === 'Accepted' && condition.status === 'False');
  const stalled: readonly Wanted[] = refused === undefined ? [] : [{ type: 'Stalled', status: 'True', reason: refused.reason, message: refused.message }];
  const wanted = [...needed, ready, ...others, ...stalled].map((condition) => ({ ...condition, observedGeneration: object.metadata.generation ?? 0 }));
  return [...withTransitionTimes(object.status?.conditions ?? [], wanted, timestamp(nowMs))];
}

/** Whole seconds, as conditions bear them. */
export function timestamp(nowMs: number): string {
  return `${new Date(nowMs).toISOString().slice(0, 19)}Z`;
}
