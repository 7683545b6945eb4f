import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { SallyportError } from '../core/errors.ts';
import type { FileLayer } from './file-layer.ts';

/** `full`: the reserve is given up, only closing lines are written. */
export type StorageState = 'ready' | 'full';

/**
 * Writes whole texts, and keeps a reserve so that a full disk can still take the lines that close everything.
 * The reserve is random bytes, synced: zeros may be stored sparse and then hold no space.
 */
export class GuardedStorage {
  readonly #files: FileLayer;
  readonly #reservePath: string;
  readonly #reserveBytes: number;
  #state: StorageState = 'full';

  constructor(files: FileLayer, reservePath: string, reserveBytes: number) {
    this.#files = files;
    this.#reservePath = reservePath;
    this.#reserveBytes = reserveBytes;
  }

  get state(): StorageState {
    return this.#state;
  }

  /** Writes the reserve unless it stands already. @throws the file system's error, ENOSPC for example; nothing of the reserve is left then. */
  async reserve(): Promise<void> {
    if (!(await reserveStands(this.#reservePath, this.#reserveBytes))) await writeReserve(this.#reservePath, this.#reserveBytes);
    this.#state = 'ready';
  }

  /**
   * Writes all of `text` at the end of the file.
   *
   * @throws SallyportError `STORAGE_FULL` when the disk was full and the reserve was needed: all of the text is written then.
   * @throws SallyportError `RECORDER_FAILED` for every other failure: part of the text may be in the file.
   */
  write(fd: number, text: string | Uint8Array): void {
    const length = typeof text === 'string' ? Buffer.byteLength(text) : text.length;
    let rest: string | Uint8Array = text;
    let done = 0;
    let filled: unknown = null;
    while (done < length) {
      try {
        const written = this.#files.write(fd, rest);
        if (written <= 0) throw Object.assign(new Error('nothing was written'), { code: 'EIO' });
        done += written;
      } catch (error) {
        if (!isFull(error) || this.#state === 'full') throw new SallyportError('RECORDER_FAILED', { reason: codeOf(error) }, { cause: error });
        filled = error;
        this.#state = 'full';
        this.#files.remove(this.#reservePath);
      }
      // A short write is no error: the disk may have filled up in the middle, or a signal came.
      if (done < length) rest = (typeof text === 'string' ? Buffer.from(text) : text).subarray(done);
    }
    if (filled !== null) throw new SallyportError('STORAGE_FULL', { reason: codeOf(filled) }, { cause: filled });
  }
}

/** The system's name of an error, e.g. `ENOSPC`. */
export function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
}

function isFull(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

async function reserveStands(path: string, bytes: number): Promise<boolean> {
  try {
    const stats = await fs.promises.stat(path);
    // Blocks as well as length: a sparse file holds no space.
    return stats.size === bytes && stats.blocks * 512 >= bytes;
  } catch {
    return false;
  }
}

async function writeReserve(path: string, bytes: number): Promise<void> {
  const handle = await fs.promises.open(path, 'w', 0o600);
  try {
    for (let left = bytes; left > 0;) {
      const chunk = randomBytes(Math.min(left, 1_048_576));
      left -= (await handle.write(chunk)).bytesWritten;
    }
    await handle.sync();
  } catch (error) {
    await fs.promises.rm(path, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}
