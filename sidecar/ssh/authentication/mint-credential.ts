import { randomBytes } from 'node:crypto';
import type { RecorderFactory } from '../../../contract/audit.ts';
import { type Denial, deny, SallyportError } from '../../core/errors.ts';
import type { Identity } from '../../core/identity/identity.ts';
import { certificatePrincipal, identityExtension, writeIdentityExtension } from '../../core/identity/ssh-identity-extension.ts';
import { type AuthenticationAsk, type AuthenticationDeps, isAccountName, type Proven } from './outcome.ts';

/** What minting takes beside the login. */
export interface MintingDeps extends Pick<AuthenticationDeps, 'config' | 'clock' | 'log' | 'tickets' | 'userCa'> {
  readonly recorders: Pick<RecorderFactory, 'event'>;
}

/** The one line that the subsystem answers with. Times are RFC 3339. */
export type CredentialAnswer =
  | { readonly ticket: string; readonly expiresAt: string }
  | { /** As in a `-cert.pub` file. */ readonly certificate: string; readonly expiresAt: string; readonly username: string; readonly namespace: string }
  | { readonly error: { readonly code: string; readonly message: string; readonly hint: string } };

/** Life of a certificate (ssh.md 3.5). It begins a little early, for replicas whose clocks differ. */
export const certificateTimes = { lifeSeconds: 900, earlySeconds: 30 } as const;

/**
 * Gives a ticket or a certificate for an identity that came with a token or through the browser. Recorded before it is given.
 *
 * Never for one that came with a ticket or a certificate: nothing renews itself. What is given says no more than the token did and does not outlive it.
 *
 * @param line the request, one JSON object: `{"want":"ticket","target":"web-1","account":"deploy","bindAddress":true}` or `{"want":"certificate","publicKey":"ssh-ed25519 AAAA..."}`.
 */
export async function mintCredential(line: string | null, { identity }: Proven, ask: AuthenticationAsk, deps: MintingDeps): Promise<CredentialAnswer> {
  if (identity.authMethod !== 'Token' && identity.authMethod !== 'DeviceLogin') return refused(deny('AUTH_METHOD_REFUSED', { detail: 'tickets and certificates get no others', hint: 'log in with a token or in the browser' }));
  const request = readRequest(line, ask.target);
  if (request === null) return refused(badRequest);
  const minted = request.want === 'ticket' ? mintTicket(request, identity, ask, deps) : mintCertificate(request.publicKey, identity, deps);
  if (minted.outcome === 'refused') return refused(minted.denial);
  try {
    await deps.recorders.event('credential.minted', {
      kind: request.want, id: minted.id, target: ask.target, account: request.want === 'ticket' ? request.account : null, actor: { username: identity.username, issuer: identity.issuer, subject: identity.subject },
      method: identity.authMethod, ip: ask.remote.ip, expiresAtMs: minted.expiresAtMs,
    });
  } catch (error) {
    deps.log.error('credential not recorded and not given', { code: error instanceof SallyportError ? error.code : 'INTERNAL' });
    return refused(error instanceof SallyportError ? error.toDenial() : deny('INTERNAL'));
  }
  deps.log.info('credential minted', { kind: request.want, id: minted.id, target: ask.target });
  return minted.answer;
}

type Request = { readonly want: 'ticket'; readonly account: string; readonly bindAddress: boolean } | { readonly want: 'certificate'; readonly publicKey: Uint8Array };

const badRequest = deny('HTTP_BAD_REQUEST', { message: 'the request for a credential is not valid', hint: 'see docs/ssh-login.md for its form' });

/** A ticket is for the Target of this listener; a certificate is for all of the namespace. */
function readRequest(line: string | null, target: string): Request | null {
  const { want, target: named, account, bindAddress, publicKey } = parseObject(line) ?? {};
  if (named !== undefined && named !== target) return null;
  if (want === 'ticket') return typeof account === 'string' && isAccountName(account) && (bindAddress === undefined || typeof bindAddress === 'boolean') ? { want, account, bindAddress: bindAddress ?? false } : null;
  const match = want === 'certificate' && typeof publicKey === 'string' ? /^[a-z0-9-]{1,64} ([A-Za-z0-9+/]{1,8192}={0,2})(?: .*)?$/.exec(publicKey) : null;
  return want === 'certificate' && match?.[1] !== undefined ? { want, publicKey: Buffer.from(match[1], 'base64') } : null;
}

function parseObject(line: string | null): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(line ?? '');
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : null;
  } catch {
    return null;
  }
}

type Minted = { readonly outcome: 'minted'; readonly id: string; readonly expiresAtMs: number; readonly answer: CredentialAnswer } | { readonly outcome: 'refused'; readonly denial: Denial };

function mintTicket(request: { readonly account: string; readonly bindAddress: boolean }, identity: Identity, ask: AuthenticationAsk, deps: MintingDeps): Minted {
  const minted = deps.tickets.mint(identity, { target: ask.target, account: request.account, address: request.bindAddress ? ask.remote.ip : null });
  return minted.outcome === 'refused' ? minted : { ...minted, answer: { ticket: minted.ticket, expiresAt: new Date(minted.expiresAtMs).toISOString() } };
}

function mintCertificate(publicKey: Uint8Array, identity: Identity, deps: MintingDeps): Minted {
  const config = deps.config.current()?.config;
  if (config === undefined) return { outcome: 'refused', denial: deny('CONFIG_NOT_LOADED') };
  if (deps.userCa === null) return { outcome: 'refused', denial: deny('CERTIFICATE_INVALID', { message: 'this gateway has no certificate authority for users', hint: 'use `sallyport ssh <target>`, which needs none' }) };
  const now = Math.floor(deps.clock.now() / 1000);
  const validBefore = Math.min(now + certificateTimes.lifeSeconds, tokenEndSeconds(identity));
  if (validBefore <= now) return { outcome: 'refused', denial: deny('TOKEN_EXPIRED') };
  const says = writeIdentityExtension(identity);
  if (says === null) return { outcome: 'refused', denial: deny('TOKEN_TOO_LONG') };
  const serial = randomBytes(8).readBigUInt64BE() >> 1n;
  const keyId = identity.username;
  const certificate = deps.userCa.issue({
    publicKey, keyId, serial, principal: certificatePrincipal(config.namespace), validAfter: now - certificateTimes.earlySeconds, validBefore, extensions: { [identityExtension]: says }, nonce: randomBytes(32),
  });
  if (certificate === null) return { outcome: 'refused', denial: deny('CERTIFICATE_INVALID', { message: 'no certificate is given for this key', hint: 'use an Ed25519 key, ECDSA on P-256, or RSA of 3072 bits' }) };
  return {
    outcome: 'minted', id: `${keyId} serial ${serial}`, expiresAtMs: validBefore * 1000,
    answer: { certificate: textOf(certificate), expiresAt: new Date(validBefore * 1000).toISOString(), username: identity.username, namespace: config.namespace },
  };
}

/** The token's own end, without the leeway that its reader allows. */
function tokenEndSeconds(identity: Identity): number {
  const { exp } = identity.claims;
  return Math.floor(Math.min(typeof exp === 'number' ? exp : 0, identity.expiresAtMs / 1000));
}

function textOf(certificate: Uint8Array): string {
  const blob = Buffer.from(certificate);
  return `${blob.subarray(4, 4 + blob.readUInt32BE(0)).toString('latin1')} ${blob.toString('base64')}`;
}

function refused({ code, message, detail, hint }: Denial): CredentialAnswer {
  return { error: { code, message: detail === null ? message : `${message} (${detail})`, hint } };
}
