import { deny } from '../../core/errors.ts';
import { verifyToken } from '../../core/identity/verify-token.ts';
import type { AuthenticationDeps, CredentialOutcome } from './authenticate.ts';

/**
 * Judges what a client sent as its password: a whole JWT.
 *
 * @param password as ssh2 hands it over: a request to change it is an object, and is refused. Never logged, never part of a denial.
 */
export async function judgePassword(password: unknown, deps: Pick<AuthenticationDeps, 'config' | 'keys' | 'clock'>): Promise<CredentialOutcome> {
  if (typeof password !== 'string') return { outcome: 'refused', denial: deny('AUTH_METHOD_REFUSED') };
  if (password === '') return { outcome: 'refused', denial: deny('TOKEN_MISSING') };
  const current = deps.config.current();
  if (!current) return { outcome: 'refused', denial: deny('CONFIG_NOT_LOADED') };
  const verified = await verifyToken(password, current.config, deps.keys, deps.clock.now());
  if (verified.outcome === 'denied') return { outcome: 'refused', denial: verified.denial };
  return { outcome: 'proven', identity: { ...verified.identity, authMethod: 'Token' }, credentialId: null };
}
