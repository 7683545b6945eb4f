import type { IdentityProviderResource } from '../../contract/api/v1alpha1.gen.ts';
import type { IdentityProvider } from '../../contract/proxy-config.ts';
import { durationSeconds } from './durations.ts';
import { findingsOf, rejectUnreadable } from './problem.ts';
import type { Findings, RenderProblem } from './problem.ts';

/**
 * Compiles the token issuers, in the order of their names.
 *
 * Two providers may not share an issuer, nor may one's user prefix begin with another's: issuer B could then mint a name of issuer A. Of two in conflict
 * the younger is left out (creation time, then name), so that a new object never takes the place of one in force. A broken one stays as it is in `lastGood` unless that
 * version is in conflict with another one.
 */
export function compileIdentityProviders(resources: readonly IdentityProviderResource[], lastGood: readonly IdentityProvider[] = []): { readonly identityProviders: readonly IdentityProvider[]; readonly problems: readonly RenderProblem[]; readonly carried: readonly IdentityProvider[] } {
  const problems: RenderProblem[] = [];
  const accepted: IdentityProvider[] = [];
  const carried: IdentityProvider[] = [];
  for (const resource of [...resources].sort(byAge)) {
    const findings = findingsOf('IdentityProvider', resource.metadata.name);
    const provider = compileIdentityProvider(resource, findings);
    for (const older of accepted) findConflict(provider, older, findings);
    rejectUnreadable('identityProviders', provider, findings);
    problems.push(...findings.problems);
    if (!findings.isRejected()) {
      accepted.push(provider);
      continue;
    }
    const last = lastGood.find((candidate) => candidate.uid !== '' && candidate.uid === provider.uid);
    if (last === undefined || accepted.some((other) => inConflict(last, other))) continue;
    accepted.push(last);
    carried.push(last);
  }
  return { identityProviders: accepted.sort((a, b) => (a.name < b.name ? -1 : 1)), problems, carried };
}

function inConflict(provider: IdentityProvider, other: IdentityProvider): boolean {
  const findings = findingsOf('IdentityProvider', provider.name);
  findConflict(provider, other, findings);
  return findings.isRejected();
}

function byAge(a: IdentityProviderResource, b: IdentityProviderResource): number {
  const [left, right] = [a, b].map(({ metadata }) => `${metadata.creationTimestamp ?? ''} ${metadata.name}`) as [string, string];
  return left < right ? -1 : left > right ? 1 : 0;
}

function compileIdentityProvider({ metadata, spec }: IdentityProviderResource, findings: Findings): IdentityProvider {
  return {
    name: metadata.name,
    uid: metadata.uid ?? '',
    generation: metadata.generation ?? 0,
    type: spec.type,
    issuer: spec.issuer,
    audiences: [...spec.audiences].sort(),
    usernameClaim: spec.claims?.username ?? 'sub',
    usernamePrefix: spec.claims?.usernamePrefix ?? '',
    groupsClaim: spec.claims?.groups ?? null,
    groupsPrefix: spec.claims?.groupsPrefix ?? '',
    uidClaim: spec.claims?.uid ?? null,
    jwksUri: spec.jwksURI ?? null,
    caBundle: spec.caBundle ?? null,
    algorithms: [...spec.algorithms].sort(),
    clockSkewSeconds: durationSeconds(spec.clockSkew, ['spec', 'clockSkew'], findings, { min: 0, max: 60 }),
    ...(spec.deviceLogin === undefined ? {} : { deviceLogin: { clientId: spec.deviceLogin.clientID, scopes: ['openid', ...[...spec.deviceLogin.scopes ?? []].filter((scope) => scope !== 'openid').sort()] } }),
  };
}

function findConflict(provider: IdentityProvider, older: IdentityProvider, findings: Findings): void {
  if (provider.issuer === older.issuer) findings.reject(['spec', 'issuer'], 'Invalid', `IdentityProvider ${older.name} already has this issuer`);
  const [mine, theirs] = [prefixOf(provider), prefixOf(older)];
  // A person's name never begins with `system:`, whatever the prefix, so an empty prefix does not reach the service accounts.
  if (provider.type === older.type && (mine.startsWith(theirs) || theirs.startsWith(mine))) {
    findings.reject(['spec', 'claims', 'usernamePrefix'], 'PrefixConflict', `user names could be those of IdentityProvider ${older.name}: no prefix may begin with another's`);
  }
  if (provider.groupsClaim !== null && older.groupsClaim !== null && provider.groupsPrefix === older.groupsPrefix) {
    findings.warn(['spec', 'claims', 'groupsPrefix'], 'PrefixConflict', `groups have the same names as those of IdentityProvider ${older.name}: set groupsPrefix to tell them apart`);
  }
}

/** Service accounts of two clusters have equal names. */
function prefixOf(provider: IdentityProvider): string {
  return provider.type === 'ServiceAccount' ? 'system:serviceaccount:' : provider.usernamePrefix;
}
