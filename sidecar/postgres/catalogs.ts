import type { Clock, SecretSource } from '../core/ports.ts';
import type { Permit } from '../core/policy/permit.ts';
import { type CatalogCache, createCatalogCache } from './catalog-cache.ts';
import type { CatalogView } from './session-inspector.ts';
import { openSideConnection } from './side-connection.ts';
import { targetOf } from './target-of.ts';

export interface CatalogsDeps {
  readonly secrets: SecretSource;
  readonly clock: Clock;
}

/** From dial to login of the side connection. */
const connectMs = 10_000;

/**
 * The catalogs of this process: one per (target, database), shared by its sessions. State, because sessions come and go.
 *
 * The side connection is dialled with the permit of the session that asked: without a permit nothing dials a target.
 */
export class Catalogs {
  readonly #deps: CatalogsDeps;
  readonly #caches = new Map<string, CatalogCache & { users: number; permit: Permit }>();

  constructor(deps: CatalogsDeps) {
    this.#deps = deps;
  }

  /** A session starts to use the catalog of its database; `release` ends it. */
  open(permit: Permit): CatalogView {
    const key = JSON.stringify([permit.target.name, permit.target.uid, targetOf(permit), permit.database]);
    const cache = this.#caches.get(key) ?? this.#create(key, permit);
    cache.permit = permit;
    cache.users++;
    const release = cache.acquire();
    return {
      current: () => cache.peek() ?? cache.current(),
      invalidate: () => cache.invalidate(),
      release: () => {
        release();
        cache.users--;
        if (cache.users === 0) this.#caches.delete(key);
      },
    };
  }

  #create(key: string, permit: Permit): CatalogCache & { users: number; permit: Permit } {
    const { secrets, clock } = this.#deps;
    const cache = createCatalogCache({
      connect: async () => {
        const side = await openSideConnection(entry.permit, entry.permit.database, { secrets, clock, signal: AbortSignal.timeout(connectMs), deadlineMs: connectMs });
        return { query: (sql) => side.query(sql), close: () => side.close() };
      },
      monotonicMs: () => clock.monotonicMs(),
      every: (intervalMs, tick) => {
        const timer = setInterval(tick, intervalMs);
        return () => clearInterval(timer);
      },
    });
    const entry = Object.assign(cache, { users: 0, permit });
    this.#caches.set(key, entry);
    return entry;
  }
}
