import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import type { KubeObject } from '../../../runtime/kube/kube-client.ts';
import type { Clock, ConfigSource, Logger } from '../../core/ports.ts';
import { type AcceptedConfig, judgeConfig } from './judge-config.ts';
import { type ApprovalIntegrity, readProxyConfig, type StoredAck } from './read-proxy-config.ts';
import type { Snapshot } from './snapshot-file.ts';
import { type Staleness, stalenessEffect, withoutWrites } from './staleness.ts';

/** What was put in force last, and what was refused since. */
export interface ConfigState {
  readonly inForce: AcceptedConfig | null;
  /** Unix ms; 0 before the first. */
  readonly appliedAtMs: number;
  /** The newest config that was refused, while nothing newer was accepted. */
  readonly rejected: { readonly revision: number; readonly hash: string; readonly reason: string; readonly message: string } | null;
}

/** The config in force in a cluster. */
export interface ClusterConfig extends ConfigSource {
  state(): ConfigState;
  /** What the operator last said about the rules that protect approvals. */
  integrity(): ApprovalIntegrity;
  /** This pod's entry in the object's status, as last seen. */
  storedAck(): StoredAck | null;
  /** Since the API server last confirmed the config, ms; Infinity before the first time. */
  staleMs(): number;
  /** New sessions are refused because the config is too old (`staleness: DenyNew`). */
  deniesNew(): boolean;
  /** Called when the status was read anew: integrity or acknowledgement may have changed. */
  onStatus(listener: () => void): () => void;
}

/** Settings of a holder. */
export interface HolderOptions {
  readonly namespace: string;
  readonly pod: string;
  readonly staleness: Staleness;
  readonly maxStaleMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Holds the config in force: judges what is offered, swaps, and knows how old it is. State, because it is one; it reads and writes nothing.
 *
 * A config that is refused, older or absent never replaces one in force.
 */
export class ConfigHolder implements ClusterConfig {
  readonly #options: HolderOptions;
  readonly #listeners = new Set<() => void>();
  readonly #statusListeners = new Set<() => void>();
  #state: ConfigState = { inForce: null, appliedAtMs: 0, rejected: null };
  #integrity: ApprovalIntegrity = { holds: false, checkedAtMs: null, sinceMs: null };
  #ack: StoredAck | null = null;
  #resourceVersion: string | null = null;
  #contactMs = -Infinity;
  #effective: { readonly config: ProxyConfig; readonly revision: number } | null = null;
  #deniesWrites = false;

  constructor(options: HolderOptions) {
    this.#options = options;
  }

  current(): { readonly config: ProxyConfig; readonly revision: number } | null {
    return this.#effective;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  onStatus(listener: () => void): () => void {
    this.#statusListeners.add(listener);
    return () => void this.#statusListeners.delete(listener);
  }

  state(): ConfigState {
    return this.#state;
  }

  integrity(): ApprovalIntegrity {
    return this.#integrity;
  }

  storedAck(): StoredAck | null {
    return this.#ack;
  }

  /** Of the object that was read last; null before the first. */
  get resourceVersion(): string | null {
    return this.#resourceVersion;
  }

  staleMs(): number {
    return this.#options.clock.monotonicMs() - this.#contactMs;
  }

  deniesNew(): boolean {
    return this.#effect().deniesNew;
  }

  /** The API server was heard; what is in force is what it has. */
  contact(): void {
    this.#contactMs = this.#options.clock.monotonicMs();
    this.tick();
  }

  /** Call at least once a second: staleness begins and ends with time alone. */
  tick(): void {
    if (this.#deniesWrites !== this.#effect().deniesWrites) this.#swap();
  }

  /**
   * Takes an object that was listed, watched or read.
   *
   * @param isConsistent it was read past every cache.
   * @returns 'doubtful' when it is older than what is known: read consistently and offer that.
   */
  offer(object: KubeObject, isConsistent: boolean): 'taken' | 'doubtful' {
    const read = readProxyConfig(object, this.#options.pod);
    if (read === null) return 'taken';
    const { inForce } = this.#state;
    const verdict = judgeConfig(inForce, read.offered, this.#options.namespace, isConsistent);
    if (verdict.verdict === 'older' || (!isConsistent && isOlder(read.resourceVersion, this.#resourceVersion))) return 'doubtful';
    this.#contactMs = this.#options.clock.monotonicMs();
    this.#resourceVersion = read.resourceVersion;
    this.#integrity = read.integrity;
    this.#ack = read.ack;
    if (verdict.verdict === 'accepted') this.#accept(verdict.accepted);
    if (verdict.verdict === 'same') this.#state = { ...this.#state, rejected: null };
    if (verdict.verdict === 'rejected') this.#reject({ ...read.offered, ...verdict });
    this.#tell(this.#statusListeners);
    return 'taken';
  }

  /** Puts a snapshot in force, unless the API server was faster. */
  restore(snapshot: Snapshot): void {
    if (this.#state.inForce !== null) return;
    const { clock } = this.#options;
    this.#contactMs = clock.monotonicMs() - Math.max(0, clock.now() - snapshot.lastContactMs);
    this.#accept(snapshot.accepted);
  }

  #accept(accepted: AcceptedConfig): void {
    this.#state = { inForce: accepted, appliedAtMs: this.#options.clock.now(), rejected: null };
    const { parsed, revision } = accepted;
    this.#options.log.info('config in force', { revision, targets: parsed.targets.length, policies: parsed.policies.length, identityProviders: parsed.identityProviders.length });
    this.#swap();
  }

  #reject(offered: { readonly revision: number; readonly hash: string; readonly reason: string; readonly message: string }): void {
    const { revision, hash, reason, message } = offered;
    const known = this.#state.rejected;
    this.#state = { ...this.#state, rejected: { revision, hash, reason, message } };
    if (known?.revision === revision && known.hash === hash) return;
    this.#options.log.error('config rejected, the last good one stays', { code: 'CONFIG_INVALID', revision, reason, problem: message });
  }

  #swap(): void {
    const { inForce } = this.#state;
    if (inForce === null) return;
    this.#deniesWrites = this.#effect().deniesWrites;
    const config = this.#deniesWrites ? withoutWrites(inForce.parsed) : inForce.parsed;
    this.#effective = { config, revision: (this.#effective?.revision ?? 0) + 1 };
    this.#tell(this.#listeners);
  }

  /** One that fails keeps the others from nothing: sessions that lost their right among them, and the same config is not told twice. */
  #tell(listeners: ReadonlySet<() => void>): void {
    for (const listener of [...listeners]) {
      try {
        listener();
      } catch (error) {
        this.#options.log.error('config change not followed', { error: error instanceof Error ? error.message : 'unknown' });
      }
    }
  }

  #effect(): ReturnType<typeof stalenessEffect> {
    return stalenessEffect(this.#options.staleness, this.staleMs(), this.#options.maxStaleMs);
  }
}

/** Resource versions of one object can be ordered where they are numbers, as they are in every API server on etcd; else nothing is known. */
function isOlder(a: string, b: string | null): boolean {
  if (b === null || !/^\d{1,20}$/.test(a) || !/^\d{1,20}$/.test(b)) return false;
  return BigInt(a) < BigInt(b);
}
