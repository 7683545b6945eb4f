import { createServer as createPlainServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { failure } from './answers.ts';
import { type Core, handle } from './core.ts';

/** How to listen. */
export interface ListenOptions {
  /** PEM; without it plain HTTP. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer };
  /** Bearer token -> user. With it other tokens get 401; without it everybody is `admin`. */
  readonly users?: () => Readonly<Record<string, string>>;
  /** Default 0: any free port. */
  readonly port?: number;
}

/** A listening fake server. */
export interface FakeListener extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Connections accepted since the start. */
  connections(): number;
  /** Connections open now. */
  open(): number;
  /** Headers of the last request, names and values in turn. */
  lastHeaders(): readonly string[];
}

/** Serves the fake API over a real socket of 127.0.0.1. */
export async function listen(core: Core, options: ListenOptions = {}): Promise<FakeListener> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  let lastHeaders: readonly string[] = [];
  const listener = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    lastHeaders = incoming.rawHeaders;
    void answer(core, options, incoming, outgoing).catch(() => incoming.socket.destroy());
  };
  const server = options.tls === undefined ? createPlainServer(listener) : createTlsServer(options.tls, listener);
  server.on(options.tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
    accepted++;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  const ready = Promise.withResolvers<void>();
  server.once('error', ready.reject);
  server.listen(options.port ?? 0, '127.0.0.1', ready.resolve);
  await ready.promise;
  const { port } = server.address() as AddressInfo;
  return {
    port, url: `${options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`, connections: () => accepted, open: () => sockets.size, lastHeaders: () => lastHeaders,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function answer(core: Core, options: ListenOptions, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString('utf8');
  const url = new URL(incoming.url ?? '/', 'http://fake');
  const token = /^Bearer (.+)$/.exec(incoming.headers.authorization ?? '')?.[1] ?? '';
  const user = options.users === undefined ? 'admin' : options.users()[token];
  const send = (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void => {
    outgoing.writeHead(status, { 'content-type': typeof body === 'string' ? 'text/plain' : 'application/json', ...headers });
    outgoing.end(typeof body === 'string' ? body : JSON.stringify(body));
  };
  if (user === undefined) return send(401, failure(401, 'Unauthorized', 'Unauthorized').body);
  const outcome = await handle(core, {
    method: incoming.method ?? '', path: url.pathname, query: Object.fromEntries(url.searchParams), accept: incoming.headers.accept ?? '', contentType: incoming.headers['content-type'] ?? 'application/json',
    body: text === '' ? undefined : (JSON.parse(text) as unknown), user, userAgent: incoming.headers['user-agent'] ?? '',
  });
  switch (outcome.outcome) {
    case 'answer': return send(outcome.answer.status, outcome.answer.body, outcome.answer.headers);
    case 'reset': return void incoming.socket.destroy();
    case 'hang': return;
    case 'watch': {
      outgoing.writeHead(200, { 'content-type': 'application/json', 'transfer-encoding': 'chunked' });
      outgoing.flushHeaders();
      const watch = outcome.start({ line: (value) => void outgoing.write(`${JSON.stringify(value)}\n`), end: (how) => (how === 'end' ? void outgoing.end() : void incoming.socket.destroy()) });
      outgoing.once('close', () => watch?.close('end'));
      return;
    }
    default: outcome satisfies never;
  }
}
