import { deny } from '../../core/errors.ts';
import { ticketPrefix } from '../../core/identity/ssh-ticket.ts';
import { verifyToken } from '../../core/identity/verify-token.ts';
import type { TicketUse } from '../../core/ports.ts';
import type { AuthenticationDeps, CredentialOutcome } from './outcome.ts';

/** OpenSSH's `ssh` cuts a password and an answer to a prompt here, without a word (measured). */
const cutBytes = 1_023;

/**
 * Judges what a client sent as its password, or typed at a prompt: a one-time ticket or a whole JWT.
 *
 * @param password as ssh2 hands it over: a request to change it is an object, and is refused. Never logged, never part of a denial.
 */
export async function judgePassword(password: unknown, use: TicketUse, deps: Pick<AuthenticationDeps, 'config' | 'keys' | 'clock' | 'tickets'>): Promise<CredentialOutcome> {
  if (typeof password !== 'string') return { outcome: 'refused', denial: deny('AUTH_METHOD_REFUSED', { detail: 'a password cannot be changed here' }) };
  if (password === '') return { outcome: 'refused', denial: deny('TOKEN_MISSING') };
  return password.startsWith(ticketPrefix) ? judgeTicket(password, use, deps) : judgeToken(password, deps);
}

/**
 * Judges a JWT by the one token route.
 *
 * Whoever's client cut it gets to know that: a cut token never verifies, since the whole compact form is signed.
 */
export async function judgeToken(token: string, deps: Pick<AuthenticationDeps, 'config' | 'keys' | 'clock'>): Promise<CredentialOutcome> {
  const current = deps.config.current();
  if (!current) return { outcome: 'refused', denial: deny('CONFIG_NOT_LOADED') };
  const verified = await verifyToken(token, current.config, deps.keys, deps.clock.now());
  if (verified.outcome === 'verified') return { outcome: 'proven', identity: { ...verified.identity, authMethod: 'Token' }, credentialId: null };
  const isCut = token.startsWith('eyJ') && Buffer.byteLength(token) === cutBytes;
  return { outcome: 'refused', denial: isCut || verified.denial.code === 'TOKEN_TRUNCATED' ? cutToken : verified.denial };
}

const cutToken = deny('TOKEN_TRUNCATED', { message: `your SSH client cut this token at ${cutBytes} bytes`, hint: 'use `sallyport ssh <target>` or log in with the browser' });

async function judgeTicket(text: string, use: TicketUse, deps: Pick<AuthenticationDeps, 'tickets'>): Promise<CredentialOutcome> {
  const redeemed = await deps.tickets.redeem(text, use);
  if (redeemed.outcome === 'redeemed') return { outcome: 'proven', identity: redeemed.identity, credentialId: redeemed.id };
  return { outcome: 'refused', denial: deny('TICKET_INVALID'), reason: redeemed.reason };
}
