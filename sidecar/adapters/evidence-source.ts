import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';

/** Files of a data directory or of a pack, by their paths in it (`log/…`, `recordings/…`). */
export interface EvidenceSource {
  readonly kind: 'directory' | 'pack';
  /** Sorted. */
  readonly paths: readonly string[];
  /** Bytes of a file; throws when it does not exist. */
  stream(path: string): AsyncIterable<Uint8Array>;
  /** All of a file, or null when it does not exist. @throws RangeError over `maxBytes`. */
  read(path: string, maxBytes: number): Promise<Buffer | null>;
  close(): void;
}

/**
 * Opens a data directory as it is now: what a running gateway appends later is not seen. Only what evidence consists of is listed.
 * Lengths are taken of checkpoints and leaves first, so that the records hold at least what those say.
 */
export function openDirectory(dataDirectory: string): EvidenceSource {
  const paths: string[] = [];
  for (const top of ['log', 'recordings']) walk(dataDirectory, top, paths);
  const sizes = new Map<string, number>();
  for (const path of paths.sort((a, b) => order(a) - order(b))) {
    const size = sizeOf(join(dataDirectory, path));
    if (size !== null) sizes.set(path, size);
  }
  const stream = (path: string): AsyncIterable<Uint8Array> => {
    const size = sizes.get(path);
    if (size === undefined) throw new Error(`${path} does not exist`);
    return size === 0 ? nothing() : fs.createReadStream(join(dataDirectory, path), { end: size - 1, highWaterMark: 1_048_576 });
  };
  return { kind: 'directory', paths: [...sizes.keys()].sort(), stream, read: (path, maxBytes) => readWhole(sizes.get(path), stream, path, maxBytes), close: () => undefined };
}

/** All of a file of known length as one buffer; null when it does not exist. */
export async function readWhole(size: number | undefined, stream: (path: string) => AsyncIterable<Uint8Array>, path: string, maxBytes: number): Promise<Buffer | null> {
  if (size === undefined) return null;
  if (size > maxBytes) throw new RangeError(`${path} is larger than ${maxBytes} bytes`);
  const parts: Uint8Array[] = [];
  for await (const part of stream(path)) parts.push(part);
  return Buffer.concat(parts);
}

/** SHA-256 of a file, hex, and its length. */
export async function digestOf(source: EvidenceSource, path: string): Promise<{ readonly sha256: string; readonly bytes: number }> {
  const digest = createHash('sha256');
  let bytes = 0;
  for await (const chunk of source.stream(path)) {
    digest.update(chunk);
    bytes += chunk.length;
  }
  return { sha256: digest.digest('hex'), bytes };
}

/** Ids of the logs in a source, oldest first. */
export function logsIn(source: EvidenceSource): readonly string[] {
  const ids = new Set(source.paths.map((path) => /^log\/([^/]+)\/(\d{8}\.ndjson|leaves\.bin|checkpoints\.note)$/.exec(path)?.[1]).filter((id) => id !== undefined));
  const time = (id: string): string => id.replace(/^cli-/, '');
  return [...ids].sort((a, b) => (time(a) < time(b) ? -1 : 1));
}

function walk(root: string, path: string, into: string[]): void {
  let entries: fs.Dirent[];
  try {
    entries = fs.readdirSync(join(root, path), { withFileTypes: true });
  } catch (error) {
    if (path.includes('/') || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return;
  }
  for (const entry of entries) {
    if (entry.isDirectory()) walk(root, `${path}/${entry.name}`, into);
    else if (entry.isFile() && /\.(ndjson|bin|note|vkey|sqlrec|cast|gz)$/.test(entry.name)) into.push(`${path}/${entry.name}`);
  }
}

function order(path: string): number {
  return path.endsWith('.note') ? 0 : path.endsWith('.bin') ? 1 : path.endsWith('.vkey') ? 2 : path.startsWith('log/') ? 3 : 4;
}

/** Null when the file is gone: a recording is renamed when its session ends. */
function sizeOf(path: string): number | null {
  try {
    return fs.statSync(path).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
