import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { KubeObject, KubeRequest } from '../../../runtime/kube/kube-client.ts';
import { aLog, anOffer, aProxyConfigObject, settle } from '../../../tools/testkit/cluster-config.ts';
import { type FakeClock, fakeClock } from '../../../tools/testkit/fake-clock.ts';
import { aConfig, aPolicy } from '../../../tools/testkit/policies.ts';
import { refused, type ScriptedClient, scriptedClient, unreachable } from '../../../tools/testkit/scripted-client.ts';
import { ConfigHolder } from './config-holder.ts';
import { watchClusterConfig } from './config-watch.ts';
import type { SnapshotFile } from './snapshot-file.ts';

let clock: FakeClock;
let client: ScriptedClient;
let holder: ConfigHolder;
let watch: AsyncDisposable;
let log: ReturnType<typeof aLog>;
/** What a consistent read and what the watch cache has. */
let stored: KubeObject | null;
let cached: KubeObject | null | undefined;
let down: Error | null;
let snapshot: Awaited<ReturnType<SnapshotFile['read']>>;
let save: SnapshotFile['write'];
let snapshots: { readonly revision: number; readonly lastContactMs: number }[];

beforeEach(() => {
  clock = fakeClock();
  client = scriptedClient();
  log = aLog();
  [stored, cached, down, snapshots] = [null, undefined, null, []];
  snapshot = { outcome: 'unusable', problem: 'missing' };
  save = async ({ revision }, lastContactMs) => void snapshots.push({ revision, lastContactMs });
  client.answer(({ path, query, accept }: KubeRequest) => {
    if (down) throw down;
    const found = query?.['resourceVersion'] === '0' && cached !== undefined ? cached : stored;
    if (path.endsWith('/proxyconfigs')) return { metadata: { resourceVersion: '1' }, items: found ? [found] : [] };
    if (!found) throw refused(404, 'NotFound');
    return accept?.includes('PartialObjectMetadata') ? { metadata: found.metadata } : found;
  });
});
afterEach(async () => watch[Symbol.asyncDispose]());

function start(): void {
  holder = new ConfigHolder({ namespace: 'payments', pod: 'pod-a', staleness: 'KeepLast', maxStaleMs: 900_000, clock, log });
  watch = watchClusterConfig({
    client, holder, namespace: 'payments', maxStaleMs: 900_000, clock, random: () => 0.99, log,
    snapshots: { write: (offered, lastContactMs) => save(offered, lastContactMs), read: async () => snapshot },
  });
}

async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 250) {
    clock.advance(250);
    await settle();
  }
}

const revision = (): number | undefined => holder.state().inForce?.revision;

describe('the config', () => {
  test('is in force as soon as it was listed', async () => {
    stored = aProxyConfigObject(anOffer(1));
    start();
    await settle();
    expect(revision()).toBe(1);
  });

  test('that changes while the watch is dead without a word is in force within ten seconds', async () => {
    stored = aProxyConfigObject(anOffer(1));
    start();
    await settle();
    stored = aProxyConfigObject(anOffer(2));
    await pass(10_000);
    expect(revision()).toBe(2);
  });

  test('of which only a newer version is known to exist grows old: hearing of it is not having it', async () => {
    stored = aProxyConfigObject(anOffer(1));
    start();
    await settle();
    stored = aProxyConfigObject(anOffer(2));
    client.answer(({ accept }: KubeRequest) => {
      if (accept?.includes('PartialObjectMetadata')) return { metadata: stored?.metadata };
      throw refused(500, 'InternalError');
    });
    await pass(25_000);
    expect(revision()).toBe(1);
    expect(holder.staleMs()).toBeGreaterThan(20_000);
  });

  test('is not fetched again while nothing changes: the poll asks for metadata alone', async () => {
    stored = aProxyConfigObject(anOffer(1));
    start();
    await settle();
    const before = client.requests.length;
    await pass(60_000);
    const since = client.requests.slice(before);
    expect(since.length).toBeGreaterThanOrEqual(6);
    expect(since.every(({ accept, query }) => accept?.includes('PartialObjectMetadata') && query?.['resourceVersion'] === '0')).toBe(true);
  });

  test('of a cache that lags is doubted, and asked for past the cache', async () => {
    stored = aProxyConfigObject(anOffer(5));
    start();
    await settle();
    cached = aProxyConfigObject(anOffer(4));
    await pass(10_000);
    expect([revision(), holder.state().rejected, client.requests.some(({ query, path }) => path.endsWith('sallyport-proxy') && query === undefined)]).toEqual([5, null, true]);
  });

  test('that went back for certain is refused, and the one in force stays', async () => {
    stored = aProxyConfigObject(anOffer(5));
    start();
    await settle();
    stored = aProxyConfigObject(anOffer(4), { resourceVersion: '9' });
    await pass(10_000);
    expect(holder.state()).toMatchObject({ inForce: { revision: 5 }, rejected: { reason: 'RevisionGoesBack' } });
  });

  test('that is deleted stays in force', async () => {
    stored = aProxyConfigObject(anOffer(5));
    start();
    await settle();
    stored = null;
    await pass(700_000);
    expect([revision(), log.lines.some((line) => line.includes('the config is gone'))]).toEqual([5, true]);
  });
});

