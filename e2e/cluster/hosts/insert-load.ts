import type pg from 'pg';
import { eventually } from '../../hosts/clients.ts';

/** What became of a load. */
export interface LoadResult {
  /** Acknowledged inserts, `session,number`. */
  readonly acknowledged: readonly string[];
  /** Errors of sessions, as texts. */
  readonly failures: readonly string[];
  /** The longest time from sending an insert to its acknowledgement, ms. */
  readonly slowestMs: number;
  /** The longest time in which no session got an acknowledgement, ms. */
  readonly longestSilenceMs: number;
}

/** Sessions that each insert numbered rows into `load (session, number)`, one after another. */
export interface Load {
  /** Acknowledged so far. */
  readonly count: () => number;
  /** Resolves once so many are acknowledged. @throws when a session failed, or after 60 s. */
  reached(count: number): Promise<void>;
  stop(): Promise<LoadResult>;
}

/** Starts the load on connected sessions, which it ends. */
export function startInserts(sessions: readonly pg.Client[], paceMs: number): Load {
  const acknowledged: string[] = [];
  const failures: string[] = [];
  let [isStopped, slowestMs, longestSilenceMs, lastMs] = [false, 0, 0, performance.now()];
  const run = async (client: pg.Client, session: number): Promise<void> => {
    try {
      for (let number = 0; !isStopped; number++) {
        const sentMs = performance.now();
        await client.query('insert into load values ($1, $2)', [session, number]);
        const nowMs = performance.now();
        [slowestMs, longestSilenceMs, lastMs] = [Math.max(slowestMs, nowMs - sentMs), Math.max(longestSilenceMs, nowMs - lastMs), nowMs];
        acknowledged.push(`${session},${number}`);
        await new Promise((resolve) => setTimeout(resolve, paceMs));
      }
      await client.end();
    } catch (error) {
      failures.push(`session ${session}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  const running = Promise.all(sessions.map(run));
  return {
    count: () => acknowledged.length,
    reached: (count) => eventually(`${count} inserts: ${acknowledged.length}`, () => {
      if (failures.length > 0) throw new Error(failures.join('; '));
      return acknowledged.length >= count;
    }, 60_000).then(() => undefined),
    async stop() {
      isStopped = true;
      await running;
      return { acknowledged, failures, slowestMs, longestSilenceMs };
    },
  };
}
