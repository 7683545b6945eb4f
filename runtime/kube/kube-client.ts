/** A kind as the API server serves it. */
export interface KubeKind {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

/** What every object has. Raw JSON: times are strings, nothing is a class. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: KubeMetadata;
  readonly spec?: unknown;
  readonly status?: unknown;
}

/** The metadata that we read. */
export interface KubeMetadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly { readonly apiVersion: string; readonly kind: string; readonly name: string; readonly uid: string; readonly controller?: boolean; readonly blockOwnerDeletion?: boolean }[];
}

/** A page of a list, or all of it. */
export interface KubeList<T extends KubeObject> {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly T[];
}

/** One request. */
export interface KubeRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Absolute path without query, each segment already encoded; `pathOf` makes it. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Default: application/json. */
  readonly contentType?: string;
  /** Default: application/json. */
  readonly accept?: string;
  /** Default 15 s from the first byte sent to the last byte read. Not for streams. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Called right before the request is sent; what it throws stops it. For checks that must not be older than the request. */
  readonly beforeSend?: () => void;
}

/** One watch. */
export interface KubeStreamRequest extends KubeRequest {
  readonly idleMs: number;
  /** Told when the server has accepted the watch: a quiet kind sends nothing for a minute. */
  readonly onOpen?: () => void;
}

/**
 * An API server, spoken to over few pooled HTTP/1.1 connections; credentials and CA are read anew when their files change.
 *
 * Every method throws `KubeError`: `status` is the HTTP status (0 when no answer came), `reason` is the Status object's (`NotFound`, `Conflict`, `Expired`, …).
 */
export interface KubeClient {
  /** Sends a request and returns the JSON of its answer; at most 64 MiB. */
  request(request: KubeRequest): Promise<unknown>;
  /** Opens a watch: yields its lines as parsed JSON. Ends when the server ends it; throws when it breaks, when `idleMs` pass without a byte, or when the signal aborts. */
  stream(request: KubeStreamRequest): AsyncIterable<unknown>;
  close(): Promise<void>;
}

/** An answer that is not 2xx, or none at all. */
export class KubeError extends Error {
  override readonly name = 'KubeError';
  readonly status: number;
  readonly reason: string;
  readonly retryAfterMs: number | null;

  constructor(input: { readonly status: number; readonly reason: string; readonly message: string; readonly retryAfterMs?: number | null; readonly cause?: unknown }) {
    super(input.message, input.cause === undefined ? {} : { cause: input.cause });
    this.status = input.status;
    this.reason = input.reason;
    this.retryAfterMs = input.retryAfterMs ?? null;
  }
}

/** Path of a kind's collection, an object, or its subresource. */
export function pathOf(kind: KubeKind, namespace: string | null, name?: string, subresource?: string): string {
  const root = kind.group === '' ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
  const scope = kind.namespaced && namespace !== null ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${root}${scope}/${kind.plural}${name === undefined ? '' : `/${encodeURIComponent(name)}`}${subresource === undefined ? '' : `/${subresource}`}`;
}

/** Where a reflector stands. Keys are `namespace/name`, or `/name` for kinds without a namespace. */
export interface Reflector<T extends KubeObject> extends AsyncDisposable {
  get(key: string): T | null;
  list(): readonly T[];
  /** The first list is complete. */
  readonly synced: boolean;
  /** Resolves at the first complete list; rejects when the reflector is stopped before. */
  whenSynced(): Promise<void>;
  /** Monotonic ms of the last byte from the API server; 0 before the first. */
  readonly lastContactMs: number;
  /** Wants the next relist now, for example after a doubt about the cache. */
  relist(): void;
}
