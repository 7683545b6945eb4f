import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import { type RuntimeClock, sleep } from '../../../runtime/clock.ts';
import { type KubeClient, KubeError, type KubeObject } from '../../../runtime/kube/kube-client.ts';
import { getObject } from '../../../runtime/kube/verbs.ts';
import { SallyportError } from '../../core/errors.ts';
import type { Logger, SecretSource } from '../../core/ports.ts';
import type { FailedTarget } from './ack-entry.ts';
import { secretKind } from './kinds.ts';
import { secretProblems, type SecretState, secretsOf } from './secret-names.ts';

/** What reading the Secrets of a namespace's Targets takes. */
export interface ClusterSecretsOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly config: { current(): { readonly config: ProxyConfig } | null; subscribe(listener: () => void): () => void };
  readonly clock: RuntimeClock;
  /** 0 to 1. */
  readonly random: () => number;
  readonly log: Logger;
}

/** The credentials of the targets, from the API server, in memory only. */
export interface ClusterSecrets extends SecretSource, AsyncDisposable {
  /** Targets whose Secrets are missing or unusable, as far as they were asked for. */
  failedTargets(): readonly FailedTarget[];
  /** Called when the answer of `failedTargets` may have changed. */
  subscribe(listener: () => void): () => void;
  /** Resolves when every Secret that the config of now names was asked for once; never rejects. */
  settled(): Promise<void>;
}

const refreshMs = 60_000;
const readTimeoutMs = 5_000;
const atOnce = 8;
/** A login that fails again and again must not become a flood of requests. */
const rereadEveryMs = 5_000;
const firstRetryMs = 1_000;

/**
 * Reads the Secrets that the config names: at once when one is named anew, every 60 s, and when a target refused a login; by name, never by list or watch.
 *
 * Values stay in memory while the API server is away, so that it is not needed for a new session. A Secret that was deleted is forgotten at once; one that the config no longer names too.
 */
export function openClusterSecrets(options: ClusterSecretsOptions): ClusterSecrets {
  return new Secrets(options);
}

class Secrets implements ClusterSecrets {
  readonly #options: ClusterSecretsOptions;
  readonly #states = new Map<string, SecretState>();
  readonly #reading = new Map<string, Promise<void>>();
  readonly #rereadAtMs = new Map<string, number>();
  readonly #listeners = new Set<() => void>();
  readonly #stopping = new AbortController();
  readonly #unsubscribe: () => void;
  readonly #refreshing: Promise<void>;

  constructor(options: ClusterSecretsOptions) {
    this.#options = options;
    this.#unsubscribe = options.config.subscribe(() => this.#follow());
    this.#follow();
    this.#refreshing = this.#refresh();
  }

  async read(secretName: string, key: string): Promise<Uint8Array> {
    const value = await this.readOptional(secretName, key);
    if (value === null) throw new SallyportError('SECRET_UNAVAILABLE', { secret: secretName, key });
    return value;
  }

