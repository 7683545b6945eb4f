import { errors, jwtVerify, type CryptoKey, type JWTPayload, type JWTVerifyGetKey } from 'jose';
import type { IdentityProvider, ProxyConfig } from '../../../contract/proxy-config.ts';
import { deny, SallyportError, type Denial } from '../errors.ts';
import type { KeySource } from '../ports.ts';
import type { Identity } from './identity.ts';
import { mapClaims } from './map-claims.ts';
import { readTokenEnvelope } from './token-envelope.ts';

/** Who bears the token, or why it is refused. */
export type VerifyOutcome = { readonly outcome: 'verified'; readonly identity: Identity } | { readonly outcome: 'denied'; readonly denial: Denial };

/**
 * Verifies a token and says who bears it.
 *
 * The issuer is looked up among the configured providers (the token's own `iss` chooses, and proves nothing); signature, algorithm, audience, `exp`, `nbf`,
 * `iat`, type and the mapped claims are checked against that provider. Providers that share an issuer are tried by name; the first that accepts decides.
 *
 * @param token as the client sent it; at most 16 KiB. Never logged, never part of a denial.
 * @param now Unix time, ms.
 * @returns a denial with a TOKEN_ code or ISSUER_UNREACHABLE; nothing is thrown for a bad token.
 */
export async function verifyToken(token: string, config: ProxyConfig, keys: KeySource, now: number): Promise<VerifyOutcome> {
  const outcome = await verifyWithProviders(token, config, keys, now);
  return outcome.outcome === 'denied' && looksCutOff(token, outcome.denial) ? { outcome: 'denied', denial: deny('TOKEN_TRUNCATED') } : outcome;
}

/** psql's prompt reads a terminal line, and a canonical terminal line ends silently at 4,095 bytes (I12, measured). */
const promptLimitBytes = 4_095;

function looksCutOff(token: string, denial: Denial): boolean {
  return (denial.code === 'TOKEN_MALFORMED' || denial.code === 'TOKEN_SIGNATURE_INVALID') && Buffer.byteLength(token) === promptLimitBytes;
}

async function verifyWithProviders(token: string, config: ProxyConfig, keys: KeySource, now: number): Promise<VerifyOutcome> {
  const read = readTokenEnvelope(token);
  if (read.outcome === 'denied') return read;
  const providers = config.identityProviders.filter((provider) => provider.issuer === read.envelope.issuer).sort(byName);
  if (providers.length === 0) return { outcome: 'denied', denial: deny('TOKEN_ISSUER_UNKNOWN') };

  let best: Denial | null = null;
  for (const provider of providers) {
    const outcome = await verifyWithProvider(token, read.envelope.algorithm, provider, keys, now);
    if (outcome.outcome === 'verified') return outcome;
    best = moreTelling(best, outcome.denial);
  }
  return { outcome: 'denied', denial: best ?? deny('TOKEN_ISSUER_UNKNOWN') };
}

function byName(a: IdentityProvider, b: IdentityProvider): number {
  return a.name < b.name ? -1 : 1;
}

/** Of two providers' refusals, the audience is the least telling: it only says that the token was meant for the other one. */
function moreTelling(a: Denial | null, b: Denial): Denial {
  return a === null || a.code === 'TOKEN_AUDIENCE_WRONG' ? b : a;
}

async function verifyWithProvider(token: string, algorithm: string, provider: IdentityProvider, keys: KeySource, now: number): Promise<VerifyOutcome> {
  // Before any key is fetched: a token with `none` or an HMAC never causes a request. The schema's list holds neither.
  if (!provider.algorithms.some((allowed) => allowed === algorithm)) return { outcome: 'denied', denial: deny('TOKEN_ALGORITHM_REFUSED') };
  try {
    const payload = await verifySignatureAndClaims(token, provider, keys.keysOf(provider), now);
    if (isFromTheFuture(payload, provider, now)) return { outcome: 'denied', denial: deny('TOKEN_NOT_YET_VALID', { detail: 'claim "iat"' }) };
    const mapped = mapClaims(payload, provider);
    return mapped.outcome === 'mapped' ? { outcome: 'verified', identity: mapped.identity } : mapped;
  } catch (error) {
    return { outcome: 'denied', denial: wordFailure(error) };
  }
}

async function verifySignatureAndClaims(token: string, provider: IdentityProvider, getKey: JWTVerifyGetKey, now: number): Promise<JWTPayload> {
  const options = {
    algorithms: [...provider.algorithms], issuer: provider.issuer, audience: [...provider.audiences],
    clockTolerance: provider.clockSkewSeconds, currentDate: new Date(now), requiredClaims: ['exp', 'sub'],
  };
  try {
    return (await jwtVerify(token, getKey, options)).payload;
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    return tryEachKey(error, (key) => jwtVerify(token, key, options));
  }
}

/** A key set may hold several keys that fit when the token names none. More than this many are not tried: each costs a signature check. */
const maxCandidateKeys = 8;

async function tryEachKey(candidates: errors.JWKSMultipleMatchingKeys, verify: (key: CryptoKey) => Promise<{ readonly payload: JWTPayload }>): Promise<JWTPayload> {
  let tried = 0;
  for await (const key of candidates) {
    tried += 1;
    if (tried > maxCandidateKeys) break;
    try {
      return (await verify(key)).payload;
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
    }
  }
  throw new errors.JWSSignatureVerificationFailed();
}

/** jose checks `iat` only together with a maximum age. */
function isFromTheFuture(payload: JWTPayload, provider: IdentityProvider, now: number): boolean {
  return payload.iat !== undefined && payload.iat * 1000 > now + provider.clockSkewSeconds * 1000;
}

function wordFailure(error: unknown): Denial {
  if (error instanceof SallyportError) return error.toDenial();
  if (error instanceof errors.JWTExpired) return deny('TOKEN_EXPIRED');
  if (error instanceof errors.JWTClaimValidationFailed) return wordClaimFailure(error);
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported) return deny('TOKEN_ALGORITHM_REFUSED');
  if (error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JWKSNoMatchingKey) return deny('TOKEN_SIGNATURE_INVALID');
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) return deny('TOKEN_MALFORMED');
  // A key that cannot be imported, an unusable key set: the issuer's fault, and nothing that the bearer can prove.
  return deny('ISSUER_UNREACHABLE');
}

function wordClaimFailure(error: errors.JWTClaimValidationFailed): Denial {
  const detail = `claim "${error.claim}"`;
  if (error.reason === 'missing') return error.claim === 'aud' ? deny('TOKEN_AUDIENCE_WRONG') : deny('TOKEN_CLAIM_MISSING', { detail });
  if (error.claim === 'aud') return deny('TOKEN_AUDIENCE_WRONG');
  if (error.claim === 'iss') return deny('TOKEN_ISSUER_UNKNOWN');
  if (error.reason === 'check_failed' && (error.claim === 'nbf' || error.claim === 'iat')) return deny('TOKEN_NOT_YET_VALID', { detail });
  return deny('TOKEN_CLAIM_INVALID', { detail });
}
