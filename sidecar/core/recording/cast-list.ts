import { createHash, type Hash } from 'node:crypto';
import type { SessionSeal } from '../../../contract/audit.ts';
import { type RecordingSeal, sealJson } from './ocsf-parts.ts';

/** The recording of one channel, closed. */
export interface SealedCast {
  readonly channel: number;
  readonly uri: string;
  /** With the prefix `sha256:`. */
  readonly sha256: string;
  readonly bytes: number;
  /** Null where crash recovery closed it. */
  readonly outputBytes: number | null;
  readonly droppedBytes: number | null;
}

/** Recordings of a session as one event names them. */
export interface CastList {
  /** Of the session so far, those of earlier events included. */
  readonly count: number;
  readonly listed: readonly SealedCast[];
}

/** Recordings that one event has room for. */
export const castsPerEvent = 100;

/** The name of a channel's recording while it is written. */
export function castName(sessionId: string, channel: number): string {
  return `${sessionId}.${channel}.cast`;
}

/** Channel of a recording's file name, null for other files. */
export function castChannel(sessionId: string, name: string): number | null {
  const found = /^([A-Za-z0-9_-]{1,64})\.(\d{1,9})\.cast(?:\.gz)?$/.exec(name);
  return found?.[1] === sessionId ? Number(found[2]) : null;
}

/** `evidence.recording` of an SSH session: `uri`, `sha256`, `bytes` of the only recording, and the list. */
export function castsJson(sessionId: string, casts: CastList): Readonly<Record<string, unknown>> {
  const only = casts.count === 1 ? casts.listed[0] ?? null : null;
  return {
    uid: sessionId, format: 'asciicast/3', ...sealJson(only), count: casts.count,
    casts: casts.listed.map((cast) => ({
      channel: cast.channel, ...sealJson(cast), output_bytes: cast.outputBytes === null ? null : String(cast.outputBytes), dropped_bytes: cast.droppedBytes === null ? null : String(cast.droppedBytes),
    })),
  };
}

/** Collects the sealed recordings of a session; holds no more than one event names. */
export class CastCollector {
  #listed: SealedCast[] = [];
  #count: number;
  readonly #digest: Hash = createHash('sha256');

  /** @param before recordings that were named earlier. */
  constructor(before: number = 0) {
    this.#count = before;
  }

  /** @returns recordings that have to be named by an event now, because no more can be held. */
  add(cast: SealedCast): CastList | null {
    this.#count += 1;
    this.#listed.push(cast);
    this.#digest.update(`${cast.sha256.replace(/^sha256:/, '')}  ${cast.uri.split('/').at(-1) ?? ''}\n`);
    if (this.#listed.length < castsPerEvent) return null;
    return this.take();
  }

  /** What no event has named yet. */
  take(): CastList {
    const listed = this.#listed;
    this.#listed = [];
    return { count: this.#count, listed };
  }

  /** For the summary of the session: the only recording, or the digest of the list of all, as `sha256sum` prints it. Call before `take`, once. */
  summary(sessionId: string): SessionSeal['recording'] {
    const only = this.#count === 1 ? this.#listed[0] : undefined;
    if (this.#count === 0) return null;
    if (only !== undefined) return { uri: only.uri, sha256: only.sha256.replace(/^sha256:/, ''), format: 'asciicast/3' };
    return { uri: `recordings/${sessionId}.*.cast.gz`, sha256: this.#digest.digest('hex'), format: 'asciicast/3' };
  }
}

/** The seal of a file with what was counted. */
export function sealedCast(channel: number, seal: RecordingSeal, counts: { readonly outputBytes: number; readonly droppedBytes: number } | null): SealedCast {
  return { channel, ...seal, outputBytes: counts?.outputBytes ?? null, droppedBytes: counts?.droppedBytes ?? null };
}