  async readOptional(secretName: string, key: string): Promise<Uint8Array | null> {
    // A session of a Target that was just added comes before its Secret: worth waiting for, once.
    if (this.#states.get(secretName)?.state !== 'read' && this.#isNamed(secretName)) await this.#load(secretName);
    const state = this.#states.get(secretName);
    const value = state?.state === 'read' ? state.values.get(key) : undefined;
    // A copy: whoever reads may wipe it.
    return value === undefined ? null : Uint8Array.from(value);
  }

  async reread(secretName: string): Promise<boolean> {
    const nowMs = this.#options.clock.monotonicMs();
    if (!this.#isNamed(secretName) || nowMs - (this.#rereadAtMs.get(secretName) ?? -Infinity) < rereadEveryMs) return false;
    this.#rereadAtMs.set(secretName, nowMs);
    const before = this.#states.get(secretName);
    await this.#load(secretName);
    const after = this.#states.get(secretName);
    return after?.state === 'read' && !(before?.state === 'read' && isSame(before.values, after.values));
  }

  failedTargets(): readonly FailedTarget[] {
    const current = this.#options.config.current();
    return current === null ? [] : secretProblems(current.config, (name) => this.#states.get(name) ?? null);
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async settled(): Promise<void> {
    await Promise.all([...this.#named()].filter((name) => !this.#states.has(name)).map((name) => this.#load(name)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unsubscribe();
    this.#stopping.abort(new Error('the secrets were closed'));
    await this.#refreshing;
    await Promise.all(this.#reading.values());
    this.#states.clear();
  }

  #named(): ReadonlySet<string> {
    const current = this.#options.config.current();
    return current === null ? new Set() : secretsOf(current.config);
  }

  #isNamed(secretName: string): boolean {
    return this.#named().has(secretName);
  }

  #follow(): void {
    const named = this.#named();
    for (const name of this.#states.keys()) if (!named.has(name)) this.#states.delete(name);
    for (const name of this.#rereadAtMs.keys()) if (!named.has(name)) this.#rereadAtMs.delete(name);
    void loadAll([...named].filter((name) => !this.#states.has(name)), (name) => this.#load(name));
  }

  /** Everything each minute; what could not be read sooner, with growing pauses: a Role may reach the API server's authorizer a moment after the config. */
  async #refresh(): Promise<void> {
    const { clock, random } = this.#options;
    const { signal } = this.#stopping;
    let retryMs = firstRetryMs;
    let fullAtMs = clock.monotonicMs() + refreshMs;
    while (!signal.aborted) {
      const missing = (): readonly string[] => [...this.#named()].filter((name) => this.#states.get(name)?.state !== 'read');
      const waitMs = missing().length > 0 ? Math.min(retryMs, fullAtMs - clock.monotonicMs()) : Math.min(firstRetryMs, fullAtMs - clock.monotonicMs());
      await sleep(clock, Math.max(0, waitMs) * (0.9 + 0.2 * random()), signal).catch(() => undefined);
      if (signal.aborted) return;
      const isFull = clock.monotonicMs() >= fullAtMs;
      if (isFull) fullAtMs = clock.monotonicMs() + refreshMs;
      const due = isFull ? [...this.#named()] : missing();
      await loadAll(due, (name) => this.#load(name));
      retryMs = missing().length === 0 ? firstRetryMs : Math.min(refreshMs, due.length > 0 ? retryMs * 2 : retryMs);
    }
  }

  #load(name: string): Promise<void> {
    const running = this.#reading.get(name) ?? this.#fetch(name).finally(() => this.#reading.delete(name));
    this.#reading.set(name, running);
    return running;
  }

  async #fetch(name: string): Promise<void> {
    const { client, namespace, log } = this.#options;
    const before = this.#states.get(name) ?? null;
    try {
      const object = await getObject<KubeObject & { readonly data?: Readonly<Record<string, string>> }>(client, secretKind, namespace, name, { signal: AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(readTimeoutMs)]) });
      this.#put(name, object === null ? { state: 'missing' } : { state: 'read', values: decode(object.data ?? {}) });
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      const status = error instanceof KubeError ? error.status : 0;
      log.debug('secret not read', { status });
      // What is in memory stays: an API server that is away, or a grant that is on its way, must not stop new sessions.
      if (before === null || before.state !== 'read') this.#put(name, { state: status === 403 ? 'missing' : 'unknown' });
    }
  }

  #put(name: string, state: SecretState): void {
    if (!this.#isNamed(name)) return;
    const before = this.#states.get(name);
    this.#states.set(name, state);
    if (before?.state === 'read' && state.state === 'missing') this.#options.log.error('a secret of a target is gone', { secretName: name });
    if (before?.state === state.state && !(before.state === 'read' && state.state === 'read' && !isSame(before.values, state.values))) return;
    for (const listener of [...this.#listeners]) listener();
  }
}

async function loadAll(names: readonly string[], load: (name: string) => Promise<void>): Promise<void> {
  const left = [...names];
  const worker = async (): Promise<void> => {
    for (let name = left.shift(); name !== undefined; name = left.shift()) await load(name);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, names.length) }, worker));
}

function decode(data: Readonly<Record<string, string>>): ReadonlyMap<string, Uint8Array> {
  return new Map(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64')]));
}

function isSame(a: ReadonlyMap<string, Uint8Array>, b: ReadonlyMap<string, Uint8Array>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => Buffer.compare(value, b.get(key) ?? new Uint8Array()) === 0 && b.has(key));
}
