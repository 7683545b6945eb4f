import { createSecureServer } from 'node:http2';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { kinds } from '../../operator/kube/kinds.ts';
import { clientLimits, createKubeClient, type KubeClientOptions, type RequestFacts } from '../../runtime/kube/http-client.ts';
import { type KubeClient, KubeError } from '../../runtime/kube/kube-client.ts';
import { createObject, getObject, listObjects } from '../../runtime/kube/verbs.ts';
import { type FakeApi, fakeApiServer } from '../../tools/testkit/fake-api-server.ts';
import { type Authority, type CertificatePair, createAuthority } from '../hosts/certificates.ts';

let authority: Authority;
let pair: CertificatePair;

beforeAll(async () => {
  authority = await createAuthority();
  pair = await authority.issue({ commonName: 'kube-apiserver', ips: ['127.0.0.1'] });
});

const tls = (): { readonly cert: string; readonly key: string } => ({ cert: pair.certificate, key: pair.key });

function clientOf(server: string, options: Partial<KubeClientOptions> = {}): KubeClient {
  return createKubeClient({ server, ca: async () => Buffer.from(authority.ca), headers: async () => [], ...options });
}

/** A plain HTTP server with this answer; closes its connections at the end. */
async function serving(listener: RequestListener): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createHttpServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, async [Symbol.asyncDispose]() {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  } };
}

function configMaps(api: FakeApi, count: number): void {
  for (let index = 0; index < count; index++) api.put(kinds.configMap, { metadata: { name: `c${String(index).padStart(5, '0')}`, namespace: 'shop' } });
}

