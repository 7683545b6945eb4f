import type { AccessSessionResource } from '../../../contract/api/v1alpha1.gen.ts';
import type { OperatorSettings } from '../../../contract/operator-settings.ts';
import type { KubeClient } from '../../../runtime/kube/kube-client.ts';
import { deleteObject, getObject } from '../../../runtime/kube/verbs.ts';
import { kinds } from '../../kube/kinds.ts';
import type { Pacer } from '../pacer.ts';
import { deletesPerSweep, overdue } from '../retention.ts';
import { expiresAtMs, isOver, type KeptSession } from './plan.ts';

/** What a sweep works on. */
export interface SessionSweepOptions {
  readonly client: KubeClient;
  readonly settings: OperatorSettings;
  readonly deletes: Pacer;
  /** Sessions that are over, as far as the cache can tell. */
  readonly sessions: readonly KeptSession[];
  /** Ends of sessions that were read, by uid: metadata does not tell them. Kept between sweeps. */
  readonly ends: Map<string, string>;
  readonly nowMs: number;
}

/**
 * Deletes finished sessions that retention is over for, oldest first, at the pace of `deletes`. Each is read first: the cache has only metadata, and a session that is not over is never deleted.
 *
 * @returns whether some are left for the next sweep.
 */
export async function sweepSessions(options: SessionSweepOptions, signal: AbortSignal): Promise<boolean> {
  const { settings, nowMs, ends } = options;
  const byKey = new Map(options.sessions.map((session) => [`${session.metadata.namespace ?? ''}/${session.metadata.name}`, session]));
  forgetGone(ends, options.sessions);
  const finished = [...byKey].map(([key, session]) => {
    const endedAt = session.status?.endedAt ?? ends.get(session.metadata.uid ?? '');
    const maxAgeMs = settings.retention.sessionHours * 3_600_000;
    return { key, namespace: session.metadata.namespace ?? '', finishedAtMs: expiresAtMs({ ...session, ...(endedAt === undefined ? {} : { status: { endedAt } }) }, 0), maxAgeMs };
  });
  const counts = { perNamespace: settings.retention.sessionsPerNamespace, perCluster: settings.retention.sessionsPerCluster };
  const tooMany = new Set(overdue(finished.map((one) => ({ ...one, maxAgeMs: Number.POSITIVE_INFINITY })), counts, nowMs));
  const over = overdue(finished, counts, nowMs);
  for (const key of over.slice(0, deletesPerSweep)) {
    const session = byKey.get(key);
    if (session !== undefined) await remove(options, session, tooMany.has(key), signal);
  }
  return over.length > deletesPerSweep;
}

async function remove(options: SessionSweepOptions, { metadata }: KeptSession, isTooMany: boolean, signal: AbortSignal): Promise<void> {
  const { client, settings, nowMs, ends } = options;
  const { namespace = '', name, uid = '' } = metadata;
  await options.deletes.turn(signal);
  const stored = await getObject<AccessSessionResource>(client, kinds.accessSession, namespace, name, { signal });
  if (stored === null || stored.metadata.uid !== uid || !isOver(stored)) return;
  if (stored.status?.endedAt !== undefined) ends.set(uid, stored.status.endedAt);
  if (!isTooMany && nowMs < expiresAtMs(stored as KeptSession, settings.retention.sessionHours)) return;
  await deleteObject(client, kinds.accessSession, namespace, name, { uid, signal });
}

function forgetGone(ends: Map<string, string>, sessions: readonly KeptSession[]): void {
  const present = new Set(sessions.map((session) => session.metadata.uid));
  for (const uid of ends.keys()) if (!present.has(uid)) ends.delete(uid);
}