describe('a container that starts', () => {
  const usable = { outcome: 'usable', snapshot: { accepted: { ...anOffer(3), parsed: aConfig([aPolicy('p3')]) }, lastContactMs: 1_700_000_000_000 - 60_000 } } as const;

  test('while the API server is away takes the snapshot, with its age', async () => {
    [down, snapshot] = [unreachable(), usable];
    start();
    await pass(4_750);
    expect(revision()).toBeUndefined();
    await pass(250);
    expect([revision(), holder.staleMs()]).toEqual([3, 65_000]);
  });

  test('admits nobody when the snapshot does not serve', async () => {
    [down, snapshot] = [unreachable(), { outcome: 'unusable', problem: 'too old' }];
    start();
    await pass(60_000);
    expect([holder.current(), log.lines.some((line) => line.includes('"snapshot":"too old"'))]).toEqual([null, true]);
  });

  test('takes no snapshot when the API server answers that there is no config', async () => {
    snapshot = usable;
    start();
    await pass(60_000);
    expect(holder.current()).toBeNull();
  });

  test('goes on with the API server once it is back', async () => {
    [down, snapshot] = [unreachable(), usable];
    start();
    await pass(6_000);
    down = null;
    stored = aProxyConfigObject(anOffer(8));
    await pass(40_000);
    expect(revision()).toBe(8);
    expect(holder.staleMs()).toBeLessThan(10_001);
  });
});

test('a slow volume never keeps an older config than the one in force', async () => {
  stored = aProxyConfigObject(anOffer(1));
  const written: number[] = [];
  const { promise: slow, resolve: goOn } = Promise.withResolvers<void>();
  save = async ({ revision }) => {
    if (revision === 1) await slow;
    written.push(revision);
  };
  start();
  await settle();
  stored = aProxyConfigObject(anOffer(2));
  await pass(10_000);
  stored = aProxyConfigObject(anOffer(3));
  await pass(10_000);
  expect(written).toEqual([]);
  goOn();
  await settle();
  expect(written).toEqual([1, 3]);
});

test('each config in force is kept on the volume, and its last contact each minute', async () => {
  stored = aProxyConfigObject(anOffer(1));
  start();
  await settle();
  const startMs = clock.now();
  expect(snapshots).toEqual([{ revision: 1, lastContactMs: startMs }]);
  stored = aProxyConfigObject(anOffer(2));
  await pass(10_000);
  expect(snapshots.at(-1)).toMatchObject({ revision: 2 });
  await pass(60_000);
  expect(snapshots.at(-1)?.lastContactMs).toBeGreaterThan(startMs + 40_000);
  down = unreachable();
  const lastContactMs = clock.now() - holder.staleMs();
  await pass(120_000);
  expect(snapshots.at(-1)).toEqual({ revision: 2, lastContactMs });
});
