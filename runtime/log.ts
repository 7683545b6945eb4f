/** Levels: error = a person must act, info = life cycle, debug = the rest. */
export type LogLevel = 'error' | 'info' | 'debug';

/** Writes JSON lines in three levels; fields are redacted and bounded. */
export interface Log {
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  /** Lines that a slow reader made us drop, since the start. */
  dropped(): number;
}

/** What a log is written to; process.stdout and process.stderr have this shape. */
export interface LogStream {
  readonly writableLength: number;
  write(text: string): unknown;
}

/** Level, stream and clock of a log. */
export interface LogOptions {
  readonly level: LogLevel;
  readonly stream: LogStream;
  /** Unix ms. */
  readonly now: () => number;
  /** Bytes that may wait for the reader of the stream; lines beyond are dropped and counted. */
  readonly maxWaitingBytes?: number;
}

/**
 * Writes JSON lines `{time, level, message, ...fields}`. Never throws and never waits: when the reader of the stream is slow, lines are dropped, and the next line that fits says how many.
 * Fields that are named like a credential are left out, tokens inside texts are cut out, long texts are cut at 2 KiB, bytes are shown as a length only.
 */
export function createLog(options: LogOptions): Log {
  const maxWaitingBytes = options.maxWaitingBytes ?? 1024 * 1024;
  let dropped = 0;
  let unreported = 0;
  const write = (level: LogLevel, message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
    if (rank[level] > rank[options.level]) return;
    // A pipe is written asynchronously (measured on Linux), so what the reader has not taken shows as writableLength.
    if (options.stream.writableLength > maxWaitingBytes) {
      dropped++;
      unreported++;
      return;
    }
    const missing = unreported === 0 ? {} : { droppedLines: unreported };
    unreported = 0;
    options.stream.write(`${toLine({ time: new Date(options.now()).toISOString(), level, message: cut(message), ...missing }, fields)}\n`);
  };
  return {
    error: (message, fields) => write('error', message, fields),
    info: (message, fields) => write('info', message, fields),
    debug: (message, fields) => write('debug', message, fields),
    dropped: () => dropped,
  };
}

/** Makes a value safe to log, as `createLog` does with each field. */
export function redactForLog(value: unknown, depth = 0): unknown {
  switch (typeof value) {
    case 'string':
      return cut(value);
    case 'number':
    case 'boolean':
      return value;
    case 'bigint':
      return value.toString();
    case 'object':
      break;
    default:
      return undefined;
  }
  if (value === null) return null;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  if (depth >= maxDepth) return '[deeper]';
  if (value instanceof Error) return redactError(value, depth);
  if (Array.isArray(value)) return value.slice(0, maxMembers).map((member) => redactForLog(member, depth + 1));
  const entries = value instanceof Map ? [...value.entries()].map(([key, member]) => [String(key), member] as const) : Object.entries(value);
  return Object.fromEntries(entries.slice(0, maxMembers).filter(([key]) => !isCredentialName(key)).map(([key, member]) => [key, redactForLog(member, depth + 1)]));
}

const rank = { error: 0, info: 1, debug: 2 } as const;
const maxTextLength = 2048;
const maxDepth = 4;
const maxMembers = 64;

function toLine(head: Readonly<Record<string, unknown>>, fields: Readonly<Record<string, unknown>>): string {
  try {
    const safe = redactForLog(fields) as Record<string, unknown>;
    return JSON.stringify({ ...head, ...safe, ...head });
  } catch {
    // A getter or a proxy of a foreign object threw.
    return JSON.stringify({ ...head, unloggable: true });
  }
}

function redactError(error: Error, depth: number): unknown {
  const code = 'code' in error && (typeof error.code === 'string' || typeof error.code === 'number') ? { code: error.code } : {};
  const detail = 'detail' in error && typeof error.detail === 'object' ? { detail: redactForLog(error.detail, depth + 1) } : {};
  const cause = error.cause === undefined ? {} : { cause: redactForLog(error.cause, depth + 1) };
  return { name: error.name, message: cut(error.message), ...code, ...detail, ...cause, stack: cut((error.stack ?? '').split('\n').slice(1, 8).join('\n')) };
}

/** JWS and JWE compact forms begin with base64url of `{"`; basic and bearer credentials name themselves. */
const credentialText = /\beyJ[\w-]{4,}\.[\w-]+(?:\.[\w-]*)*|\b(?:Bearer|Basic)\s+[\w+/=.~-]{8,}/gi;

function cut(text: string): string {
  // Cut first: the search then costs a bounded time. What the cut leaves of a token still begins as one.
  const short = text.length > maxTextLength ? `${text.slice(0, maxTextLength)}… (${text.length} characters)` : text;
  return short.replace(credentialText, '[credential]');
}

/** `password`, `clientSecret`, `access_token`, `authorization`; not `tokenId` or `secretName`, which name a thing and are not it. */
function isCredentialName(key: string): boolean {
  const words = key.replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2').toLowerCase().split(/[^a-z0-9]+/).filter((word) => word !== '');
  const last = words.at(-1) ?? '';
  return words.some((word) => /^(password|passwd|passphrase|authorization|cookie)s?$/.test(word)) || /^(token|secret|credential|jwt|privatekey)s?$/.test(last) || /private key$/.test(words.join(' '));
}
