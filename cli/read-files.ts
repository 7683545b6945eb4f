import { constants } from 'node:fs';
import { open, readdir, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import type { FileProblem } from './file-problem.ts';

/** Text of one file of a config directory; null when it cannot be used, `problem` then says why. */
export interface ConfigFile {
  /** The directory as given, and the name: what a person can open. */
  readonly file: string;
  readonly text: string | null;
  readonly problem: FileProblem | null;
}

const maxFiles = 1_000;
const maxFileBytes = 1_048_576;
const maxTotalBytes = 33_554_432;

/**
 * Reads `*.yaml` and `*.yml` of a directory, in the order of their names; not its sub-directories, as `kubectl apply -f DIR` does, and no hidden files.
 *
 * A symbolic link is followed when it stays inside the directory (a mounted ConfigMap links every file to `..data/`), else it is a problem.
 * At most 1,000 files, 1 MiB each, 32 MiB together; regular files only.
 *
 * @returns `unreadable` instead of files when the directory itself cannot be used.
 */
export async function readConfigFiles(dir: string): Promise<{ readonly files: readonly ConfigFile[]; readonly unreadable: FileProblem | null }> {
  let names: readonly string[];
  let root: string;
  try {
    root = await realpath(dir);
    names = (await readdir(dir)).filter((name) => /^[^.].*\.ya?ml$/.test(name)).sort();
  } catch (error) {
    return { files: [], unreadable: problem(dir, `the directory cannot be read: ${codeOf(error)}`) };
  }
  if (names.length > maxFiles) return { files: [], unreadable: problem(dir, `${names.length} files, more than ${maxFiles}`) };
  const files: ConfigFile[] = [];
  let left = maxTotalBytes;
  for (const name of names) {
    const read = await readBounded(root, join(dir, name), Math.min(maxFileBytes, left));
    left -= read.text === null ? 0 : Buffer.byteLength(read.text);
    files.push(read);
  }
  return { files, unreadable: null };
}

async function readBounded(root: string, file: string, limitBytes: number): Promise<ConfigFile> {
  try {
    const target = await realpath(file);
    if (!target.startsWith(root.endsWith(sep) ? root : root + sep)) return refused(file, 'the link leaves the directory');
    // Without blocking: opening a pipe would otherwise wait for its writer.
    await using handle = await open(target, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = await handle.stat();
    if (!stat.isFile()) return refused(file, 'not a regular file');
    if (stat.size > limitBytes) return refused(file, limitBytes === maxFileBytes ? `${stat.size} bytes, more than ${maxFileBytes}` : `the files have more than ${maxTotalBytes} bytes together`);
    // One byte more than announced shows that the file is being written.
    const buffer = Buffer.alloc(stat.size + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length);
      length += bytesRead;
      if (bytesRead === 0 || length === buffer.length) break;
    }
    if (length !== stat.size) return refused(file, 'the file changed while it was read');
    return { file, text: new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, length)), problem: null };
  } catch (error) {
    return refused(file, codeOf(error) === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? 'not UTF-8' : `the file cannot be read: ${codeOf(error)}`);
  }
}

function refused(file: string, message: string): ConfigFile {
  return { file, text: null, problem: problem(file, message) };
}

function problem(file: string, message: string): FileProblem {
  return { severity: 'rejected', file, line: 1, column: 1, field: '', message };
}

/** `ENOENT` and the like: the rest of the message would repeat the path. */
function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : 'unknown error';
}
