import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Reads the private host keys of the SSH listeners from the mounted Secret `sallyport-proxy-ssh`: `host_ed25519`, and `host_rsa` where it is there.
 *
 * @returns none while there is no `host_ed25519`: the listeners then stay shut, whatever else is mounted.
 */
export async function readMountedHostKeys(directory: string): Promise<readonly Uint8Array[]> {
  const [ed25519, rsa] = await Promise.all(['host_ed25519', 'host_rsa'].map((name) => readOptional(join(directory, name))));
  return ed25519 === null || ed25519 === undefined ? [] : [ed25519, ...(rsa === null || rsa === undefined ? [] : [rsa])];
}

async function readOptional(path: string): Promise<Uint8Array | null> {
  return readFile(path).catch((error: unknown) => {
    if (typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  });
}
