import type { AccessRequestResource } from './api/v1alpha1.gen.ts';
import { digestOf } from './digest.ts';

type Spec = AccessRequestResource['spec'];

/**
 * The digest that a decision repeats: SHA-256 over the canonical JSON of the request's spec without `digest`, `sessionRef` and `reason`; `statementHMAC` is inside.
 * Whoever can read the request can recompute it, so an approver's client checks what it shows.
 *
 * @returns `sha256:<64 hex>`.
 */
export function requestDigest(spec: Omit<Spec, 'digest'> & Partial<Pick<Spec, 'digest'>>): string {
  const { digest: _digest, sessionRef: _session, reason: _reason, ...bound } = spec;
  return digestOf(bound);
}
