import { apiVersion, fieldManagers, proxyName } from '../../../contract/names.ts';
import { canonicalJson } from '../../../contract/canonical-json.ts';
import { type RuntimeClock, sleep } from '../../../runtime/clock.ts';
import { type KubeClient, KubeError } from '../../../runtime/kube/kube-client.ts';
import { applyObject } from '../../../runtime/kube/verbs.ts';
import type { Logger } from '../../core/ports.ts';
import type { AckEntry } from './ack-entry.ts';
import { proxyConfigKind } from './kinds.ts';
import type { StoredAck } from './read-proxy-config.ts';

/** What acknowledging takes. */
export interface AckOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly pod: string;
  /** What should stand in the status; null: nothing yet. */
  readonly desired: () => AckEntry | null;
  /** What stands there, as last seen. */
  readonly stored: () => StoredAck | null;
  readonly clock: RuntimeClock;
  /** 0 to 1. */
  readonly random: () => number;
  readonly log: Logger;
}

/** Keeps this pod's entry in `status.proxies` as it should be. */
export interface Acks extends AsyncDisposable {
  /** Call after anything that may change the entry, and when the status was read anew. Writes at once, or not at all when the entry stands there already. */
  nudge(): void;
  /** Resolves when what is desired now was written, or the signal aborts; never rejects. */
  written(signal: AbortSignal): Promise<void>;
}

const firstRetryMs = 250;
const lastRetryMs = 30_000;
/** After an own write the status that we see may lag: an entry that was just written is not written again because of that. */
const settleMs = 5_000;
const recheckMs = 10_000;

/**
 * Writes this pod's entry of `status.proxies`, and nothing else in the object: by server-side apply under a field manager of this pod's own.
 *
 * Level based: whatever happened in between, what is desired now is written once; failures are tried again with growing pauses.
 */
export function startAcks(options: AckOptions): Acks {
  const stopping = new AbortController();
  const { signal } = stopping;
  let wake = Promise.withResolvers<void>();
  let idle = Promise.withResolvers<void>();
  const nudge = (): void => wake.resolve();
  const working = (async () => {
    let failures = 0;
    let last: { readonly text: string; readonly atMs: number } | null = null;
    while (!signal.aborted) {
      wake = Promise.withResolvers<void>();
      const entry = options.desired();
      const text = entry === null ? null : canonicalJson(entry);
      try {
        if (entry !== null && text !== null && !isWritten(options, text, last)) {
          last = null;
          await write(options, entry, signal);
          last = { text, atMs: options.clock.monotonicMs() };
        }
        failures = 0;
        if (canonicalJson(options.desired()) === canonicalJson(entry)) {
          idle.resolve();
          await untilWoken(options, wake.promise, signal);
        }
      } catch (error) {
        if (signal.aborted) break;
        options.log.debug('acknowledgement not written', error instanceof KubeError ? { status: error.status, reason: error.reason } : { error: String(error) });
        const delay = Math.min(lastRetryMs, firstRetryMs * 2 ** failures++) * (0.5 + options.random() / 2);
        await sleep(options.clock, Math.max(delay, error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0), signal).catch(() => undefined);
      }
    }
    idle.resolve();
  })();
  return {
    nudge,
    written: async (until) => {
      idle = Promise.withResolvers<void>();
      nudge();
      await Promise.race([idle.promise, untilAborted(until)]);
    },
    [Symbol.asyncDispose]: async () => {
      stopping.abort(new Error('acknowledging was closed'));
      nudge();
      await working;
    },
  };
}

function isWritten({ stored, clock }: AckOptions, text: string, last: { readonly text: string; readonly atMs: number } | null): boolean {
  const seen = stored();
  if (seen !== null && canonicalJson(seen) === text) return true;
  return last?.text === text && clock.monotonicMs() - last.atMs < settleMs;
}

async function write({ client, namespace, pod }: AckOptions, entry: AckEntry, signal: AbortSignal): Promise<void> {
  const body = { apiVersion, kind: proxyConfigKind.kind, metadata: { name: proxyName, namespace }, status: { proxies: [entry] } };
  await applyObject(client, proxyConfigKind, body, { fieldManager: fieldManagers.proxy(pod), force: true, subresource: 'status', signal });
}

/** Looks again by itself from time to time: somebody may have removed the entry while ours was on its way. */
async function untilWoken({ clock }: AckOptions, wake: Promise<void>, signal: AbortSignal): Promise<void> {
  const woken = new AbortController();
  try {
    await Promise.race([wake, sleep(clock, recheckMs, AbortSignal.any([signal, woken.signal])).catch(() => undefined)]);
  } finally {
    woken.abort();
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  signal.addEventListener('abort', () => resolve(), { once: true });
  return promise;
}
