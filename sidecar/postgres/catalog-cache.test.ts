import { describe, expect, test } from '@jest/globals';
import type { CatalogRow } from './catalog.ts';
import { type CatalogCache, createCatalogCache } from './catalog-cache.ts';

describe('the catalog cache', () => {
  test('reads once for any number of callers and keeps one connection', async () => {
    const world = makeWorld();
    world.cache.acquire();
    const snapshots = await Promise.all([world.cache.current(), world.cache.current(), world.cache.current()]);
    expect(new Set(snapshots).size).toBe(1);
    expect([world.counts.connects, world.counts.reads]).toEqual([1, 1]);
  });

  test('polls while it is used, and reads again only when the epoch changed', async () => {
    const world = makeWorld();
    world.cache.acquire();
    const first = await world.cache.current();
    await world.poll();
    expect([world.counts.reads, await world.cache.current()]).toEqual([1, first]);
    world.epoch = 'two';
    await world.poll();
    expect([world.counts.reads, (await world.cache.current()) === first]).toEqual([2, false]);
  });

  test('after our own DDL nothing older than the DDL is given out', async () => {
    const world = makeWorld();
    world.cache.acquire();
    const first = await world.cache.current();
    world.epoch = 'two';
    world.cache.invalidate();
    expect(world.cache.peek()).toBeNull();
    expect(await world.cache.current()).not.toBe(first);
  });

  test('an invalidation during a refresh is not answered by that refresh', async () => {
    const world = makeWorld();
    world.cache.acquire();
    await world.cache.current();
    world.cache.invalidate();
    const early = world.cache.current();
    world.epoch = 'two';
    world.cache.invalidate();
    const late = await world.cache.current();
    await early;
    expect([late, world.counts.reads]).toEqual([await world.cache.current(), 2]);
  });

  test('a snapshot older than 10 s that cannot be refreshed is refused, a younger one is used', async () => {
    const world = makeWorld();
    world.cache.acquire();
    const first = await world.cache.current();
    world.broken = true;
    world.nowMs = 10_000;
    await world.poll();
    expect(await world.cache.current()).toBe(first);
    world.nowMs = 10_001;
    expect(world.cache.peek()).toBeNull();
    await expect(world.cache.current()).rejects.toMatchObject({ code: 'CATALOG_UNAVAILABLE' });
  });

  test('after our own DDL a catalog that cannot be read is refused at once', async () => {
    const world = makeWorld();
    world.cache.acquire();
    await world.cache.current();
    world.broken = true;
    world.cache.invalidate();
    await expect(world.cache.current()).rejects.toMatchObject({ code: 'CATALOG_UNAVAILABLE' });
  });

  test('a broken connection is closed and opened anew', async () => {
    const world = makeWorld();
    world.cache.acquire();
    await world.cache.current();
    world.broken = true;
    await world.poll();
    world.broken = false;
    world.cache.invalidate();
    await world.cache.current();
    expect([world.counts.connects >= 2, world.counts.connects - world.counts.closes]).toEqual([true, 1]);
  });

  test('when the last session leaves, polling stops and the connection is closed', async () => {
    const world = makeWorld();
    const [leaveFirst, leaveSecond] = [world.cache.acquire(), world.cache.acquire()];
    await world.cache.current();
    leaveFirst();
    leaveFirst();
    expect([world.polling(), world.counts.closes]).toEqual([true, 0]);
    leaveSecond();
    expect([world.polling(), world.counts.closes]).toEqual([false, 1]);
  });

  test('the side connection has an empty search path, is read-only and has a timeout', async () => {
    const world = makeWorld();
    world.cache.acquire();
    await world.cache.current();
    expect(world.statements[0]).toMatch(/'search_path', ''.*'default_transaction_read_only', 'on'.*'statement_timeout', '10000'/s);
    expect(world.statements.filter((sql) => /\b(insert|update|delete|create|alter|drop)\b/i.test(sql))).toEqual([]);
  });
});

interface World {
  readonly cache: CatalogCache;
  readonly counts: { connects: number; closes: number; reads: number };
  readonly statements: string[];
  epoch: string;
  broken: boolean;
  nowMs: number;
  readonly polling: () => boolean;
  readonly poll: () => Promise<void>;
}

/** A server with an empty catalog whose epoch, health and clock the test decides. */
function makeWorld(): World {
  const counts = { connects: 0, closes: 0, reads: 0 };
  const statements: string[] = [];
  let tick: (() => void) | null = null;
  const query = async (sql: string): Promise<readonly CatalogRow[]> => {
    statements.push(sql);
    await Promise.resolve();
    if (world.broken) throw new Error('connection is gone');
    if (sql.includes('hashtextextended')) return [[world.epoch]];
    if (sql.startsWith('BEGIN')) counts.reads++;
    return [];
  };
  const cache = createCatalogCache({
    connect: async () => {
      await Promise.resolve();
      if (world.broken) throw new Error('cannot connect');
      counts.connects++;
      return { query, close: async () => void counts.closes++ };
    },
    monotonicMs: () => world.nowMs,
    every: (_intervalMs, callback) => {
      tick = callback;
      return () => {
        tick = null;
      };
    },
  });
  const world: World = {
    cache, counts, statements, epoch: 'one', broken: false, nowMs: 0, polling: () => tick !== null,
    poll: async () => {
      tick?.();
      for (let turn = 0; turn < 100; turn++) await Promise.resolve();
    },
  };
  return world;
}
