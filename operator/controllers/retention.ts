/** A finished object that may be deleted one day. */
export interface FinishedObject {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  /** When it was finished, or the earliest time at which it can have been; Unix ms. */
  readonly finishedAtMs: number;
  readonly maxAgeMs: number;
}

/** How many finished objects stay. */
export interface RetentionCounts {
  readonly perNamespace: number;
  readonly perCluster: number;
}

/** Keys of the objects that retention is over for, oldest first: by age, then those that a namespace, then those that the cluster has too many of. Pure. */
export function overdue(objects: readonly FinishedObject[], counts: RetentionCounts, nowMs: number): readonly string[] {
  const newestFirst = [...objects].sort((a, b) => b.finishedAtMs - a.finishedAtMs || (a.key < b.key ? -1 : 1));
  const inNamespace = new Map<string, number>();
  let inCluster = 0;
  const over: string[] = [];
  for (const object of newestFirst) {
    const before = inNamespace.get(object.namespace) ?? 0;
    if (nowMs >= object.finishedAtMs + object.maxAgeMs || before >= counts.perNamespace || inCluster >= counts.perCluster) {
      over.push(object.key);
      continue;
    }
    inNamespace.set(object.namespace, before + 1);
    inCluster++;
  }
  return over.reverse();
}

/** Deletions of one sweep, under a minute's worth; the rest is the next one's: a reconcile that takes minutes looks stuck. */
export const deletesPerSweep = 1_000;
