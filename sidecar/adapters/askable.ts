import { boundDigest } from '../../contract/approval-digest.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { ApprovalAsk } from '../core/ports.ts';

/** Limits of requests for approval in both modes (security.md 3.1, kubernetes.md 13). */
export const askLimits = { pendingPerRequester: 20, pendingTotal: 200, waitersPerRequest: 20, shownBytes: 32_768, parameters: 256, askBytes: 98_304 } as const;

/**
 * Why an ask cannot be put before anybody (D5): nobody could see it whole, nobody could decide it, or its digest would bind something else than what is shown.
 *
 * @returns null when it can be asked.
 */
export function whyUnaskable(ask: ApprovalAsk): ErrorCode | null {
  const { statement, approval } = ask;
  const parameters = statement?.parameters ?? [];
  const shownBytes = parameters.reduce((sum, parameter) => sum + Buffer.byteLength(parameter), Buffer.byteLength(statement?.text ?? ''));
  if (parameters.length > askLimits.parameters || shownBytes > askLimits.shownBytes) return 'APPROVAL_TOO_LARGE';
  if (Buffer.byteLength(JSON.stringify(ask)) > askLimits.askBytes) return 'APPROVAL_TOO_LARGE';
  const isComplete = approval.groups.length > 0 && approval.required >= 1 && approval.decideWithinSeconds >= 1 && (ask.scope === 'Statement') === (approval.grantTtlSeconds === null);
  if (!isComplete || (ask.scope === 'Statement' && statement === null)) return 'APPROVAL_UNAVAILABLE';
  const isCheckable = statement === null || typeof ask.statementHmac === 'string';
  if (isCheckable && ask.digest !== boundDigest(ask, ask.statementHmac ?? null)) return 'APPROVAL_UNAVAILABLE';
  return null;
}
