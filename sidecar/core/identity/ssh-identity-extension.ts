import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import type { Identity } from './identity.ts';
import { mapClaims } from './map-claims.ts';

/** Name of the certificate extension that says whose token the certificate was made for. */
export const identityExtension = 'identity@sallyport.dev';

/** User name and subsystem with which a ticket or a certificate is fetched. No account can bear it. */
export const credentialUser = 'credential@sallyport.dev';

/** Longest extension, in bytes: the claims of any token that is accepted. */
const maxBytes = 24_576;

/** The principal of every certificate of a namespace: no account can bear that name, so a host that trusts our CA by mistake admits nobody. */
export function certificatePrincipal(namespace: string): string {
  return `sallyport.dev/${namespace}`;
}

/**
 * What a certificate says of an identity: the provider and the token's verified claims. The names are made from them when the certificate is used, as they would be of the
 * token itself, so that a change of the provider holds for certificates too.
 *
 * @returns null when it would be longer than 24 KiB.
 */
export function writeIdentityExtension(identity: Identity): string | null {
  const text = JSON.stringify({ v: 1, provider: identity.provider, issuer: identity.issuer, claims: identity.claims });
  return Buffer.byteLength(text) > maxBytes ? null : text;
}

/**
 * The identity that a verified certificate of ours speaks for, under the config of now. Null: its provider is gone, has another issuer or other audiences, maps the claims
 * to nobody, or the token has expired.
 *
 * @param text the extension's text, from a certificate that `verifyUserCertificate` accepted: our own CA signed it.
 * @param nowMs Unix time, ms.
 */
export function readIdentityExtension(text: string, config: ProxyConfig, nowMs: number): Identity | null {
  const { v, provider: name, issuer, claims } = parseObject(text) ?? {};
  const provider = config.identityProviders.find((candidate) => candidate.name === name && candidate.issuer === issuer);
  if (v !== 1 || provider === undefined || !isObject(claims)) return null;
  const audiences = [claims['aud']].flat();
  if (claims['iss'] !== issuer || !provider.audiences.some((audience) => audiences.includes(audience))) return null;
  const mapped = mapClaims(claims, provider);
  if (mapped.outcome === 'denied' || mapped.identity.expiresAtMs <= nowMs) return null;
  return { ...mapped.identity, authMethod: 'Certificate' };
}

function parseObject(text: string): Readonly<Record<string, unknown>> | null {
  if (Buffer.byteLength(text) > maxBytes) return null;
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
