import { randomUUID } from 'node:crypto';
import { link, open, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/**
 * Writes a file that is never changed afterwards: whole and synced to disk before it gets its name, mode 0600.
 *
 * @returns 'exists' when the name is taken; then nothing changed. Of two writers at once exactly one gets 'created'.
 * @throws the file system's error; the name then does not exist, or the file is whole.
 */
export async function createOnlyFile(path: string, content: string): Promise<'created' | 'exists'> {
  const draft = join(dirname(path), `.${randomUUID()}.tmp`);
  try {
    await writeSynced(draft, content);
    // link(2) fails when the name exists, which rename(2) does not; and the name never shows half a file, which O_EXCL alone would.
    await link(draft, path);
  } catch (error) {
    if (isCode(error, 'EEXIST')) return 'exists';
    throw error;
  } finally {
    await unlink(draft).catch(() => {});
  }
  await syncDirectory(dirname(path));
  return 'created';
}

/** Makes names in a directory durable. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function writeSynced(path: string, content: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(content, 'utf8');
    await file.sync();
  } finally {
    await file.close();
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
