import { Agent, type Dispatcher } from 'undici';
import { readAnswer, readLines } from './answer-body.ts';
import { type KubeClient, KubeError, type KubeRequest, type KubeStreamRequest } from './kube-client.ts';
import { errorOfAnswer, errorOfTransport } from './kube-errors.ts';

/** What a request was and came to. No path and no query: they name objects. */
export interface RequestFacts {
  /** HTTP status as text, `<error>` when no answer came: client-go's words. */
  readonly code: string;
  readonly method: string;
  /** Host and port. */
  readonly host: string;
  readonly durationMs: number;
}

/** Certificate and key that we show, PEM. */
export interface ClientCertificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Where the API server is and how we prove who we are. The functions are asked before each request; who gives them caches. */
export interface KubeClientOptions {
  /** E.g. `https://10.96.0.1:443`; http for tests only. */
  readonly server: string;
  /** PEM; null = the CAs that Node.js trusts. */
  readonly ca: () => Promise<Buffer | null>;
  /** Names and values in turn; a name may repeat (impersonated groups). */
  readonly headers: () => Promise<readonly string[]>;
  readonly clientCertificate?: () => Promise<ClientCertificate | null>;
  /** The server answered 401: the next `headers()` must read anew. */
  readonly onUnauthorized?: () => void;
  /** Name in the server's certificate, where it is not the host of `server`. */
  readonly serverName?: string;
  /** Only a kubeconfig that says `insecure-skip-tls-verify` may set this. */
  readonly skipTlsVerify?: boolean;
  readonly userAgent?: string;
  readonly onRequest?: (facts: RequestFacts) => void;
  /** For tests; the defaults are the limits that the docs promise. */
  readonly limits?: Partial<ClientLimits>;
}

/** Limits of one client, in bytes, ms and connections. */
export interface ClientLimits {
  readonly answerBytes: number;
  readonly lineBytes: number;
  readonly timeoutMs: number;
  readonly connections: number;
}

/** Kubernetes objects are at most 1.5 MiB, a page of 500 of ours at most 20 MiB. */
export const clientLimits: ClientLimits = { answerBytes: 64 * 1024 * 1024, lineBytes: 2 * 1024 * 1024, timeoutMs: 15_000, connections: 16 };

/**
 * A client over pooled HTTP/1.1 connections: one pool for requests, one for watches, both replaced when CA, certificate or key change.
 * HTTP/2 stays off: one dead TCP connection would carry all watches. Answers are not compressed, no redirect is followed, no header is ever part of an error.
 */
export function createKubeClient(options: KubeClientOptions): KubeClient {
  const limits = { ...clientLimits, ...options.limits };
  const host = new URL(options.server).host;
  const pools = createPools(options, limits);

  const sendOnce = async (request: KubeRequest, kind: 'requests' | 'watches', headers: readonly string[], signal: AbortSignal): Promise<Dispatcher.ResponseData> => {
    const startedMs = performance.now();
    const told = (code: string): void => options.onRequest?.({ code, method: request.method, host, durationMs: performance.now() - startedMs });
    try {
      const answer = await dispatch(await pools.take(kind), options, request, headers, signal);
      told(String(answer.statusCode));
      return answer;
    } catch (error) {
      told('<error>');
      throw error;
    }
  };
  const send = async (request: KubeRequest, kind: 'requests' | 'watches', signal: AbortSignal): Promise<Dispatcher.ResponseData> => {
    const headers = await options.headers();
    const answer = await sendOnce(request, kind, headers, signal);
    if (answer.statusCode !== 401 || options.onUnauthorized === undefined) return answer;
    options.onUnauthorized();
    const fresh = await options.headers();
    // The same token would be refused again.
    if (fresh.join('\n') === headers.join('\n')) return answer;
    await answer.body.dump();
    return sendOnce(request, kind, fresh, signal);
  };

  return {
    async request(request) {
      const timeout = abortAfter(request.timeoutMs ?? limits.timeoutMs, request.signal);
      try {
        const answer = await send(request, 'requests', timeout.signal);
        const body = await readAnswer(answer.body, answer.headers['content-length'], limits.answerBytes);
        if (answer.statusCode >= 300) throw errorOfAnswer(answer.statusCode, answer.headers, body);
        return parseJson(body);
      } catch (error) {
        throw errorOfTransport(error, request, timeout.isOver());
      } finally {
        timeout.clear();
      }
    },
    async *stream(request) {
      yield* watch(request, limits, (signal) => send(request, 'watches', signal));
    },
    close: () => pools.close(),
  };
}

