import { createServer as createPlainServer, type IncomingMessage, type OutgoingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';

/** A request after its route matched, its body read and parsed. */
export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  /** Values of the `:name` parts of the route's path, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** The value of `Authorization: Bearer`, null when there is none. Never log it. */
  readonly bearer: string | null;
  readonly remoteAddress: string;
  readonly isEncrypted: boolean;
  /** Parsed JSON of routes with `body: 'json'`, else undefined. */
  readonly body: unknown;
  /** Aborted when the client goes away or the time is up. */
  readonly signal: AbortSignal;
}

/** An answer: JSON, or `text` with its own content type. */
export type HttpAnswer =
  | { readonly status: number; readonly json: unknown; readonly headers?: OutgoingHttpHeaders }
  | { readonly status: number; readonly text: string; readonly contentType: string };

/** One row of the routes table. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** E.g. `/v1/requests/:name`; a `:name` part matches one non-empty path segment. */
  readonly path: string;
  readonly body?: 'json';
  /** Answers; what it throws becomes 500 INTERNAL and is told to `onError`. */
  readonly answer: (request: HttpRequest) => Promise<HttpAnswer>;
}

/** Where to listen, what to answer, and within which limits. */
export interface HttpServerOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** PEM; null serves plain HTTP. */
  readonly tls: { readonly certificate: string | Buffer; readonly key: string | Buffer } | null;
  readonly routes: readonly Route[];
  readonly onError: (error: unknown, route: string) => void;
  readonly limits?: Partial<HttpLimits>;
}

/** Limits of one server, in bytes, ms and connections. */
export interface HttpLimits {
  readonly headerBytes: number;
  readonly bodyBytes: number;
  /** For headers, for headers and body, and for the answer, each. */
  readonly timeoutMs: number;
  readonly connections: number;
}

/** A listening server. */
export interface HttpServer extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** Takes no new request, lets running ones finish until the deadline, then cuts them. */
  close(deadlineMs: number): Promise<void>;
}

/** security.md 3.1, "HTTP surface". */
export const httpLimits: HttpLimits = { headerBytes: 8 * 1024, bodyBytes: 1024 * 1024, timeoutMs: 10_000, connections: 200 };

/**
 * Serves a table of routes over HTTP or HTTPS. Errors are `{code, message, hint}`. It follows no redirect, sets no cookie, and refuses what a browser page could send:
 * any request with an Origin header, any body that is not application/json.
 *
 * @throws the listen error (address in use, no permission).
 */
export async function serveHttp(options: HttpServerOptions): Promise<HttpServer> {
  const limits = { ...httpLimits, ...options.limits };
  const routes = options.routes.map((route) => ({ ...route, parts: route.path.split('/') }));
  const settings = {
    maxHeaderSize: limits.headerBytes, headersTimeout: limits.timeoutMs, requestTimeout: limits.timeoutMs, keepAliveTimeout: limits.timeoutMs,
    connectionsCheckingInterval: Math.min(1_000, limits.timeoutMs), requireHostHeader: true,
  };
  const listener = (incoming: IncomingMessage, outgoing: ServerResponse): void => void respond(incoming, outgoing, routes, limits, options);
  const server: Server = options.tls === null
    ? createPlainServer(settings, listener)
    : createTlsServer({ ...settings, cert: options.tls.certificate, key: options.tls.key, minVersion: 'TLSv1.2', handshakeTimeout: limits.timeoutMs }, listener);
  server.maxConnections = limits.connections;
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => refuseBrokenRequest(error, socket));
  server.on('upgrade', (_request, socket) => socket.destroy());

  const listening = Promise.withResolvers<void>();
  server.once('error', listening.reject);
  server.listen(options.port, options.host, () => listening.resolve());
  await listening.promise;
  server.off('error', listening.reject);
  server.on('error', (error) => options.onError(error, 'listener'));

  const { port } = server.address() as AddressInfo;
  const close = (deadlineMs: number): Promise<void> => closeServer(server, deadlineMs);
  const authority = options.host.includes(':') ? `[${options.host}]:${port}` : `${options.host}:${port}`;
  return { port, url: `${options.tls === null ? 'http' : 'https'}://${authority}`, close, [Symbol.asyncDispose]: () => close(0) };
}

/** Builds an error answer; its code stands in docs/errors.md. */
export function errorAnswer(status: number, code: string, message: string, hint: string, detail: string | null = null): HttpAnswer {
  return { status, json: { code, message, hint, detail } };
}

type CompiledRoute = Route & { readonly parts: readonly string[] };

async function respond(incoming: IncomingMessage, outgoing: ServerResponse, routes: readonly CompiledRoute[], limits: HttpLimits, options: HttpServerOptions): Promise<void> {
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(new Error('the answer took too long')), limits.timeoutMs);
  outgoing.once('close', () => timeout.abort(new Error('the client went away')));
  let routeName = 'none';
  try {
    const matched = matchRoute(incoming, routes);
    if ('status' in matched) return send(outgoing, matched);
    routeName = matched.route.path;
    const body = matched.route.body === 'json' ? await readJson(incoming, limits.bodyBytes) : { value: undefined };
    if ('status' in body) return send(outgoing, body, body.status === 413);
    const request: HttpRequest = {
      method: incoming.method ?? '', path: matched.url.pathname, params: matched.params, query: matched.url.searchParams, bearer: readBearer(incoming), body: body.value, signal: timeout.signal,
      remoteAddress: incoming.socket.remoteAddress ?? '', isEncrypted: options.tls !== null,
    };
    send(outgoing, await raceAbort(matched.route.answer(request), timeout.signal));
  } catch (error) {
    if (outgoing.destroyed) return;
    if (incoming.readableAborted) return void outgoing.destroy();
    options.onError(error, routeName);
    send(outgoing, errorAnswer(timeout.signal.aborted ? 503 : 500, 'INTERNAL', 'the gateway met an error of its own', 'try again; if it happens again, report it'), true);
  } finally {
    clearTimeout(timer);
  }
}