describe('connections', () => {
  test('50 requests after each other use at most 4 TLS connections, 50 at once at most 16, and closing leaves none', async () => {
    const api = fakeApiServer();
    configMaps(api, 1);
    await using server = await api.listen({ tls: tls() });
    const client = clientOf(server.url);
    for (let index = 0; index < 50; index++) await getObject(client, kinds.configMap, 'shop', 'c00000');
    expect(server.connections()).toBeLessThanOrEqual(4);
    await Promise.all(Array.from({ length: 50 }, () => getObject(client, kinds.configMap, 'shop', 'c00000')));
    expect(server.connections()).toBeLessThanOrEqual(clientLimits.connections);
    await client.close();
    await waitFor(() => server.open() === 0);
  });

  test('20 watches hold up no request', async () => {
    const api = fakeApiServer();
    configMaps(api, 1);
    await using server = await api.listen({ tls: tls() });
    const client = clientOf(server.url);
    const end = new AbortController();
    const watches = Array.from({ length: 20 }, () => drained(client.stream({ method: 'GET', path: '/api/v1/configmaps', query: { watch: 'true', resourceVersion: '0' }, idleMs: 30_000, signal: end.signal })));
    await waitFor(() => api.watches.size === 20);
    await getObject(client, kinds.configMap, 'shop', 'c00000');
    end.abort();
    expect((await Promise.allSettled(watches)).map((each) => each.status === 'rejected' && each.reason instanceof KubeError && each.reason.reason)).toEqual(Array.from({ length: 20 }, () => 'Aborted'));
    await waitFor(() => api.watches.size === 0);
    await client.close();
  });

  test('a server that offers HTTP/2 is spoken to in HTTP/1.1', async () => {
    const versions: string[] = [];
    const server = createSecureServer({ ...tls(), allowHTTP1: true }, (incoming, outgoing) => {
      versions.push(incoming.httpVersion);
      outgoing.end('{}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const client = clientOf(`https://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await client.request({ method: 'GET', path: '/' });
    await client.close();
    await new Promise((resolve) => server.close(resolve));
    expect(versions).toEqual(['1.1']);
  });

  test('a certificate of another authority is refused; a new CA file is used by the next request, over new connections', async () => {
    const other = await createAuthority('another');
    const api = fakeApiServer();
    await using server = await api.listen({ tls: tls() });
    let ca = other.ca;
    const client = clientOf(server.url, { ca: async () => Buffer.from(ca) });
    await expect(listObjects(client, kinds.configMap, 'shop')).rejects.toMatchObject({ status: 0, reason: 'Unreachable' });
    ca = authority.ca;
    await listObjects(client, kinds.configMap, 'shop');
    ca = other.ca;
    await expect(listObjects(client, kinds.configMap, 'shop')).rejects.toMatchObject({ reason: 'Unreachable' });
    await client.close();
  });

  test('a watch goes on while the CA changes', async () => {
    const api = fakeApiServer();
    await using server = await api.listen({ tls: tls() });
    let ca = authority.ca;
    const client = clientOf(server.url, { ca: async () => Buffer.from(ca) });
    const lines = client.stream({ method: 'GET', path: '/api/v1/configmaps', query: { watch: 'true', resourceVersion: '0' }, idleMs: 30_000 })[Symbol.asyncIterator]();
    configMaps(api, 1);
    await lines.next();
    ca = `${authority.ca}\n${(await createAuthority('next')).ca}`;
    await listObjects(client, kinds.configMap, 'shop');
    api.put(kinds.configMap, { metadata: { name: 'later', namespace: 'shop' } });
    expect(await lines.next()).toMatchObject({ value: { type: 'ADDED', object: { metadata: { name: 'later' } } } });
    await lines.return?.();
    await client.close();
  });
});

describe('limits', () => {
  test('a call has 15 s by default', () => {
    expect(clientLimits).toEqual({ answerBytes: 67_108_864, lineBytes: 2_097_152, timeoutMs: 15_000, connections: 16 });
  });

  test.each([
    ['accepts and says nothing', (socket: Socket): unknown => socket.resume()],
    ['sends headers one byte at a time', (socket: Socket): unknown => trickle(socket, `HTTP/1.1 200 OK\r\nx-pad: ${'x'.repeat(1_000)}`)],
    ['sends the body one byte at a time', (socket: Socket): unknown => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n');
      return trickle(socket, 'x'.repeat(1_000));
    }],
  ])('a server that %s fails a call in time', async (_name, act) => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      act(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const client = clientOf(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { limits: { timeoutMs: 400 } });
    const startedMs = performance.now();
    await expect(client.request({ method: 'GET', path: '/' })).rejects.toMatchObject({ name: 'KubeError', status: 0, reason: 'Timeout' });
    expect(performance.now() - startedMs).toBeLessThan(1_500);
    await client.close();
    await new Promise((resolve) => server.close(resolve));
  });

  test('a server that never finishes the TLS handshake fails a call in time', async () => {
    const server = createServer((socket) => void socket.on('error', () => {}).resume());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const client = clientOf(`https://127.0.0.1:${(server.address() as AddressInfo).port}`, { limits: { timeoutMs: 400 } });
    await expect(client.request({ method: 'GET', path: '/' })).rejects.toMatchObject({ reason: 'Timeout' });
    await client.close();
    await new Promise((resolve) => server.close(resolve));
  });

  test('a watch without bytes ends after its idle time, one with bytes lives longer', async () => {
    const api = fakeApiServer();
    await using server = await api.listen();
    const client = clientOf(server.url);
    const startedMs = performance.now();
    const timer = setInterval(() => api.put(kinds.configMap, { metadata: { name: `t${performance.now()}`, namespace: 'shop' } }), 100);
    setTimeout(() => clearInterval(timer), 900);
    await expect(drained(client.stream({ method: 'GET', path: '/api/v1/configmaps', query: { watch: 'true', resourceVersion: '0' }, idleMs: 400 }))).rejects.toMatchObject({ reason: 'Timeout' });
    expect(performance.now() - startedMs).toBeGreaterThan(1_000);
    expect(performance.now() - startedMs).toBeLessThan(3_000);
    await client.close();
  });

  test.each([
    ['says so', { 'content-length': '2000000' }], ['does not say so', {}],
  ])('an answer above the limit is refused, also when the server %s', async (_name, headers) => {
    await using server = await serving((_incoming, outgoing) => {
      outgoing.on('error', () => {});
      outgoing.writeHead(200, headers);
      outgoing.end(`"${'x'.repeat(1_999_998)}"`);
    });
    const client = clientOf(server.url, { limits: { answerBytes: 1_000_000 } });
    await expect(client.request({ method: 'GET', path: '/' })).rejects.toMatchObject({ reason: 'AnswerTooLarge' });
    await client.close();
  });

  test('a line of a watch above the limit ends it', async () => {
    await using server = await serving((_incoming, outgoing) => {
      outgoing.on('error', () => {});
      outgoing.write(`{"type":"ADDED","object":1}\n{"type":"${'x'.repeat(100_000)}`);
    });
    const client = clientOf(server.url, { limits: { lineBytes: 50_000 } });
    const seen: unknown[] = [];
    await expect((async () => {
      for await (const line of client.stream({ method: 'GET', path: '/', idleMs: 5_000 })) seen.push(line);
    })()).rejects.toMatchObject({ reason: 'AnswerTooLarge' });
    expect(seen).toEqual([{ type: 'ADDED', object: 1 }]);
    await client.close();
  });

  test('lines arrive whole however the bytes are cut', async () => {
    const text = `${JSON.stringify({ type: 'ADDED', object: { name: 'größe €' } })}\n`.repeat(20);
    await using server = await serving((_incoming, outgoing) => {
      const bytes = Buffer.from(text);
      const send = (at: number): void => {
        if (at >= bytes.length) return void outgoing.end();
        outgoing.write(bytes.subarray(at, at + 7));
        setImmediate(() => send(at + 7));
      };
      send(0);
    });
    const client = clientOf(server.url);
    expect(await drained(client.stream({ method: 'GET', path: '/', idleMs: 5_000 }))).toEqual(Array.from({ length: 20 }, () => ({ type: 'ADDED', object: { name: 'größe €' } })));
    await client.close();
  });
});

describe('what crosses the wire', () => {
  test('a header that repeats arrives as often, a path keeps its case, and the query is encoded', async () => {
    const seen: { raw: string[]; url: string }[] = [];
    await using server = await serving((incoming, outgoing) => {
      seen.push({ raw: incoming.rawHeaders, url: incoming.url ?? '' });
      outgoing.end('{}');
    });
    const client = clientOf(server.url, { headers: async () => ['Impersonate-Group', 'g1', 'Impersonate-Group', 'g2'], userAgent: 'test/1' });
    await client.request({ method: 'GET', path: '/api/v1/namespaces/shop/configmaps/MyName.X', query: { labelSelector: 'a in (b,c)', continue: 'x+y/=' } });
    const { raw = [], url = '' } = seen[0] ?? {};
    expect(raw.filter((_value, index) => raw[index - 1] === 'Impersonate-Group')).toEqual(['g1', 'g2']);
    expect(raw).toContain('test/1');
    expect(Object.fromEntries(new URL(url, 'http://x').searchParams)).toEqual({ labelSelector: 'a in (b,c)', continue: 'x+y/=' });
    expect(url).toContain('/MyName.X?');
    await client.close();
  });

  test('errors of every shape are KubeErrors with status, reason and Retry-After, and none shows a token', async () => {
    const answers: readonly (readonly [number, Record<string, string>, string])[] = [
      [404, {}, JSON.stringify({ kind: 'Status', reason: 'NotFound', message: 'pods "x" not found', code: 404 })],
      [429, { 'retry-after': '3' }, 'slow down'],
      [429, {}, JSON.stringify({ kind: 'Status', reason: 'TooManyRequests', message: 'm', details: { retryAfterSeconds: 2 } })],
      [502, {}, '<html>bad gateway</html>'], [302, { location: '/elsewhere' }, ''], [200, {}, 'not json'],
    ];
    const left = [...answers];
    await using server = await serving((_incoming, outgoing) => {
      const [status, headers, body] = left.shift() ?? [500, {}, ''];
      outgoing.writeHead(status, headers).end(body);
    });
    const client = clientOf(server.url, { headers: async () => ['authorization', 'Bearer canary-token'] });
    const errors: KubeError[] = [];
    for (const _ of answers) await client.request({ method: 'GET', path: '/' }).catch((error: KubeError) => errors.push(error));
    expect(errors.map(({ status, reason, retryAfterMs }) => [status, reason, retryAfterMs])).toEqual([
      [404, 'NotFound', null], [429, 'TooManyRequests', 3_000], [429, 'TooManyRequests', 2_000], [502, 'InternalError', null], [302, 'Unknown', null], [0, 'Unreadable', null],
    ]);
    await client.close();
    await expect(client.request({ method: 'GET', path: '/' })).rejects.toMatchObject({ reason: 'Closed' });
    const refused = await clientOf('http://127.0.0.1:1', { headers: async () => ['authorization', 'Bearer canary-token'] }).request({ method: 'GET', path: '/' }).catch((error: unknown) => error);
    for (const error of [...errors, refused]) expect(deepText(error)).not.toContain('canary-token');
  });

  test('each request is counted with code, method and host, also those without an answer', async () => {
    const facts: RequestFacts[] = [];
    const api = fakeApiServer();
    await using server = await api.listen();
    const client = clientOf(server.url, { onRequest: (each) => void facts.push(each) });
    await listObjects(client, kinds.configMap, 'shop');
    api.faults.add({ fault: { kind: 'reset' } });
    await createObject(client, kinds.configMap, 'shop', { metadata: { name: 'a', namespace: 'shop' } }).catch(() => {});
    expect(facts.map(({ code, method, host }) => [code, method, host])).toEqual([['200', 'GET', `127.0.0.1:${server.port}`], ['<error>', 'POST', `127.0.0.1:${server.port}`]]);
    await client.close();
  });

  test('a check right before sending stops a write that waited for credentials', async () => {
    const api = fakeApiServer();
    await using server = await api.listen();
    let mayWrite = true;
    const client = clientOf(server.url, { headers: async () => {
      mayWrite = false;
      return [];
    } });
    await expect(client.request({ method: 'POST', path: '/api/v1/namespaces/shop/configmaps', body: {}, beforeSend() {
      if (!mayWrite) throw new Error('no longer the leader');
    } })).rejects.toThrow();
    expect(api.calls).toEqual([]);
    await client.close();
  });
});

async function drained(lines: AsyncIterable<unknown>): Promise<unknown[]> {
  const seen: unknown[] = [];
  for await (const line of lines) seen.push(line);
  return seen;
}

function trickle(socket: Socket, text: string): void {
  let at = 0;
  const timer = setInterval(() => {
    if (socket.destroyed || at >= text.length) return clearInterval(timer);
    socket.write(text.slice(at, ++at));
  }, 20);
}

async function waitFor(condition: () => boolean): Promise<void> {
  const startedMs = performance.now();
  while (!condition()) {
    if (performance.now() - startedMs > 10_000) throw new Error(`the condition does not hold: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Everything of an error that a log could show. */
function deepText(error: unknown): string {
  if (!(error instanceof Error)) return JSON.stringify(error) ?? '';
  return `${error.message} ${error.stack ?? ''} ${JSON.stringify(error)} ${deepText(error.cause)}`;
}
