import { request } from 'node:https';
import type { IdentityProviderResource } from '../../../contract/api/v1alpha1.gen.ts';

/** Whether the keys of an issuer can be had, as the proxies will fetch them. */
export type IssuerOutcome =
  | { readonly outcome: 'reachable'; readonly keys: number }
  | { readonly outcome: 'failed'; readonly reason: 'DiscoveryFailed' | 'IssuerMismatch' | 'NoUsableKey'; readonly message: string };

/** Fetches JSON over https within limits; throws an Error that a person may read. */
export type FetchJson = (url: string, caBundle: string | null, signal: AbortSignal) => Promise<unknown>;

/** Reads the discovery document and the keys. No token is sent, no redirect followed, nothing of an answer repeated in a message. */
export async function checkIssuer({ spec }: IdentityProviderResource, fetchJson: FetchJson, signal: AbortSignal): Promise<IssuerOutcome> {
  const caBundle = spec.caBundle ?? null;
  try {
    const jwksUri = spec.jwksURI ?? await discover(spec.issuer, caBundle, fetchJson, signal);
    if (jwksUri === null) return { outcome: 'failed', reason: 'IssuerMismatch', message: `the discovery document of ${spec.issuer} names another issuer` };
    const keys = keysOf(await fetchJson(jwksUri, caBundle, signal)).filter((key) => spec.algorithms.some((algorithm) => fits(key, algorithm)));
    if (keys.length === 0) return { outcome: 'failed', reason: 'NoUsableKey', message: `no published key can sign by ${spec.algorithms.join(', ')}` };
    return { outcome: 'reachable', keys: keys.length };
  } catch (error) {
    return { outcome: 'failed', reason: 'DiscoveryFailed', message: error instanceof Error ? error.message.slice(0, 512) : 'the keys cannot be fetched' };
  }
}

async function discover(issuer: string, caBundle: string | null, fetchJson: FetchJson, signal: AbortSignal): Promise<string | null> {
  const document = await fetchJson(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, caBundle, signal);
  if (typeof document !== 'object' || document === null || !('issuer' in document) || document.issuer !== issuer) return null;
  if (!('jwks_uri' in document) || typeof document.jwks_uri !== 'string' || !document.jwks_uri.startsWith('https://')) throw new Error('the discovery document has no https jwks_uri');
  return document.jwks_uri;
}

interface PublishedKey {
  readonly kty?: unknown;
  readonly crv?: unknown;
  readonly use?: unknown;
  readonly alg?: unknown;
}

function keysOf(document: unknown): readonly PublishedKey[] {
  if (typeof document !== 'object' || document === null || !('keys' in document) || !Array.isArray(document.keys)) throw new Error('the key document has no keys');
  return document.keys.filter((key): key is PublishedKey => typeof key === 'object' && key !== null);
}

function fits(key: PublishedKey, algorithm: string): boolean {
  if (key.use === 'enc' || (key.alg !== undefined && key.alg !== algorithm)) return false;
  if (algorithm === 'EdDSA') return key.kty === 'OKP';
  if (algorithm.startsWith('ES')) return key.kty === 'EC' && key.crv === { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }[algorithm];
  return key.kty === 'RSA';
}

/** From the first byte sent to the last one read. */
const timeoutMs = 5_000;
const maxBytes = 262_144;

/** The real fetch: one request over https, system roots or the given CA alone. */
export function fetchJsonOverHttps(url: string, caBundle: string | null, signal: AbortSignal): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const host = new URL(url).host;
  const timeout = AbortSignal.timeout(timeoutMs);
  const outgoing = request(url, { agent: false, headers: { accept: 'application/json' }, signal: AbortSignal.any([signal, timeout]), ...(caBundle === null ? {} : { ca: caBundle }) }, (incoming) => {
    const chunks: Buffer[] = [];
    let length = 0;
    incoming.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > maxBytes) outgoing.destroy(new Error(`${host} sent more than ${maxBytes} bytes`));
      else chunks.push(chunk);
    });
    incoming.on('error', reject);
    incoming.on('end', () => {
      if (incoming.statusCode !== 200) return reject(new Error(`${host} answered ${incoming.statusCode ?? 'nothing'}`));
      try {
        resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')));
      } catch {
        reject(new Error(`${host} sent no JSON`));
      }
    });
  });
  outgoing.on('error', (error: NodeJS.ErrnoException) => reject(timeout.aborted ? new Error(`${host} did not answer within ${timeoutMs / 1_000} s`) : new Error(`${host}: ${error.code ?? error.message}`, { cause: error })));
  outgoing.end();
  return promise;
}
