import { type OperatorSettings, retentionLimits } from '../../../contract/operator-settings.ts';
import type { FinishedObject } from '../retention.ts';
import type { KeptRequest } from './kept-request.ts';
import { isFinished } from './plan.ts';

const hourMs = 3_600_000;

/** The finished ones among the requests, with their time and age limit: large ones go after a day. Pure. */
export function finishedRequests(requests: readonly KeptRequest[], settings: OperatorSettings['retention']): readonly FinishedObject[] {
  return requests.filter(isFinished).map((request) => {
    const namespace = request.metadata.namespace ?? '';
    const hours = request.storedBytes > retentionLimits.largeRequestBytes ? Math.min(retentionLimits.largeRequestHours, settings.requestHours) : settings.requestHours;
    return { key: `${namespace}/${request.metadata.name}`, namespace, finishedAtMs: finishedAtMs(request), maxAgeMs: hours * hourMs };
  });
}

function finishedAtMs(request: KeptRequest): number {
  const decided = request.status?.conditions?.find((condition) => condition.type === 'Decided')?.lastTransitionTime;
  const times = [request.metadata.creationTimestamp, decided, request.status?.use?.at, request.status?.expiresAt].map((time) => Date.parse(time ?? '')).filter((ms) => !Number.isNaN(ms));
  return Math.max(0, ...times);
}
