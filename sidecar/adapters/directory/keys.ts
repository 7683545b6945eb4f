import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SallyportError } from '../../core/errors.ts';
import { createOnlyFile } from './create-only-file.ts';

const keyBytes = 32;

/**
 * Reads a key of this installation from `<data>/keys/<name>.key`, or makes it on the first start (32 random bytes as hex, mode 0600).
 *
 * Two keys exist: `digest` (what approvals bind and hidden values are replaced with) and `masking` (tokens of style Hash). Losing `masking` changes every token.
 * @throws SallyportError CONFIG_INVALID when the file holds something else.
 */
export async function readOrCreateKey(dataDirectory: string, name: 'digest' | 'masking'): Promise<Uint8Array> {
  const directory = join(dataDirectory, 'keys');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, `${name}.key`);
  await createOnlyFile(path, `${randomBytes(keyBytes).toString('hex')}\n`);
  const text = (await readFile(path, 'utf8')).trim();
  if (!/^[0-9a-f]{64}$/.test(text)) throw new SallyportError('CONFIG_INVALID', { file: `keys/${name}.key`, reason: 'not 64 hexadecimal digits' });
  return Buffer.from(text, 'hex');
}
