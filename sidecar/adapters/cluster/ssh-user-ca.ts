import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readUserCa, type SshUserCa } from '../../core/identity/ssh-user-ca.ts';

/**
 * Reads the authority for SSH users from the mounted Secret `sallyport-ssh-user-ca`: `ca_ed25519` (PKCS #8 PEM) signs and counts, `ca_ed25519.next`, where it is there, counts too.
 *
 * @returns null while there is none: then no certificate counts and none is given.
 * @throws SallyportError CONFIG_INVALID when a file holds something else.
 */
export async function readMountedUserCa(directory: string): Promise<SshUserCa | null> {
  const [key, next] = await Promise.all(['ca_ed25519', 'ca_ed25519.next'].map((name) => readOptional(join(directory, name))));
  return key === undefined || key === null ? null : readUserCa(key, next ?? null);
}

async function readOptional(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  });
}
