import { hash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { SallyportError } from '../core/errors.ts';
import { parseCheckpointBody, splitNotes } from '../core/recording/checkpoint.ts';
import { MerkleTree } from '../core/recording/merkle.ts';
import { type OpenSession, OpenSessions } from '../core/recording/open-sessions.ts';
import { objectAt, readRecord, textAt } from '../core/recording/record-view.ts';
import type { LogEnd } from './audit-log.ts';
import { readLines } from './line-reader.ts';
import { logOwner } from './log-owner.ts';

/** What earlier processes left behind. */
export interface Leftovers {
  /** The newest log's end, null on a fresh directory. */
  readonly previous: LogEnd | null;
  /** Logs without `log.closed` that no later log has recovered. */
  readonly logs: readonly { readonly logId: string; readonly end: LogEnd; readonly tornBytes: number }[];
  readonly sessions: readonly OpenSession[];
}

/** A file in a log's directory that tells the next start not to read it again. Only a hint: `verify` does not look at it. */
export const settledMark = 'settled';

/**
 * Reads the logs that were not closed, oldest first.
 *
 * @throws SallyportError `CONFIG_INVALID` when a living process writes one of them: two gateways on one data directory would break both chains.
 */
export async function readLeftovers(logsDirectory: string): Promise<Leftovers> {
  const found = logIds(logsDirectory);
  const sessions = new OpenSessions();
  const open = new Map<string, { readonly logId: string; readonly end: LogEnd; readonly tornBytes: number }>();
  let previous: LogEnd | null = null;
  for (const logId of found) {
    const directory = join(logsDirectory, logId);
    const owner = logOwner(directory);
    if (owner.alive && !owner.mine) {
      if (logId.startsWith('cli-')) continue;
      throw new SallyportError('CONFIG_INVALID', { reason: 'another gateway is running on this data directory' });
    }
    if (fs.existsSync(join(directory, settledMark))) {
      previous = lastCheckpoint(directory) ?? previous;
      continue;
    }
    const log = await readLog(directory, sessions);
    for (const origin of log.recovered) open.delete(origin);
    if (log.end === null) continue;
    if (!log.closed) open.set(log.end.origin, { logId, end: log.end, tornBytes: log.tornBytes });
    previous = log.end;
  }
  return { previous, logs: [...open.values()], sessions: sessions.list() };
}

/** Names of all log directories, oldest first. A command's own log (`cli-…`) sorts by its time too. */
export function logIds(logsDirectory: string): readonly string[] {
  if (!fs.existsSync(logsDirectory)) return [];
  return fs.readdirSync(logsDirectory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'keys')
    .map((entry) => entry.name)
    .sort(byTime);
}

/** Orders log ids by the time in their ULID. */
export function byTime(a: string, b: string): number {
  const left = a.replace(/^cli-/, '');
  const right = b.replace(/^cli-/, '');
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Names of a log's record files, in order. */
export function segmentNames(directory: string): readonly string[] {
  return fs.readdirSync(directory).filter((name) => /^\d{8}\.ndjson$/.test(name)).sort();
}

async function readLog(directory: string, sessions: OpenSessions): Promise<{ readonly end: LogEnd | null; readonly closed: boolean; readonly tornBytes: number; readonly recovered: readonly string[] }> {
  const tree = new MerkleTree();
  const recovered: string[] = [];
  let origin: string | null = null;
  let closed = false;
  let tornBytes = 0;
  for (const name of segmentNames(directory)) {
    for await (const batch of readLines(fs.createReadStream(join(directory, name), { highWaterMark: 1_048_576 }))) {
      for (const line of batch.lines) {
        const digest = hash('sha256', line, 'hex');
        tree.append(digest);
        const record = readRecord(line.toString('utf8'));
        if (record === null) continue;
        origin ??= record.origin;
        closed = record.code === 'log.closed';
        if (record.code === 'log.recovered') recovered.push(textAt(objectAt(record.evidence, 'log'), 'origin') ?? '');
        sessions.feed(record, digest);
      }
      tornBytes = batch.torn?.length ?? 0;
    }
  }
  return { end: origin === null ? null : { origin, size: tree.size, root: tree.root() }, closed, tornBytes, recovered };
}

function lastCheckpoint(directory: string): LogEnd | null {
  try {
    const note = splitNotes(fs.readFileSync(join(directory, 'checkpoints.note'), 'utf8')).at(-1) ?? '';
    return parseCheckpointBody(note.slice(0, note.lastIndexOf('\n\n') + 1));
  } catch {
    return null;
  }
}