function matchRoute(incoming: IncomingMessage, routes: readonly CompiledRoute[]): HttpAnswer | { readonly route: Route; readonly params: Record<string, string>; readonly url: URL } {
  if (incoming.headers.origin !== undefined) return errorAnswer(403, 'HTTP_FORBIDDEN', 'requests of browser pages are refused', 'use the sallyport command or curl');
  const url = URL.parse(incoming.url ?? '', 'http://gateway');
  if (url === null || !(incoming.url ?? '').startsWith('/')) return errorAnswer(400, 'HTTP_BAD_REQUEST', 'the path is not valid', 'see docs/errors.md for the routes');
  const parts = url.pathname.split('/');
  let isKnownPath = false;
  for (const route of routes) {
    const params = matchParts(route.parts, parts);
    if (params === null) continue;
    if (route.method === incoming.method || (route.method === 'GET' && incoming.method === 'HEAD')) return { route, params, url };
    isKnownPath = true;
  }
  return isKnownPath
    ? errorAnswer(405, 'HTTP_BAD_REQUEST', 'this path does not take that method', 'see docs/errors.md for the routes')
    : errorAnswer(404, 'HTTP_NOT_FOUND', 'there is nothing here', 'see docs/errors.md for the routes');
}

function matchParts(pattern: readonly string[], parts: readonly string[]): Record<string, string> | null {
  if (pattern.length !== parts.length) return null;
  const params: Record<string, string> = {};
  for (const [index, expected] of pattern.entries()) {
    const part = parts[index] ?? '';
    if (!expected.startsWith(':')) {
      if (part !== expected) return null;
      continue;
    }
    const value = decode(part);
    if (value === null || value === '') return null;
    params[expected.slice(1)] = value;
  }
  return params;
}

function decode(part: string): string | null {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}

async function readJson(incoming: IncomingMessage, limitBytes: number): Promise<{ readonly value: unknown } | Extract<HttpAnswer, { json: unknown }>> {
  const refuse = (status: number, message: string, hint: string): Extract<HttpAnswer, { json: unknown }> => ({ status, json: { code: 'HTTP_BAD_REQUEST', message, hint, detail: null } });
  // A form or a plain text of another site needs no preflight; application/json does (CSRF).
  if (!/^application\/json\s*(;|$)/i.test(incoming.headers['content-type'] ?? '')) return refuse(415, 'the body is not JSON', 'send Content-Type: application/json');
  const tooLong = refuse(413, 'the body is too long', `send at most ${limitBytes} bytes`);
  if (Number(incoming.headers['content-length'] ?? 0) > limitBytes) return tooLong;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    size += chunk.byteLength;
    if (size > limitBytes) return tooLong;
    chunks.push(chunk);
  }
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))) };
  } catch {
    return refuse(400, 'the body is not valid JSON', 'send one JSON object in UTF-8');
  }
}

function readBearer(incoming: IncomingMessage): string | null {
  return /^Bearer +([^\s]+) *$/i.exec(incoming.headers.authorization ?? '')?.[1] ?? null;
}

async function raceAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function send(outgoing: ServerResponse, answer: HttpAnswer, closeAfter = false): void {
  if (outgoing.destroyed || outgoing.headersSent) return;
  const body = 'text' in answer ? answer.text : `${JSON.stringify(answer.json)}\n`;
  const headers = 'text' in answer ? {} : (answer.headers ?? {});
  outgoing.writeHead(answer.status, {
    ...headers, ...securityHeaders, 'content-type': 'text' in answer ? answer.contentType : 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(body), ...(closeAfter ? { connection: 'close' } : {}),
  });
  outgoing.end(body);
}

/** No page of ours exists, so nothing may be framed, sniffed, cached or run. */
const securityHeaders = {
  'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'content-security-policy': "default-src 'none'; frame-ancestors 'none'", 'referrer-policy': 'no-referrer',
} as const;

/** Node answers nothing by itself once there is a listener for `clientError`. */
function refuseBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
  const [status, message] = error.code === 'HPE_HEADER_OVERFLOW' ? ['431 Request Header Fields Too Large', 'the headers are too long']
    : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? ['408 Request Timeout', 'the request took too long']
      : ['400 Bad Request', 'the request is not valid HTTP'];
  const body = `${JSON.stringify({ code: 'HTTP_BAD_REQUEST', message, hint: 'see docs/errors.md for the form of each request', detail: null })}\n`;
  socket.end(`HTTP/1.1 ${status}\r\nContent-Type: application/json; charset=utf-8\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  socket.setTimeout(1_000, () => socket.destroy());
}

async function closeServer(server: Server, deadlineMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), deadlineMs);
  await promise;
  clearTimeout(timer);
}
