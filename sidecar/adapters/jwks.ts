import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import type { IdentityProvider } from '../../contract/proxy-config.ts';
import { SallyportError } from '../core/errors.ts';
import type { Clock, KeySource, Logger } from '../core/ports.ts';
import { fetchJson, type FetchOptions } from './fetch-json.ts';

export interface IssuerKeysOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** For development and tests: an issuer at http://127.0.0.1 or http://localhost. Off by default. */
  readonly allowLoopbackHttp?: boolean;
  /** Another transport, for tests without sockets. */
  readonly fetch?: (address: string, options: FetchOptions) => Promise<unknown>;
}

/** A KeySource that fetches; close it at shutdown. */
export interface IssuerKeys extends KeySource {
  /** Fetches the keys of these providers now, so that the first login need not wait, and forgets those of providers that are gone. Never throws. */
  prepare(providers: readonly IdentityProvider[]): Promise<void>;
  /** Age of the keys in ms by provider name; null = no usable keys. For readiness and metrics. */
  ages(): ReadonlyMap<string, number | null>;
  [Symbol.dispose](): void;
}

/** Times and sizes of docs/identity.md. `refreshMs` is the age at which keys are fetched again in the background. */
export const issuerKeyLimits = {
  timeoutMs: 5_000, maxBytes: 1_048_576, maxKeys: 100, refreshMs: 600_000, maxAgeMs: 86_400_000, unknownKeyIntervalMs: 30_000, retryMs: 5_000, tickMs: 60_000,
} as const;

/**
 * The keys of every issuer, fetched by OIDC discovery or from `jwksUri`.
 *
 * One fetch at a time per issuer; fetched again every 10 min, and at once for an unknown `kid`, at most once per 30 s. While an issuer does not answer, the
 * last good keys serve until they are 24 h old; then, or when there never were any, `ISSUER_UNREACHABLE`, with at most one attempt per 5 s.
 */
export function createIssuerKeys(options: IssuerKeysOptions): IssuerKeys {
  const abort = new AbortController();
  const issuers = new Map<string, IssuerEntry>();
  const entryOf = (provider: IdentityProvider): IssuerEntry => {
    const key = JSON.stringify([provider.name, provider.issuer, provider.jwksUri, provider.caBundle]);
    const known = issuers.get(key);
    if (known !== undefined) return known;
    const entry = new IssuerEntry(provider, options, abort.signal);
    // `prepare` forgets what a config no longer names; without it, the oldest goes.
    const oldest = issuers.size >= maxIssuers ? issuers.keys().next().value : undefined;
    if (oldest !== undefined) issuers.delete(oldest);
    issuers.set(key, entry);
    return entry;
  };
  // Between logins too, so that a rotation is seen before the first token that needs it.
  const timer = setInterval(() => { for (const entry of issuers.values()) entry.refreshIfDue(); }, issuerKeyLimits.tickMs);
  timer.unref();

  return {
    keysOf: (provider) => entryOf(provider).getKey,
    async prepare(providers) {
      const wanted = new Set(providers.map(entryOf));
      for (const [key, entry] of issuers) if (!wanted.has(entry)) issuers.delete(key);
      await Promise.allSettled([...wanted].map((entry) => entry.usableKeys()));
    },
    ages: () => new Map([...issuers.values()].map((entry) => [entry.providerName, entry.ageMs()])),
    [Symbol.dispose]() {
      clearInterval(timer);
      abort.abort();
    },
  };
}

const maxIssuers = 256;

interface KeySet {
  readonly find: ReturnType<typeof createLocalJWKSet>;
  readonly fetchedAtMs: number;
}

/** Keys of one provider and when they were asked for; times are monotonic. */
class IssuerEntry {
  readonly #provider: IdentityProvider;
  readonly #options: IssuerKeysOptions;
  readonly #signal: AbortSignal;
  #keys: KeySet | null = null;
  #fetching: Promise<void> | null = null;
  #lastAttemptMs = Number.NEGATIVE_INFINITY;
  #lastUnknownKeyMs = Number.NEGATIVE_INFINITY;

  constructor(provider: IdentityProvider, options: IssuerKeysOptions, signal: AbortSignal) {
    this.#provider = provider;
    this.#options = options;
    this.#signal = signal;
  }

  get providerName(): string {
    return this.#provider.name;
  }

