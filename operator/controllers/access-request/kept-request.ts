import type { AccessRequestResource } from '../../../contract/api/v1alpha1.gen.ts';
import { isFinished } from './plan.ts';

/** A request as the operator caches it: a finished one without its statement, which nothing reads any more, but with its size. */
export interface KeptRequest extends AccessRequestResource {
  readonly storedBytes: number;
}

/** Drops from a finished request what only counting needs: 10,000 of them must not hold 300 MB. */
export function keepRequest(request: AccessRequestResource): KeptRequest {
  const storedBytes = Buffer.byteLength(JSON.stringify(request));
  if (!isFinished(request)) return { ...request, storedBytes };
  const { statement: _statement, parameters: _parameters, facts: _facts, ...spec } = request.spec;
  return { ...request, spec, storedBytes };
}
