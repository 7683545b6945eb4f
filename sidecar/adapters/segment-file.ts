import { join } from 'node:path';
import { SallyportError } from '../core/errors.ts';
import type { FileLayer } from './file-layer.ts';
import { codeOf, type GuardedStorage } from './guarded-storage.ts';

/** A `fdatasync` that has not returned by then counts as failed. */
export const syncTimeoutMs: number = 30_000;

/**
 * The numbered files of one log, `00000000.ndjson` and on. One writer, appending only.
 *
 * Appends are synchronous: a write(2) into the page cache takes 6 us for a 2 KB line, an asynchronous one over 40 us for the trip through the
 * thread pool, and the command that waits for it would pay that as latency. fdatasync is asynchronous and shared by all that wait (group commit).
 */
export class SegmentFile {
  readonly #files: FileLayer;
  readonly #storage: GuardedStorage;
  readonly #directory: string;
  readonly #limitBytes: number;
  #fd: number;
  #number = 0;
  #bytes = 0;
  #retired: number[] = [];
  #group: PromiseWithResolvers<void> | null = null;
  #syncing: Promise<void> | null = null;
  #failure: SallyportError | null = null;

  constructor(files: FileLayer, storage: GuardedStorage, directory: string, limitBytes: number) {
    this.#files = files;
    this.#storage = storage;
    this.#directory = directory;
    this.#limitBytes = limitBytes;
    this.#fd = this.#open();
  }

  /** Appends complete lines. @throws as GuardedStorage.write. */
  append(lines: string): void {
    if (this.#failure !== null) throw this.#failure;
    if (this.#bytes >= this.#limitBytes) this.#rotate();
    this.#bytes += Buffer.byteLength(lines);
    this.#storage.write(this.#fd, lines);
  }

  /** Resolves when everything appended so far is on the disk. One sync runs at a time; who comes meanwhile shares the next one. @throws SallyportError `RECORDER_FAILED`, for ever after. */
  sync(): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    this.#group ??= Promise.withResolvers<void>();
    const waiting = this.#group.promise;
    this.#syncing ??= this.#syncGroups();
    return waiting;
  }

  /** Closes the files; a running sync is awaited. */
  async close(): Promise<void> {
    await this.#syncing;
    for (const fd of [...this.#retired, this.#fd]) this.#files.close(fd);
    this.#retired = [];
    this.#failure ??= new SallyportError('RECORDER_FAILED', { reason: 'closed' });
  }

  async #syncGroups(): Promise<void> {
    while (this.#group !== null) {
      const group = this.#group;
      this.#group = null;
      const retired = this.#retired;
      this.#retired = [];
      try {
        for (const fd of retired) {
          await withTimeout(this.#files.datasync(fd));
          this.#files.close(fd);
        }
        await withTimeout(this.#files.datasync(this.#fd));
        group.resolve();
      } catch (error) {
        // Final: after a failed fdatasync the kernel may have dropped the pages, and a later success proves nothing.
        this.#failure = new SallyportError('RECORDER_FAILED', { reason: codeOf(error) }, { cause: error });
        group.reject(this.#failure);
      }
    }
    this.#syncing = null;
  }

  #rotate(): void {
    let next: number;
    this.#number += 1;
    try {
      next = this.#open();
    } catch (error) {
      // No new file, for instance no inode left: the old one goes on past its size.
      this.#number -= 1;
      if (codeOf(error) === 'EEXIST') throw new SallyportError('RECORDER_FAILED', { reason: 'EEXIST' }, { cause: error });
      return;
    }
    this.#retired.push(this.#fd);
    this.#fd = next;
    this.#bytes = 0;
    this.sync().catch(() => {
      // Kept in #failure: the next append throws it.
    });
  }

  #open(): number {
    const fd = this.#files.openAppend(join(this.#directory, `${String(this.#number).padStart(8, '0')}.ndjson`), true);
    this.#files.syncDirectory(this.#directory);
    return fd;
  }
}

async function withTimeout(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(Object.assign(new Error('fdatasync did not return'), { code: 'ETIMEDOUT' })), syncTimeoutMs);
    timer.unref();
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
