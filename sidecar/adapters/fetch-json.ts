import http from 'node:http';
import https from 'node:https';

/** Bounds of one request to an issuer (docs/identity.md). */
export interface FetchLimits {
  /** From the first byte sent to the last byte read. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

export interface FetchOptions {
  /** PEM; trusted instead of the system's roots. */
  readonly ca: string | null;
  /** For development: plain HTTP to this machine only. */
  readonly allowLoopbackHttp: boolean;
  readonly limits: FetchLimits;
  /** Ends the request early, at shutdown. */
  readonly signal: AbortSignal;
}

/**
 * Fetches one JSON document over verified TLS, in bounded time and space.
 *
 * Any status but 200 is an error, redirects included: a key set comes from the configured place or not at all (B3).
 *
 * @throws Error with a short reason; it holds no body and no header of the answer.
 */
export async function fetchJson(address: string, options: FetchOptions): Promise<unknown> {
  const url = readAddress(address, options.allowLoopbackHttp);
  const body = await get(url, options);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    throw new Error('the answer is not JSON');
  }
}

/** Whether a host name means this machine and nothing else. */
export function isLoopbackHost(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || hostname === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(hostname);
}

function readAddress(address: string, allowLoopbackHttp: boolean): URL {
  const url = URL.parse(address);
  if (url === null || url.username !== '' || url.password !== '') throw new Error('the address is not a plain URL');
  if (url.protocol === 'https:') return url;
  if (url.protocol === 'http:' && allowLoopbackHttp && isLoopbackHost(url.hostname)) return url;
  throw new Error('the address is not https');
}

function get(url: URL, options: FetchOptions): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.limits.timeoutMs)]);
  const common = { signal, headers: { accept: 'application/json' }, agent: false, maxHeaderSize: 16_384 } as const;
  const request = url.protocol === 'http:' ? http.request(url, common) : https.request(url, { ...common, ...(options.ca === null ? {} : { ca: options.ca }) });
  request.on('error', (error) => reject(signal.aborted ? new Error('no answer in time', { cause: error }) : error));
  request.on('response', (response) => {
    if (response.statusCode !== 200) {
      reject(new Error(`the answer has status ${response.statusCode}`));
      request.destroy();
      return;
    }
    readBody(response, options.limits.maxBytes).then(resolve, (error: unknown) => {
      reject(signal.aborted ? new Error('no answer in time', { cause: error }) : error);
      request.destroy();
    });
  });
  request.end();
  return promise;
}

async function readBody(response: http.IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    length += chunk.byteLength;
    if (length > maxBytes) throw new Error(`the answer is longer than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  if (!response.complete) throw new Error('the answer was cut off');
  return Buffer.concat(chunks);
}
