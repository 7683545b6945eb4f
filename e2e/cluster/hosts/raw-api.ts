import { Agent } from 'undici';

/** A caller that the administrator impersonates. */
export interface Caller {
  readonly user: string;
  readonly groups?: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** One request, as raw as a test of admission needs it. */
export interface RawRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly contentType?: string;
  /** Default: the administrator as themselves. */
  readonly as?: Caller;
  /** A token of their own instead of the administrator's. */
  readonly token?: string;
}

/** Whatever the API server says is a value here. */
export interface RawAnswer {
  readonly status: number;
  /** The object, or null when the answer is not JSON. */
  readonly body: unknown;
  /** A field of the object by its path, `status.conditions`, `spec.containers.0.image`; undefined where there is none. */
  at(path: string): unknown;
  /** The Status object's message, or the text of an answer that is not JSON. */
  readonly message: string;
}

/** An API server that answers with values, over few connections that stay open. */
export interface RawApi {
  send(request: RawRequest): Promise<RawAnswer>;
  close(): Promise<void>;
}

/** Opens the API server. @param options what `Cluster.apiServer()` gives. */
export function openRawApi(options: { readonly server: string; readonly ca: string; readonly token: string }): RawApi {
  const agent = new Agent({ connect: { ca: options.ca }, allowH2: false, connections: 16 });
  return {
    async send({ method, path, query, body, contentType, as, token }) {
      const text = new URLSearchParams(query ?? {}).toString();
      const answer = await agent.request({
        origin: options.server, method, path: text === '' ? path : `${path}?${text}`, body: body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body),
        headers: ['authorization', `Bearer ${token ?? options.token}`, 'accept', 'application/json', 'content-type', contentType ?? (method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'), ...impersonation(as)],
      });
      const said = await answer.body.text();
      const parsed = parse(said);
      return { status: answer.statusCode, body: parsed, message: messageOf(parsed, said), at: (field) => fieldAt(parsed, field) };
    },
    close: () => agent.destroy(),
  };
}

/** Repeated headers stay repeated: a fetch would join the groups into one. */
function impersonation(as: Caller | undefined): readonly string[] {
  if (as === undefined) return [];
  return [
    'impersonate-user', as.user, ...(as.groups ?? []).flatMap((group) => ['impersonate-group', group]),
    ...Object.entries(as.extra ?? {}).flatMap(([key, values]) => values.flatMap((value) => [`impersonate-extra-${encodeURIComponent(key)}`, value])),
  ];
}

function fieldAt(body: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((value, key) => (typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[key] : undefined), body);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function messageOf(parsed: unknown, text: string): string {
  const message = typeof parsed === 'object' && parsed !== null && 'message' in parsed ? parsed.message : undefined;
  return typeof message === 'string' ? message : parsed === null ? text : '';
}
