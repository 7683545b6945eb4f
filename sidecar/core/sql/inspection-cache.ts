import { createHash } from 'node:crypto';
import type { InspectedQuery } from './statement-facts.ts';

/** What an inspection depends on beside the text. */
export interface InspectionKey {
  readonly text: string;
  readonly catalogEpoch: string;
  readonly database: string;
  /** Null when the path is not known: such inspections are kept too, they refuse the same names. */
  readonly searchPath: readonly string[] | null;
  readonly temporaryRelations: ReadonlySet<string>;
  /** Relations of the open transaction, as in NameScope. */
  readonly createdInTransaction?: ReadonlySet<string>;
  /** As in NameScope. */
  readonly pathEndsWithTransaction?: boolean;
  /** Digest of the masking rules and detectors; empty without masking. */
  readonly maskingDigest: string;
}

/** Remembers inspections, least recently used first out. */
export interface InspectionCache {
  get(key: InspectionKey): InspectedQuery | null;
  set(key: InspectionKey, inspected: InspectedQuery): void;
  /** For metrics: entries and estimated bytes. */
  size(): { readonly entries: number; readonly bytes: number };
}

/** Enough for the distinct statements of a busy application. */
export const defaultInspectionLimits: InspectionLimits = { entries: 5_000, bytes: 32 * 1024 * 1024 };

/** Bounds of the cache, in entries and bytes. */
export interface InspectionLimits {
  readonly entries: number;
  readonly bytes: number;
}

/** A text above 256 bytes is kept as its SHA-256, so that long statements do not fill the cache with themselves. */
export function createInspectionCache(limits: InspectionLimits = defaultInspectionLimits): InspectionCache {
  const entries = new Map<string, { readonly inspected: InspectedQuery; readonly bytes: number }>();
  let bytes = 0;
  const remove = (name: string): void => {
    bytes -= entries.get(name)?.bytes ?? 0;
    entries.delete(name);
  };
  return {
    get(key) {
      const name = nameOf(key);
      const entry = entries.get(name);
      if (entry === undefined) return null;
      entries.delete(name);
      entries.set(name, entry);
      return entry.inspected;
    },
    set(key, inspected) {
      const name = nameOf(key);
      const entry = { inspected, bytes: name.length * 2 + estimateBytes(inspected) };
      if (entry.bytes > limits.bytes) return;
      remove(name);
      entries.set(name, entry);
      bytes += entry.bytes;
      for (const oldest of entries.keys()) {
        if (entries.size <= limits.entries && bytes <= limits.bytes) break;
        remove(oldest);
      }
    },
    size: () => ({ entries: entries.size, bytes }),
  };
}

function nameOf({ text, catalogEpoch, database, searchPath, temporaryRelations, createdInTransaction, pathEndsWithTransaction, maskingDigest }: InspectionKey): string {
  const path = `${searchPath === null ? '?' : JSON.stringify(searchPath)}${pathEndsWithTransaction === true ? '!' : ''}`;
  const temporary = temporaryRelations.size === 0 ? '' : JSON.stringify([...temporaryRelations].sort());
  const created = createdInTransaction === undefined || createdInTransaction.size === 0 ? '' : JSON.stringify([...createdInTransaction].sort());
  // 256 characters are at most 768 bytes; the text goes last because it may hold anything.
  const content = text.length <= 256 ? `t${text}` : `h${createHash('sha256').update(text).digest('base64')}`;
  return [catalogEpoch, JSON.stringify(database), path, temporary, created, maskingDigest, content].join('\u0000');
}

/** UTF-16 bytes of the texts plus a flat sum per object: what counts is that it grows with the statement. */
function estimateBytes(inspected: InspectedQuery): number {
  if (inspected.outcome === 'unreadable') return 200 + 2 * inspected.redactedText.length;
  return inspected.statements.reduce((sum, statement) => sum + estimateStatement(statement), 100);
}

function estimateStatement(statement: Extract<InspectedQuery, { readonly outcome: 'read' }>['statements'][number]): number {
  const names = [...statement.objects, ...statement.calls].reduce((sum, name) => sum + 2 * name.length + 40, 0);
  const pairs = statement.pairs.reduce((sum, pair) => sum + 200 + 200 * (pair.ancestors?.length ?? 0), 0);
  const inner = statement.effect?.kind === 'prepare' || statement.effect?.kind === 'declare' ? 1 : 0;
  const columns = statement.masking.outcome === 'columns' ? 60 * statement.masking.columns.length : 0;
  return (600 + 2 * statement.redactedText.length + names + pairs + columns + 8 * statement.maskedParameters.length) * (1 + inner);
}
