import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createOnlyFile } from './create-only-file.ts';

/**
 * Reads the private host keys of the SSH listeners from `<data>/keys/ssh_host_ed25519` and, where it is there, `ssh_host_rsa` (OpenSSH's format). The first is made on the first start, mode 0600, and never overwritten:
 * clients remember it.
 *
 * @param create makes an Ed25519 key. @throws the file system's error.
 */
export async function openDirectoryHostKeys(dataDirectory: string, create: () => string): Promise<readonly Uint8Array[]> {
  const directory = join(dataDirectory, 'keys');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, 'ssh_host_ed25519');
  await createOnlyFile(path, create());
  const rsa = await readFile(join(directory, 'ssh_host_rsa')).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  });
  return [await readFile(path), ...(rsa === null ? [] : [rsa])];
}
