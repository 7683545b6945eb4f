/** Whether a Secret holds exactly one form of an SSH credential: `privateKey`, with `passphrase` or `certificate` if need be, or `password`. Whether its values can be used, the first login tells. */
export function hasSshCredential(values: ReadonlyMap<string, Uint8Array>): boolean {
  const has = (key: string): boolean => (values.get(key)?.length ?? 0) > 0;
  return has('privateKey') !== has('password') && (has('privateKey') || (!has('certificate') && !has('passphrase')));
}
