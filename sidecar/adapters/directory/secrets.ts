import { SallyportError } from '../../core/errors.ts';
import type { SecretSource } from '../../core/ports.ts';

/** Values by Secret name, then key. */
export type SecretValues = ReadonlyMap<string, ReadonlyMap<string, Uint8Array>>;

/** The Secrets of a config directory, kept in memory; `replace` swaps all of them at once, so that a rotated credential serves the next dial. */
export interface DirectorySecrets extends SecretSource {
  replace(values: SecretValues): void;
}

/** Begins empty: every read throws SECRET_UNAVAILABLE until `replace` was called. Callers get copies, so that they may wipe them. */
export function createDirectorySecrets(): DirectorySecrets {
  let current: SecretValues = new Map();
  const find = (secretName: string, key: string): Uint8Array | null => {
    const value = current.get(secretName)?.get(key);
    return value === undefined ? null : Uint8Array.from(value);
  };
  return {
    replace: (values) => void (current = values),
    readOptional: async (secretName, key) => find(secretName, key),
    read: async (secretName, key) => {
      const value = find(secretName, key);
      if (value === null) throw new SallyportError('SECRET_UNAVAILABLE', { secret: secretName, key });
      return value;
    },
  };
}
