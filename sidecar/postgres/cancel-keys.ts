import { createHash, randomBytes, randomInt, timingSafeEqual } from 'node:crypto';

import type { Clock } from '../core/ports.ts';

/** A key of ours that is in force until `remove`. */
export interface IssuedCancelKey {
  /** 1 to 2^31 - 1, unlike any other in force. */
  readonly pid: number;
  readonly key: Buffer;
  /** At the end of the session; afterwards the key does nothing. */
  remove(): void;
}

/** What became of a CancelRequest; the client is told nothing in any case. */
export type CancelOutcome = 'cancelled' | 'unknown' | 'limited';

/** The other replicas of this proxy, where there are any: one of them may hold the session of a key that this one does not know. */
export interface CancelPeers {
  /** Asks them once; bounded in time, never rejects. */
  cancel(pid: number, key: Buffer): Promise<void>;
}

/** CancelRequests of one address in one second; more are not looked at. */
const limitPerSecond = 10;
/** Addresses remembered at once. At the limit all are forgotten together: the loss is one second of exactness. */
const limitAddresses = 10_000;
const pidRange = 2 ** 31;

/**
 * The cancel keys of this process. State, because a key lives as long as its session.
 *
 * The target's own key never leaves: a client gets a random pid and a random key, and both must fit.
 */
export class CancelKeys {
  readonly #clock: Clock;
  readonly #entries = new Map<number, { readonly digest: Buffer; readonly cancel: () => void }>();
  readonly #attempts = new Map<string, number>();
  #second = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Keys in force. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Makes a key for a session.
   *
   * @param keyBytes 4 for protocol 3.0, 32 for 3.2.
   * @param cancel called for each CancelRequest that fits; must not throw.
   */
  issue(keyBytes: 4 | 32, cancel: () => void): IssuedCancelKey {
    let pid = randomInt(1, pidRange);
    while (this.#entries.has(pid)) pid = randomInt(1, pidRange);
    const key = randomBytes(keyBytes);
    this.#entries.set(pid, { digest: digestOf(key), cancel });
    return { pid, key, remove: () => this.#entries.delete(pid) };
  }

  /** Handles one CancelRequest: at most ten a second from one address, pid and key compared in constant time. */
  cancel(pid: number, key: Buffer, remoteAddress: string): CancelOutcome {
    return this.#mayTry(remoteAddress) ? this.cancelForPeer(pid, key) : 'limited';
  }

  /** The same without the limit: the replica that was asked by the client has counted it. */
  cancelForPeer(pid: number, key: Buffer): 'cancelled' | 'unknown' {
    const entry = this.#entries.get(pid);
    // An unknown pid costs the same comparison, so that time does not tell which pids exist. Digests have one length whatever was sent.
    const fits = timingSafeEqual(digestOf(key), entry?.digest ?? noDigest);
    if (!entry || !fits) return 'unknown';
    entry.cancel();
    return 'cancelled';
  }

  #mayTry(address: string): boolean {
    const second = Math.floor(this.#clock.monotonicMs() / 1_000);
    if (second !== this.#second || this.#attempts.size >= limitAddresses) this.#attempts.clear();
    this.#second = second;
    const attempts = (this.#attempts.get(address) ?? 0) + 1;
    this.#attempts.set(address, attempts);
    return attempts <= limitPerSecond;
  }
}

const noDigest = Buffer.alloc(32);

function digestOf(key: Buffer): Buffer {
  return createHash('sha256').update(key).digest();
}
