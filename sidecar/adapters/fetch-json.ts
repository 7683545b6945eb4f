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
  return parseJson((await exchange(readAddress(address, options.allowLoopbackHttp), options, null)).body);
}

/**
 * Posts a form and reads the JSON of the answer, whatever its status: an OAuth endpoint says in it what was wrong. Bounds and trust as of `fetchJson`.
 *
 * @throws Error with a short reason; it holds no body and no header of the answer.
 */
export async function postForm(address: string, form: Readonly<Record<string, string>>, options: FetchOptions): Promise<{ readonly status: number; readonly json: unknown }> {
  const { status, body } = await exchange(readAddress(address, options.allowLoopbackHttp), options, Buffer.from(new URLSearchParams(form).toString()));
  return { status, json: parseJson(body) };
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

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    throw new Error('the answer is not JSON');
  }
}

/** Gets, or posts a form; only what is asked for with a form may come with a status other than 200. */
function exchange(url: URL, options: FetchOptions, form: Buffer | null): Promise<{ readonly status: number; readonly body: Uint8Array }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly status: number; readonly body: Uint8Array }>();
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.limits.timeoutMs)]);
  const sent = form === null ? {} : { 'content-type': 'application/x-www-form-urlencoded', 'content-length': form.length };
  const common = { signal, method: form === null ? 'GET' : 'POST', headers: { accept: 'application/json', ...sent }, agent: false, maxHeaderSize: 16_384 } as const;
  const request = url.protocol === 'http:' ? http.request(url, common) : https.request(url, { ...common, ...(options.ca === null ? {} : { ca: options.ca }) });
  request.on('error', (error) => reject(signal.aborted ? new Error('no answer in time', { cause: error }) : error));
  request.on('response', (response) => {
    const status = response.statusCode ?? 0;
    if (form === null && status !== 200) {
      reject(new Error(`the answer has status ${status}`));
      request.destroy();
      return;
    }
    readBody(response, options.limits.maxBytes).then((body) => resolve({ status, body }), (error: unknown) => {
      reject(signal.aborted ? new Error('no answer in time', { cause: error }) : error);
      request.destroy();
    });
  });
  request.end(form ?? undefined);
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
