import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createUserCaKey, readUserCa, type SshUserCa } from '../../core/identity/ssh-user-ca.ts';
import { createOnlyFile } from './create-only-file.ts';

/**
 * Reads the authority for SSH users from `<data>/keys/ssh-user-ca.pem`, or makes it on the first start (Ed25519, PKCS #8 PEM, mode 0600).
 *
 * A key in `ssh-user-ca.next.pem` counts too, so that a new key can be put in place of the old one while certificates of both are about.
 * @throws SallyportError CONFIG_INVALID when a file holds something else.
 */
export async function openDirectoryUserCa(dataDirectory: string): Promise<SshUserCa> {
  const directory = join(dataDirectory, 'keys');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, 'ssh-user-ca.pem');
  await createOnlyFile(path, createUserCaKey());
  const next = await readFile(join(directory, 'ssh-user-ca.next.pem'), 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  });
  return readUserCa(await readFile(path, 'utf8'), next);
}
