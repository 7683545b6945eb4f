import type { PostgresTarget } from '../../contract/proxy-config.ts';
import { SallyportError } from '../core/errors.ts';
import type { Permit } from '../core/policy/permit.ts';

/** The PostgreSQL server that a permit leads to. Throws SallyportError INTERNAL for a permit of another protocol: its listener must never come here. */
export function targetOf(permit: Pick<Permit, 'target'>): PostgresTarget['postgres'] {
  if ('postgres' in permit.target) return permit.target.postgres;
  throw new SallyportError('INTERNAL', { reason: 'the permit is for another protocol' });
}