async function* watch(request: KubeStreamRequest, limits: ClientLimits, send: (signal: AbortSignal) => Promise<Dispatcher.ResponseData>): AsyncGenerator<unknown> {
  const idle = abortAfter(Math.min(request.idleMs, limits.timeoutMs), request.signal);
  try {
    const answer = await send(idle.signal);
    if (answer.statusCode >= 300) throw errorOfAnswer(answer.statusCode, answer.headers, await readAnswer(answer.body, answer.headers['content-length'], limits.answerBytes));
    request.onOpen?.();
    for await (const line of readLines(answer.body, limits.lineBytes, { waiting: () => idle.restart(request.idleMs), arrived: () => idle.pause() })) yield parseJson(line);
  } catch (error) {
    throw errorOfTransport(error, request, idle.isOver());
  } finally {
    // Also ends the request when the reader stops early.
    idle.abort();
  }
}

async function dispatch(pool: Dispatcher, options: KubeClientOptions, request: KubeRequest, headers: readonly string[], signal: AbortSignal): Promise<Dispatcher.ResponseData> {
  const query = new URLSearchParams(request.query ?? {}).toString();
  const body = request.body === undefined ? null : JSON.stringify(request.body);
  request.beforeSend?.();
  return pool.request({
    origin: options.server, method: request.method, path: query === '' ? request.path : `${request.path}?${query}`, body, signal,
    headers: [
      'accept', request.accept ?? 'application/json', 'user-agent', options.userAgent ?? 'sallyport',
      ...(body === null ? [] : ['content-type', request.contentType ?? 'application/json']), ...headers,
    ],
  });
}

interface Pools {
  take(kind: 'requests' | 'watches'): Promise<Dispatcher>;
  close(): Promise<void>;
}

/** Agents for the CA, certificate and key of now. Those of before end when their last request does, at the latest when all is closed. */
function createPools(options: KubeClientOptions, limits: ClientLimits): Pools {
  let current: { readonly material: string; readonly requests: Agent; readonly watches: Agent } | null = null;
  const retired = new Set<Agent>();
  let isClosed = false;
  const retire = (agent: Agent): void => {
    retired.add(agent);
    void agent.close().catch(() => {}).finally(() => retired.delete(agent));
  };
  return {
    async take(kind) {
      const [ca, own] = await Promise.all([options.ca(), options.clientCertificate?.() ?? null]);
      if (isClosed) throw new KubeError({ status: 0, reason: 'Closed', message: 'the client is closed' });
      const material = [ca, own?.cert, own?.key].map((bytes) => bytes?.toString('base64') ?? '').join('.');
      if (current?.material === material) return current[kind];
      if (current !== null) [current.requests, current.watches].forEach(retire);
      const connect = {
        timeout: 10_000, allowH2: false, ...(ca === null ? {} : { ca }), ...(own === null ? {} : { cert: own.cert, key: own.key }),
        ...(options.serverName === undefined ? {} : { servername: options.serverName }), ...(options.skipTlsVerify === true ? { rejectUnauthorized: false } : {}),
      };
      const shared = { connect, allowH2: false, keepAliveTimeout: 30_000, headersTimeout: limits.timeoutMs };
      // A watch holds its connection; their number is the number of reflectors.
      current = { material, requests: new Agent({ ...shared, connections: limits.connections, bodyTimeout: 60_000 }), watches: new Agent({ ...shared, bodyTimeout: 0 }) };
      return current[kind];
    },
    async close() {
      isClosed = true;
      const all = [...retired, ...(current === null ? [] : [current.requests, current.watches])];
      await Promise.all(all.map((agent) => agent.destroy().catch(() => {})));
    },
  };
}

interface Timeout {
  readonly signal: AbortSignal;
  isOver(): boolean;
  /** Starts the time anew. */
  restart(delayMs: number): void;
  pause(): void;
  clear(): void;
  abort(): void;
}

/** Aborts when time is up or `outer` aborts. */
function abortAfter(delayMs: number, outer: AbortSignal | undefined): Timeout {
  const controller = new AbortController();
  let isOver = false;
  const expire = (): void => {
    isOver = true;
    controller.abort(new Error('time is up'));
  };
  const onAbort = (): void => controller.abort(outer?.reason);
  let timer = setTimeout(expire, delayMs);
  if (outer?.aborted === true) onAbort();
  else outer?.addEventListener('abort', onAbort, { once: true });
  const pause = (): void => clearTimeout(timer);
  const clear = (): void => {
    pause();
    outer?.removeEventListener('abort', onAbort);
  };
  return {
    signal: controller.signal, isOver: () => isOver, pause, clear,
    restart(nextMs) {
      pause();
      timer = setTimeout(expire, nextMs);
    },
    abort() {
      clear();
      controller.abort(new Error('the reader is done'));
    },
  };
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new KubeError({ status: 0, reason: 'Unreadable', message: 'the API server answered something that is not JSON', cause: error });
  }
}
