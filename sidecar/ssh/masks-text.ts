import type { Permit } from '../core/policy/permit.ts';

/** Whether the policies of a session mask text, so that bytes which cannot be masked need a rule that lets them pass knowingly. Policies that only restrict mask as well. */
export function masksText(permit: Permit): boolean {
  return [...permit.policies, ...(permit.restrictions ?? [])].some((policy) => policy.masking.some((rule) => rule.detectors !== null && rule.detectors.length > 0));
}
