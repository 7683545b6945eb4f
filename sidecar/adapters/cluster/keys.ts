import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SallyportError } from '../../core/errors.ts';

/** The keys of a namespace, 32 bytes each, mounted in its proxies and nowhere else. */
export interface NamespaceKeys {
  /** What approvals bind and hidden values are replaced with. */
  readonly digest: Uint8Array;
  /** Tokens of masking style Hash. */
  readonly masking: Uint8Array;
  /** What the replicas of one proxy know each other by. */
  readonly peers: Uint8Array;
}

const keyBytes = 32;

/**
 * Reads the mounted keys.
 *
 * @returns null while they are not all there: the kubelet fills an optional volume when its Secret is made.
 * @throws SallyportError CONFIG_INVALID when a file holds something else than 32 bytes.
 */
export async function readNamespaceKeys(directory: string): Promise<NamespaceKeys | null> {
  const [digest, masking, peers] = await Promise.all((['digest', 'masking', 'peers'] as const).map((name) => readKey(directory, name)));
  return digest && masking && peers ? { digest, masking, peers } : null;
}

async function readKey(directory: string, name: string): Promise<Uint8Array | null> {
  const bytes = await readFile(join(directory, name)).catch((error: unknown) => {
    if (typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  });
  if (bytes !== null && bytes.length !== keyBytes) throw new SallyportError('CONFIG_INVALID', { file: name, reason: `not ${keyBytes} bytes` });
  return bytes;
}
