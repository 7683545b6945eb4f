import { isObject } from '../../sidecar/core/recording/record-view.ts';

/** One line of a sqlrec/1 recording. */
export interface RecordedEvent {
  /** Since the line before, ms. */
  readonly waitMs: number;
  readonly code: string;
  readonly statement: number;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Reads an event line; null when it is damaged. Unknown codes are kept, for the reader to skip. */
export function parseEvent(line: string): RecordedEvent | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  if (!Array.isArray(value)) return null;
  const [waitMs, code, statement, data] = value as unknown[];
  if (typeof waitMs !== 'number' || typeof code !== 'string' || typeof statement !== 'number' || !isObject(data)) return null;
  return { waitMs: Math.max(0, waitMs), code, statement, data };
}
