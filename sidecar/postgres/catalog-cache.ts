import { SallyportError } from '../core/errors.ts';
import type { CatalogSnapshot } from '../core/sql/catalog-snapshot.ts';
import { type CatalogQuery, readCatalog, readCatalogEpoch } from './catalog.ts';

/** One side connection to one database of a target: same credential, read-only, used for catalog statements only. */
export interface CatalogConnection {
  /** Rejects after 10 s at the latest, whatever the server does: a refresh waits for it. */
  readonly query: CatalogQuery;
  readonly close: () => Promise<void>;
}

export interface CatalogCacheDeps {
  /** Opens the side connection; called again after it broke. */
  readonly connect: () => Promise<CatalogConnection>;
  /** Milliseconds that never go back. */
  readonly monotonicMs: () => number;
  /** Calls `tick` every `intervalMs` until the returned function is called. */
  readonly every: (intervalMs: number, tick: () => void) => () => void;
}

/** The catalog of one (target, database), shared by its sessions. */
export interface CatalogCache {
  /** A session starts to use it; call the result once when the session ends. Polling runs, and the connection stays open, while anyone uses it. */
  readonly acquire: () => () => void;
  /**
   * The snapshot, at most 10 s after it was last seen to be true.
   *
   * @throws SallyportError `CATALOG_UNAVAILABLE` when it is older and cannot be refreshed: then nothing may pass that needs it.
   */
  readonly current: () => Promise<CatalogSnapshot>;
  /** The snapshot when it is fresh enough to use without waiting, else null. */
  readonly peek: () => CatalogSnapshot | null;
  /** Our own DDL was completed: the next `current` reads again. */
  readonly invalidate: () => void;
}

const pollMs = 2_000;
const staleMs = 10_000;
/** As the statement timeout of the side connection: no wait of ours lasts longer. */
const answerMs = 10_000;

/**
 * Keeps one snapshot true: an epoch poll every 2 s while sessions use it, a new read when the epoch changed or after `invalidate`, one refresh at a time,
 * one connection at most, none while nobody uses it.
 */
export function createCatalogCache(deps: CatalogCacheDeps): CatalogCache {
  const state: State = { users: 0, connection: null, snapshot: null, seenMs: 0, invalidations: 0, readAt: -1, refreshing: null, stopPolling: null };

  const isUsable = (wanted: number): boolean => state.snapshot !== null && state.readAt >= wanted && deps.monotonicMs() - state.seenMs <= staleMs;
  const refresh = (): Promise<void> => {
    state.refreshing ??= refreshOnce(state, deps).finally(() => {
      state.refreshing = null;
      if (state.users === 0) void disconnect(state);
    });
    return state.refreshing;
  };

  return {
    acquire: () => {
      state.users++;
      // A failed poll says nothing: `current` fails when the snapshot has become too old.
      state.stopPolling ??= deps.every(pollMs, () => void refresh().catch(() => undefined));
      let released = false;
      return () => {
        if (released) return;
        released = true;
        state.users--;
        if (state.users > 0) return;
        state.stopPolling?.();
        state.stopPolling = null;
        if (!state.refreshing) void disconnect(state);
      };
    },
    current: async () => {
      const wanted = state.invalidations;
      let failure: unknown = null;
      // A refresh that was under way may have begun before the invalidation, so it takes up to two.
      for (let round = 0; round < 2 && !isUsable(wanted); round++) await refresh().catch((error: unknown) => void (failure = error));
      if (!state.snapshot || !isUsable(wanted)) throw unavailable(failure);
      return state.snapshot;
    },
    peek: () => (isUsable(state.invalidations) ? state.snapshot : null),
    invalidate: () => {
      state.invalidations++;
    },
  };
}

interface State {
  users: number;
  connection: CatalogConnection | null;
  snapshot: CatalogSnapshot | null;
  /** When the snapshot was last known to be true: taken before the question was sent. */
  seenMs: number;
  invalidations: number;
  /** Value of `invalidations` when the last read or poll that succeeded began. */
  readAt: number;
  refreshing: Promise<void> | null;
  stopPolling: (() => void) | null;
}

async function refreshOnce(state: State, deps: CatalogCacheDeps): Promise<void> {
  const [startedMs, startedAt] = [deps.monotonicMs(), state.invalidations];
  try {
    state.connection ??= await connect(deps);
    const { query } = state.connection;
    const epoch = state.snapshot ? await readCatalogEpoch(query) : null;
    if (!state.snapshot || state.snapshot.epoch !== epoch) state.snapshot = await readCatalog(query);
    state.seenMs = startedMs;
    state.readAt = startedAt;
  } catch (error) {
    await disconnect(state);
    throw unavailable(error);
  }
}

async function connect(deps: CatalogCacheDeps): Promise<CatalogConnection> {
  const connection = await deps.connect();
  try {
    await connection.query(`SELECT pg_catalog.set_config('search_path', '', false), pg_catalog.set_config('default_transaction_read_only', 'on', false),
      pg_catalog.set_config('statement_timeout', '${answerMs}', false)`);
    return connection;
  } catch (error) {
    await connection.close().catch(() => undefined);
    throw error;
  }
}

async function disconnect(state: State): Promise<void> {
  const { connection } = state;
  state.connection = null;
  await connection?.close().catch(() => undefined);
}

function unavailable(error: unknown): SallyportError {
  if (error instanceof SallyportError && error.code === 'CATALOG_UNAVAILABLE') return error;
  return new SallyportError('CATALOG_UNAVAILABLE', {}, error === null ? {} : { cause: error });
}
