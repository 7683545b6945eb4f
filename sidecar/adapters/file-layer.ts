import fs from 'node:fs';

/** The file calls that records depend on; tests put faults behind it. */
export interface FileLayer {
  /** Opens for appending; `fresh` refuses an existing file. */
  openAppend(path: string, fresh: boolean): number;
  /** One write(2); may be short. Returns bytes written. */
  write(fd: number, data: string | Uint8Array): number;
  datasync(fd: number): Promise<void>;
  /** Makes the names in a directory durable. */
  syncDirectory(path: string): void;
  close(fd: number): void;
  remove(path: string): void;
  /** Bytes free for us and bytes in all; null when the filesystem does not say. */
  space(path: string): { readonly freeBytes: number; readonly totalBytes: number } | null;
}

/** The real file system. */
export const nodeFiles: FileLayer = {
  openAppend: (path, fresh) => fs.openSync(path, fresh ? 'ax' : 'a', 0o600),
  write: (fd, data) => (typeof data === 'string' ? fs.writeSync(fd, data) : fs.writeSync(fd, data, 0, data.length)),
  datasync: (fd) => new Promise((resolve, reject) => {
    fs.fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
  }),
  syncDirectory: (path) => {
    const fd = fs.openSync(path, 'r');
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
  close: (fd) => fs.closeSync(fd),
  remove: (path) => fs.rmSync(path, { force: true }),
  space: (path) => {
    try {
      const stats = fs.statfsSync(path);
      return { freeBytes: stats.bavail * stats.bsize, totalBytes: stats.blocks * stats.bsize };
    } catch {
      return null;
    }
  },
};