  readonly getKey: JWTVerifyGetKey = async (header, token) => {
    const keys = await this.usableKeys();
    try {
      return await keys.find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !this.#mayAskForUnknownKey()) throw error;
      await this.#refresh();
      return (this.#current() ?? keys).find(header, token);
    }
  };

  /** Fetches when there are none. Throws ISSUER_UNREACHABLE. */
  async usableKeys(): Promise<KeySet> {
    if (this.#current() === null && this.#mayAttempt()) await this.#refresh();
    const keys = this.#current();
    if (keys === null) throw new SallyportError('ISSUER_UNREACHABLE', { provider: this.#provider.name });
    this.refreshIfDue();
    return keys;
  }

  /** In the background; the caller does not wait. */
  refreshIfDue(): void {
    const due = this.#keys !== null && this.#now() - this.#keys.fetchedAtMs >= issuerKeyLimits.refreshMs;
    if (due && this.#now() - this.#lastAttemptMs >= issuerKeyLimits.unknownKeyIntervalMs) void this.#refresh();
  }

  ageMs(): number | null {
    const keys = this.#current();
    return keys === null ? null : this.#now() - keys.fetchedAtMs;
  }

  #now(): number {
    return this.#options.clock.monotonicMs();
  }

  #current(): KeySet | null {
    if (this.#keys !== null && this.#now() - this.#keys.fetchedAtMs >= issuerKeyLimits.maxAgeMs) this.#keys = null;
    return this.#keys;
  }

  #mayAttempt(): boolean {
    return this.#fetching !== null || this.#now() - this.#lastAttemptMs >= issuerKeyLimits.retryMs;
  }

  /** Everyone who asks while a fetch runs shares it; nobody can cause more than one per 30 s by inventing key ids. */
  #mayAskForUnknownKey(): boolean {
    if (this.#now() - this.#lastUnknownKeyMs < issuerKeyLimits.unknownKeyIntervalMs) return this.#fetching !== null;
    this.#lastUnknownKeyMs = this.#now();
    return true;
  }

  /** Never throws: a failure is logged and leaves the keys as they are. */
  #refresh(): Promise<void> {
    this.#fetching ??= this.#fetchKeys().finally(() => { this.#fetching = null; });
    return this.#fetching;
  }

  async #fetchKeys(): Promise<void> {
    this.#lastAttemptMs = this.#now();
    try {
      const find = createLocalJWKSet(readKeySet(await this.#fetch(await this.#keySetAddress())));
      this.#keys = { find, fetchedAtMs: this.#now() };
    } catch (error) {
      if (this.#signal.aborted) return;
      const problem = error instanceof Error ? error.message : 'unknown';
      this.#options.log.error('issuer keys not fetched', { provider: this.#provider.name, problem, keysAgeMs: this.ageMs() });
    }
  }

  async #keySetAddress(): Promise<string> {
    if (this.#provider.jwksUri !== null) return this.#provider.jwksUri;
    const document = await this.#fetch(`${this.#provider.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
    if (typeof document !== 'object' || document === null) throw new Error('the discovery document is not an object');
    const { issuer, jwks_uri: address } = document as Readonly<Record<string, unknown>>;
    // I6: a document that speaks for another issuer proves nothing about this one.
    if (issuer !== this.#provider.issuer) throw new Error('the discovery document is of another issuer');
    if (typeof address !== 'string') throw new Error('the discovery document names no jwks_uri');
    return address;
  }

  #fetch(address: string): Promise<unknown> {
    const { timeoutMs, maxBytes } = issuerKeyLimits;
    const fetch = this.#options.fetch ?? fetchJson;
    return fetch(address, { ca: this.#provider.caBundle, allowLoopbackHttp: this.#options.allowLoopbackHttp ?? false, limits: { timeoutMs, maxBytes }, signal: this.#signal });
  }
}

function readKeySet(value: unknown): JSONWebKeySet {
  const keys = typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)['keys'] : undefined;
  if (!Array.isArray(keys)) throw new Error('the key set is not a JWK set');
  if (keys.length > issuerKeyLimits.maxKeys) throw new Error(`the key set holds more than ${issuerKeyLimits.maxKeys} keys`);
  // Symmetric keys have no place in a published set; jose refuses HMAC as well.
  return { keys: (keys as JSONWebKeySet['keys']).filter((key: unknown) => typeof key === 'object' && key !== null && (key as Readonly<Record<string, unknown>>)['kty'] !== 'oct') };
}
