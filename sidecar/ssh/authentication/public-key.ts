import type { PublicKeyAuthContext } from 'ssh2';
import { type Denial, deny } from '../../core/errors.ts';
import { type CertificateTrust, verifyUserCertificate, wrappedText } from '../../core/identity/ssh-certificate.ts';
import { certificatePrincipal, identityExtension, readIdentityExtension } from '../../core/identity/ssh-identity-extension.ts';
import type { AuthenticationAsk, AuthenticationDeps, CredentialOutcome } from './outcome.ts';

/**
 * Judges a request with a public key. Only a certificate of our own CA proves anything, and only with a signature.
 *
 * @returns 'usable' and 'unusable' answer the question whether a key would do (no signature): nobody is named, nothing may be logged or kept.
 */
export function judgePublicKey(context: Pick<PublicKeyAuthContext, 'key' | 'signature' | 'blob'>, ask: AuthenticationAsk, deps: Pick<AuthenticationDeps, 'config' | 'clock' | 'userCa'>): CredentialOutcome | { readonly outcome: 'usable' | 'unusable' } {
  const isQuestion = context.signature === undefined;
  const refuse = (denial: Denial, reason: string): CredentialOutcome | { readonly outcome: 'unusable' } => (isQuestion ? { outcome: 'unusable' } : { outcome: 'refused', denial, reason });
  if (!context.key.algo.endsWith('-cert-v01@openssh.com')) return refuse(deny('AUTH_METHOD_REFUSED', { detail: 'a key without a certificate' }), 'plain key');
  const config = deps.config.current()?.config;
  if (config === undefined || deps.userCa === null) return refuse(deny('CERTIFICATE_INVALID'), 'no authority');
  const nowMs = deps.clock.now();
  const trust: CertificateTrust = { authorities: deps.userCa.authorities, principal: certificatePrincipal(config.namespace), nowMs, clientAddress: ask.remote.ip };
  const proof = context.signature === undefined ? null : { data: context.blob ?? new Uint8Array(), signature: context.signature };
  const checked = verifyUserCertificate({ algorithm: context.key.algo, certificate: context.key.data, proof }, trust);
  if (checked.outcome === 'unsigned') return { outcome: 'usable' };
  if (checked.outcome === 'refused') return refuse(deny('CERTIFICATE_INVALID'), checked.defect);
  const { keyId, serial, extensions } = checked.certificate;
  const text = wrappedText(extensions.get(identityExtension) ?? new Uint8Array());
  const identity = text === null ? null : readIdentityExtension(text, config, nowMs);
  if (identity === null) return refuse(deny('CERTIFICATE_INVALID'), 'identity');
  return { outcome: 'proven', identity, credentialId: `${keyId} serial ${serial}` };
}
