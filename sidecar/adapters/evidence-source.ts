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

/** Opens a data directory. Only what evidence consists of is listed. */
export function openDirectory(dataDirectory: string): EvidenceSource {
  const paths: string[] = [];
  for (const top of ['log', 'recordings']) walk(dataDirectory, top, paths);
  const known = new Set(paths);
  return {
    kind: 'directory', paths: paths.sort(),
    stream: (path) => fs.createReadStream(join(dataDirectory, path), { highWaterMark: 1_048_576 }),
    read: async (path, maxBytes) => {
      if (!known.has(path)) return null;
      const full = join(dataDirectory, path);
      if ((await fs.promises.stat(full)).size > maxBytes) throw new RangeError(`${path} is larger than ${maxBytes} bytes`);
      return fs.promises.readFile(full);
    },
    close: () => undefined,
  };
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
    else if (entry.isFile() && /\.(ndjson|bin|note|vkey|sqlrec|gz)$/.test(entry.name)) into.push(`${path}/${entry.name}`);
  }
}
