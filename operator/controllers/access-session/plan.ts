import type { AccessSessionResource } from '../../../contract/api/v1alpha1.gen.ts';

type Status = NonNullable<AccessSessionResource['status']>;

/** What the operator caches of a session: its metadata, and where field selectors of custom resources are not served also whether it is over. */
export interface KeptSession {
  readonly metadata: AccessSessionResource['metadata'];
  readonly status?: Pick<Status, 'phase' | 'endedAt'>;
}

/** Whether a session has ended in any way. */
export function isOver(session: { readonly status?: Pick<Status, 'phase'> }): boolean {
  const phase = session.status?.phase;
  return phase === 'Ended' || phase === 'Terminated' || phase === 'Lost';
}

/** The status of a session whose proxy is gone: nobody else will ever close it. Pure. */
export function lostStatus(session: AccessSessionResource, nowMs: number): Partial<Status> {
  return { observedGeneration: session.metadata.generation ?? 1, phase: 'Lost', endReason: 'PodGone', endedAt: rfc3339(nowMs) };
}

/** When the retention of a finished session ends; a session whose end is unknown is kept for the whole time from its creation. Pure. */
export function expiresAtMs(session: KeptSession, hours: number): number {
  const times = [session.metadata.creationTimestamp, session.status?.endedAt].map((text) => Date.parse(text ?? '')).filter((ms) => !Number.isNaN(ms));
  return Math.max(0, ...times) + hours * 3_600_000;
}

function rfc3339(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
}
