import type { CastHeader, SessionSubject } from '../../../contract/audit.ts';

/** Bytes of recordings that a session may still store; shared by its channels. */
export interface CastBudget {
  left: number;
  readonly limit: number;
}

/** What a recording counted, whether it stored it or not. */
export interface CastCounts {
  readonly outputBytes: number;
  /** Bytes of output that the recording does not hold. */
  readonly droppedBytes: number;
}

/** audit.md section 4: per session. */
export const castSessionBytes: number = 268_435_456;

/**
 * The lines of one asciicast v3 recording, buffered until `take`: a header, then `[interval_s, code, data]`. Codes: `o` output, `r` "COLSxROWS", `m` marker,
 * `x` exit status; `e` before an `o` says that this one came from standard error (readers skip codes that they do not know). Input is never recorded.
 */
export class Asciicast {
  readonly #budget: CastBudget;
  readonly #stores: boolean;
  readonly #startedMs: number;
  readonly #decoders: Readonly<Record<'stdout' | 'stderr', Decoder>> = { stdout: streaming(), stderr: streaming() };
  #lastMs = 0;
  #pending = '';
  #outputBytes = 0;
  #droppedBytes = 0;
  #full = false;

  /** @param startedMs monotonic clock at the start, ms; every later `nowMs` is of the same clock. `startedAtMs` is the wall clock then. */
  constructor(header: CastHeader, subject: SessionSubject, place: { readonly origin: string; readonly startedMs: number; readonly startedAtMs: number }, budget: CastBudget) {
    this.#budget = budget;
    this.#stores = subject.recording.content === 'Full';
    this.#startedMs = place.startedMs;
    this.#push(headerJson(header, subject, place));
  }

  /** True when `take` has something. */
  get dirty(): boolean {
    return this.#pending !== '';
  }

  /** UTF-16 units that wait for `take`. */
  get pendingLength(): number {
    return this.#pending.length;
  }

  get counts(): CastCounts {
    return { outputBytes: this.#outputBytes, droppedBytes: this.#droppedBytes };
  }

  /** Everything since the last call as complete lines; empty when there is nothing. */
  take(): string {
    const text = this.#pending;
    this.#pending = '';
    return text;
  }

  /** Output as the user gets it, cut anywhere: each stream has its own decoder, so that a character in two packets is one. */
  output(nowMs: number, bytes: Uint8Array, stream: 'stdout' | 'stderr' = 'stdout'): void {
    this.#outputBytes += bytes.length;
    if (!this.#stores || this.#full) {
      this.#droppedBytes += bytes.length;
      return;
    }
    for (let at = 0; at < bytes.length; at += pieceBytes) this.#text(nowMs, this.#decoders[stream].decode(bytes.subarray(at, at + pieceBytes), { stream: true }), stream, Math.min(pieceBytes, bytes.length - at));
  }

  resize(nowMs: number, columns: number, rows: number): void {
    this.#event(nowMs, 'r', `${size(columns)}x${size(rows)}`);
  }

  /** A name for this moment, at most 1,024 characters. */
  marker(nowMs: number, label: string): void {
    this.#event(nowMs, 'm', label.slice(0, 1024));
  }

  exit(nowMs: number, status: number): void {
    this.#event(nowMs, 'x', String(status));
  }

  /** What is left of characters that never came whole. */
  end(nowMs: number): void {
    for (const stream of ['stdout', 'stderr'] as const) if (!this.#full) this.#text(nowMs, this.#decoders[stream].decode(), stream, 0);
  }

  #text(nowMs: number, text: string, stream: 'stdout' | 'stderr', bytes: number): void {
    if (this.#full) {
      this.#droppedBytes += bytes;
      return;
    }
    if (text === '') return;
    const line = JSON.stringify(text);
    if (Buffer.byteLength(line) + 64 > this.#budget.left) {
      this.#full = true;
      this.#droppedBytes += bytes;
      this.marker(nowMs, `sallyport: recording stopped at the limit of ${this.#budget.limit} bytes per session; the session went on`);
      return;
    }
    if (stream === 'stderr') this.#event(nowMs, 'e', 'stderr');
    this.#line(nowMs, 'o', line);
  }

  #event(nowMs: number, code: string, data: string): void {
    this.#line(nowMs, code, JSON.stringify(data));
  }

  #line(nowMs: number, code: string, data: string): void {
    // Counted from the start in whole milliseconds, so that rounding never adds up to a drift.
    const ms = Math.max(this.#lastMs, Math.round(nowMs - this.#startedMs));
    const interval = ms - this.#lastMs;
    this.#lastMs = ms;
    this.#push(`[${interval / 1000},"${code}",${data}]`);
  }

  #push(line: string): void {
    this.#budget.left -= Buffer.byteLength(line) + 1;
    this.#pending += `${line}\n`;
  }
}

const pieceBytes = 65_536;

function headerJson(header: CastHeader, subject: SessionSubject, place: { readonly origin: string; readonly startedAtMs: number }): string {
  const { terminal } = header;
  return JSON.stringify({
    version: 3,
    term: { cols: size(terminal?.columns ?? 80), rows: size(terminal?.rows ?? 24), ...(terminal === null || terminal.type === '' ? {} : { type: terminal.type.slice(0, 64) }) },
    timestamp: Math.floor(place.startedAtMs / 1000),
    title: header.title.slice(0, 256),
    ...(header.command === null ? {} : { command: header.command }),
    tags: ['sallyport', subject.target.name],
    ...(Object.keys(header.environment).length === 0 ? {} : { env: header.environment }),
    sallyport: {
      session: subject.sessionId, channel: header.channel, log_origin: place.origin, target: subject.target.name, account: subject.target.database, user: subject.identity.username,
      policies: subject.policies.map(({ name, uid, generation }) => ({ name, uid, generation })), content: subject.recording.content, pty: terminal !== null,
      notice: 'what was shown, masked; output cannot prove which programs ran',
    },
  });
}

/** Columns and rows come from the client. */
function size(cells: number): number {
  return Math.min(65_535, Math.max(1, Math.trunc(cells) || 1));
}

type Decoder = InstanceType<typeof TextDecoder>;

function streaming(): Decoder {
  return new TextDecoder('utf-8', { ignoreBOM: true });
}
