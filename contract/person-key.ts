import type { ProxyConfig } from './proxy-config.ts';

/**
 * One key for all spellings of a person: two names are the same person when an alias joins them, directly or over others, or when they differ in letter case only.
 *
 * Kubernetes compares usernames case by case; an identity provider often does not. So sameness is judged loosely (it only ever takes rights away: nobody approves their own
 * request, nobody counts twice), while everything that gives a right (groups, prefixes, the key of an alias) is compared byte by byte.
 *
 * @param aliases username → username that means the same person. Chains, cycles and several aliases of one name all join.
 */
export function personKeys(aliases: Readonly<Record<string, string>>): (username: string) => string {
  const parents = new Map<string, string>();
  const find = (key: string): string => {
    let root = key;
    for (let next = parents.get(root); next !== undefined; next = parents.get(root)) root = next;
    return root;
  };
  for (const [alias, name] of Object.entries(aliases)) {
    const [one, other] = [find(fold(alias)), find(fold(name))].sort() as [string, string];
    if (one !== other) parents.set(other, one);
  }
  return (username) => find(fold(username));
}

/**
 * Whether a username is known to be a person's: it carries the prefix of a trusted OIDC provider, or stands in the aliases as one.
 * Names outside (IAM users, certificates) could be a second name of the requester, so they neither ask nor decide. With an empty prefix every name is that provider's.
 */
export function isMappedPerson(username: string, providers: ProxyConfig['identityProviders'], aliases: Readonly<Record<string, string>>): boolean {
  if (username.startsWith('system:')) return false;
  if (Object.hasOwn(aliases, username) || Object.values(aliases).includes(username)) return true;
  return providers.some((provider) => provider.type === 'OIDC' && username.length > provider.usernamePrefix.length && username.startsWith(provider.usernamePrefix));
}

/** Compatibility forms and letter case do not make a second person. */
function fold(username: string): string {
  return username.normalize('NFKC').toLowerCase().toUpperCase().toLowerCase();
}
