/** A JSON object of unknown shape, read member by member. */
export type Json = Readonly<Record<string, unknown>>;

/** A stored record: the members that readers need, and the whole object. */
export interface RecordView {
  readonly code: string;
  /** Session, or null for events of the process. */
  readonly session: string | null;
  readonly uid: string;
  readonly timeMs: number;
  readonly origin: string;
  readonly logSeq: number;
  /** Null outside a session's chain. */
  readonly sessionSeq: number | null;
  /** Hex; null outside a session's chain. */
  readonly prevHash: string | null;
  readonly evidence: Json;
  readonly raw: Json;
}

/** Reads one stored line; null when it is not a record of ours. */
export function readRecord(line: string): RecordView | null {
  let raw: unknown;
  try {
    raw = JSON.parse(line);
  } catch {
    return null;
  }
  if (!isObject(raw)) return null;
  const metadata = objectAt(raw, 'metadata');
  const evidence = objectAt(raw, 'evidence');
  const integrity = objectAt(evidence, 'integrity');
  const code = textAt(metadata, 'event_code');
  const logSeq = countAt(integrity, 'log_seq');
  const origin = textAt(integrity, 'log_origin');
  const timeMs = raw['time'];
  if (code === null || logSeq === null || origin === null || typeof timeMs !== 'number') return null;
  const prev = textAt(integrity, 'prev_hash');
  return {
    code, session: textAt(metadata, 'correlation_uid'), uid: textAt(metadata, 'uid') ?? '', timeMs, origin, logSeq,
    sessionSeq: countAt(integrity, 'session_seq'), prevHash: prev === null ? null : prev.replace(/^sha256:/, ''), evidence, raw,
  };
}

/** The object under a key, or an empty one. */
export function objectAt(value: unknown, key: string): Json {
  const member = isObject(value) ? value[key] : undefined;
  return isObject(member) ? member : {};
}

/** The text under a key, or null. */
export function textAt(value: unknown, key: string): string | null {
  const member = isObject(value) ? value[key] : undefined;
  return typeof member === 'string' ? member : null;
}

/** A count that is stored as a number or as decimal text, or null. */
export function countAt(value: unknown, key: string): number | null {
  const member = isObject(value) ? value[key] : undefined;
  if (typeof member === 'number' && Number.isSafeInteger(member) && member >= 0) return member;
  return typeof member === 'string' && /^(0|[1-9][0-9]{0,15})$/.test(member) ? Number(member) : null;
}

/** The array under a key, or an empty one. */
export function listAt(value: unknown, key: string): readonly unknown[] {
  const member = isObject(value) ? value[key] : undefined;
  return Array.isArray(member) ? member : [];
}

/** True for a JSON object. */
export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
