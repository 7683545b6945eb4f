import { proxyName } from '../../../contract/names.ts';
import { type RuntimeClock, sleep } from '../../../runtime/clock.ts';
import { type KubeClient, KubeError, type KubeObject } from '../../../runtime/kube/kube-client.ts';
import { startReflector } from '../../../runtime/kube/reflector.ts';
import { getObject } from '../../../runtime/kube/verbs.ts';
import type { Logger } from '../../core/ports.ts';
import type { ConfigHolder } from './config-holder.ts';
import { proxyConfigKind } from './kinds.ts';
import type { SnapshotFile } from './snapshot-file.ts';

/** What following the config takes. */
export interface ConfigWatchOptions {
  readonly client: KubeClient;
  readonly holder: ConfigHolder;
  readonly namespace: string;
  readonly snapshots: SnapshotFile;
  readonly maxStaleMs: number;
  readonly clock: RuntimeClock;
  /** 0 to 1. */
  readonly random: () => number;
  readonly log: Logger;
  /** Between two plain reads; 8 to 10 s by default. */
  readonly pollMs?: number;
}

/** With a little less than ten seconds a watch that died without a word costs at most ten. */
const pollMs = 8_000;
const readTimeoutMs = 5_000;
const snapshotEveryMs = 60_000;
/** Without an answer after this the last config of the volume is tried. */
const bootMs = 5_000;

/**
 * Keeps the config of ProxyConfig/sallyport-proxy in force until it is disposed: a watch tells at once, a plain read every ten seconds bridges a watch that is dead
 * without knowing it, and a snapshot serves a container that starts again while the API server is away.
 */
export function watchClusterConfig(options: ConfigWatchOptions): AsyncDisposable {
  const { client, holder, namespace, clock, random } = options;
  const stopping = new AbortController();
  const { signal } = stopping;
  const key = `${namespace}/${proxyName}`;
  const offer = (object: KubeObject): void => {
    if (holder.offer(object, false) === 'doubtful') confirm();
  };
  let confirming: Promise<void> | null = null;
  const confirm = (): void => {
    confirming ??= readConsistently(options, signal).finally(() => { confirming = null; });
  };
  const reflector = startReflector<KubeObject>({
    client, kind: proxyConfigKind, namespace, fieldSelector: `metadata.name=${proxyName}`, clock, random, onContact: () => holder.contact(),
    onKey: () => {
      const object = reflector.get(key);
      if (object !== null) offer(object);
      else options.log.error('the config is gone from the API server, the last good one stays', { object: proxyName });
    },
  });
  const save = oneAtATime(() => writeSnapshot(options));
  const work = [
    repeat('poll', () => pause(options, signal), () => poll(options, offer, () => reflector.relist(), signal), options, signal),
    repeat('tick', () => sleep(clock, 1_000, signal), async () => holder.tick(), options, signal),
    repeat('snapshot', () => sleep(clock, snapshotEveryMs, signal), () => save(), options, signal),
    boot(options, signal),
  ];
  const unsubscribe = holder.subscribe(() => void save());
  return {
    [Symbol.asyncDispose]: async () => {
      unsubscribe();
      stopping.abort(new Error('the config watch was closed'));
      await reflector[Symbol.asyncDispose]();
      await Promise.all(work);
      await confirming;
      await save();
    },
  };
}

function pause(options: ConfigWatchOptions, signal: AbortSignal): Promise<void> {
  return sleep(options.clock, (options.pollMs ?? pollMs) * (1 + 0.2 * options.random()), signal);
}

/** Asks for the metadata alone, from the watch cache; the object itself is read only when it is not the one that is known. */
async function poll(options: ConfigWatchOptions, offer: (object: KubeObject) => void, relist: () => void, signal: AbortSignal): Promise<void> {
  const { holder } = options;
  const metadata = await read(options, { fromCache: true, metadataOnly: true }, signal);
  // Only what is the same is confirmed; of what is newer the age begins anew when it is here.
  if (metadata === null || metadata.metadata.resourceVersion === holder.resourceVersion) return holder.contact();
  const before = holder.state().inForce?.revision;
  const object = await read(options, { fromCache: true }, signal);
  if (object !== null) offer(object);
  // The watch had not told: it is dead, or about to be.
  if (holder.state().inForce?.revision !== before) relist();
}

async function readConsistently(options: ConfigWatchOptions, signal: AbortSignal): Promise<void> {
  try {
    const object = await read(options, {}, signal);
    options.holder.contact();
    if (object !== null) options.holder.offer(object, true);
  } catch (error) {
    if (!signal.aborted) logFailure(options, 'config cannot be confirmed', error);
  }
}

async function read({ client, namespace }: ConfigWatchOptions, how: { readonly fromCache?: boolean; readonly metadataOnly?: boolean }, signal: AbortSignal): Promise<KubeObject | null> {
  return getObject<KubeObject>(client, proxyConfigKind, namespace, proxyName, { ...how, signal: AbortSignal.any([signal, AbortSignal.timeout(readTimeoutMs)]) });
}

async function boot(options: ConfigWatchOptions, signal: AbortSignal): Promise<void> {
  const { holder, snapshots, clock, log } = options;
  try {
    await sleep(clock, bootMs, signal);
    if (holder.state().inForce !== null || holder.staleMs() !== Infinity) return;
    const found = await snapshots.read(clock.now(), options.maxStaleMs);
    if (found.outcome === 'unusable') return log.error('no answer from the API server and no usable snapshot, nobody is admitted', { snapshot: found.problem });
    log.info('no answer from the API server, the snapshot is put in force', { ageSeconds: Math.round((clock.now() - found.snapshot.lastContactMs) / 1_000) });
    holder.restore(found.snapshot);
  } catch (error) {
    if (!signal.aborted) logFailure(options, 'snapshot cannot be read', error);
  }
}

/** Runs never overlap, and one that is asked for while another runs comes after it: an older snapshot must not replace a newer one. */
function oneAtATime(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null;
  let next: Promise<void> | null = null;
  const start = (): Promise<void> => {
    running = run().finally(() => { running = null; });
    return running;
  };
  return () => {
    if (running === null) return start();
    next ??= running.then(() => {
      next = null;
      return start();
    });
    return next;
  };
}

async function writeSnapshot({ holder, snapshots, clock, log }: ConfigWatchOptions): Promise<void> {
  const { inForce } = holder.state();
  if (inForce === null || holder.staleMs() === Infinity) return;
  try {
    await snapshots.write(inForce, clock.now() - holder.staleMs());
  } catch (error) {
    log.error('snapshot cannot be written', { error: error instanceof Error ? error.message : 'unknown' });
  }
}

async function repeat(name: string, wait: () => Promise<void>, run: () => Promise<void>, options: ConfigWatchOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await wait();
      await run();
    } catch (error) {
      if (!signal.aborted) logFailure(options, `config ${name} failed`, error);
    }
  }
}

function logFailure({ log }: ConfigWatchOptions, message: string, error: unknown): void {
  const reason = error instanceof KubeError ? { status: error.status, reason: error.reason } : { error: error instanceof Error ? error.message : 'unknown' };
  log.debug(message, reason);
}
