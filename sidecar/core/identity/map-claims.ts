import type { IdentityProvider } from '../../../contract/proxy-config.ts';
import { deny, type Denial } from '../errors.ts';
import type { Actor, Identity } from './identity.ts';

/** Whom the claims name, or why they name nobody. */
export type MappingOutcome = { readonly outcome: 'mapped'; readonly identity: Identity } | { readonly outcome: 'denied'; readonly denial: Denial };

/** Links of an `act` chain that are read (RFC 8693 section 4.1); a longer chain is refused. */
const maxActors = 4;
const maxGroups = 1_000;

/**
 * Turns verified claims into an identity, as the provider maps them; the API server maps the same way, so names match.
 *
 * A claim is found by its literal name first (`https://bank.example/groups`, `custom.roles`), then as a dotted path (`realm_access.roles`).
 * A ServiceAccount provider's username is `sub` and its groups are those that Kubernetes derives. No other provider can make a name or group in `system:`.
 *
 * @param claims the payload of a token whose signature, issuer, audience and times have been verified.
 */
export function mapClaims(claims: Readonly<Record<string, unknown>>, provider: IdentityProvider): MappingOutcome {
  const subject = claims['sub'];
  if (!isName(subject)) return denied(deny('TOKEN_CLAIM_MISSING', { detail: 'claim "sub"' }));
  const actors = readActors(claims['act'], provider.issuer);
  if (actors === null) return denied(deny('TOKEN_ACTOR_INVALID'));

  const names = provider.type === 'ServiceAccount' ? namesOfServiceAccount(subject, claims) : namesOfPerson(claims, provider);
  if ('code' in names) return denied(names);
  return {
    outcome: 'mapped',
    identity: {
      provider: provider.name, issuer: provider.issuer, mapping: mappingOf(provider), subject, ...names, actors,
      email: text(claims['email']), tokenId: text(claims['jti']), acr: text(claims['acr']), amr: texts(claims['amr']),
      authTimeMs: milliseconds(claims['auth_time']), issuedAtMs: milliseconds(claims['iat']),
      // The leeway that let the token in also lets the session last until then, or a token accepted late would open a session that is already over.
      expiresAtMs: (milliseconds(claims['exp']) ?? 0) + provider.clockSkewSeconds * 1000,
      claims,
    },
  };
}

/** Whether this is the provider of an identity and would read its token as it did: a session lives on its login's names, and those are worth what the provider says now. */
export function isStillMapped(identity: Identity, provider: IdentityProvider): boolean {
  if (provider.name !== identity.provider || provider.issuer !== identity.issuer) return false;
  if (identity.mapping === undefined) return true;
  const audiences = [identity.claims['aud']].flat();
  return identity.mapping === mappingOf(provider) && provider.audiences.some((audience) => audiences.includes(audience));
}

function mappingOf({ type, usernameClaim, usernamePrefix, groupsClaim, groupsPrefix, uidClaim }: IdentityProvider): string {
  return JSON.stringify([type, usernameClaim, usernamePrefix, groupsClaim, groupsPrefix, uidClaim]);
}

type Names = Pick<Identity, 'username' | 'groups' | 'uid' | 'serviceAccount'>;

function denied(denial: Denial): MappingOutcome {
  return { outcome: 'denied', denial };
}

function namesOfServiceAccount(subject: string, claims: Readonly<Record<string, unknown>>): Names | Denial {
  const match = /^system:serviceaccount:([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?):([a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)$/.exec(subject);
  if (match?.[1] === undefined || match[2] === undefined) return deny('TOKEN_CLAIM_INVALID', { detail: 'claim "sub" names no service account' });
  const [, namespace, name] = match;
  const uid = text(findClaim(claims, 'kubernetes.io.serviceaccount.uid'));
  return { username: subject, groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'], uid, serviceAccount: { namespace, name } };
}

function namesOfPerson(claims: Readonly<Record<string, unknown>>, provider: IdentityProvider): Names | Denial {
  const named = findClaim(claims, provider.usernameClaim);
  if (!isName(named)) return deny('TOKEN_CLAIM_MISSING', { detail: `claim "${provider.usernameClaim}"` });
  // As the API server does: a claim that is present must be true; an issuer that does not send it vouches for the address by itself.
  if (provider.usernameClaim === 'email' && Object.hasOwn(claims, 'email_verified') && claims['email_verified'] !== true) return deny('TOKEN_EMAIL_UNVERIFIED');
  const groups = provider.groupsClaim === null ? [] : readGroups(findClaim(claims, provider.groupsClaim));
  if (groups === null) return deny('TOKEN_CLAIM_INVALID', { detail: `claim "${provider.groupsClaim}" is not a list of names` });

  const username = provider.usernamePrefix + named;
  const prefixed = [...new Set(groups.map((group) => provider.groupsPrefix + group))];
  if ([username, ...prefixed].some((name) => name.startsWith('system:'))) return deny('TOKEN_CLAIM_INVALID', { detail: 'names that begin with "system:" are reserved' });
  const uid = provider.uidClaim === null ? null : text(findClaim(claims, provider.uidClaim));
  if (provider.uidClaim !== null && uid === null) return deny('TOKEN_CLAIM_MISSING', { detail: `claim "${provider.uidClaim}"` });
  return { username, groups: prefixed, uid, serviceAccount: null };
}

/**
 * Finds a claim by its literal name, else by its dotted path; parts of a path may themselves hold dots (`kubernetes.io.namespace`).
 *
 * @returns undefined when there is none. Longer literal names win, so a path has one reading.
 */
export function findClaim(claims: Readonly<Record<string, unknown>>, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  for (let dot = path.lastIndexOf('.'); dot > 0; dot = path.lastIndexOf('.', dot - 1)) {
    const head = path.slice(0, dot);
    const inner = Object.hasOwn(claims, head) ? claims[head] : undefined;
    if (typeof inner === 'object' && inner !== null && !Array.isArray(inner)) return findClaim(inner as Readonly<Record<string, unknown>>, path.slice(dot + 1));
  }
  return undefined;
}

/** Absent means none; a single name may stand for a list of one, as the API server reads it. */
function readGroups(value: unknown): readonly string[] | null {
  if (value === undefined || value === null) return [];
  if (typeof value === 'string') return value === '' ? [] : isName(value) ? [value] : null;
  if (!Array.isArray(value) || value.length > maxGroups || !value.every(isName)) return null;
  return value;
}

function readActors(act: unknown, issuer: string): readonly Actor[] | null {
  const actors: Actor[] = [];
  for (let link = act; link !== undefined; ) {
    if (typeof link !== 'object' || link === null || Array.isArray(link) || actors.length === maxActors) return null;
    const { sub, iss, act: next } = link as Readonly<Record<string, unknown>>;
    if (!isName(sub) || !(iss === undefined || isName(iss))) return null;
    actors.push({ issuer: iss ?? issuer, subject: sub });
    link = next;
  }
  return actors;
}

/** Control characters would let one name look like another in a log, a request or a terminal. */
function isName(value: unknown): value is string {
  return typeof value === 'string' && value.trim().length > 0 && value.length <= 1_024 && !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(value);
}

function text(value: unknown): string | null {
  return isName(value) ? value : null;
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.slice(0, 16).filter(isName) : [];
}

function milliseconds(seconds: unknown): number | null {
  return typeof seconds === 'number' && Number.isFinite(seconds) ? Math.floor(seconds * 1000) : null;
}
