import type pg from 'pg';
import { setTimeout as delay } from 'node:timers/promises';

/** A client that writes numbered rows into `ledger (id text)`, reconnects when its session is ended between two pieces of work, and sends again what was not acknowledged. */
export interface LedgerOptions {
  readonly name: string;
  readonly connect: () => Promise<pg.Client>;
  /** 0: each row is a statement of its own. Else a transaction that writes one row, sleeps for so long, and writes another. */
  readonly holdSeconds: number;
  readonly pauseMs: number;
}

/** What became of one client. */
export interface LedgerResult {
  readonly acknowledged: readonly string[];
  /** Sessions that ended between two pieces of work. */
  readonly reconnects: number;
  /** Ends in the middle of a transaction, and errors that no ending session explains. */
  readonly cuts: readonly string[];
}

/** A running client. */
export interface LedgerClient {
  count(): number;
  stop(): Promise<LedgerResult>;
}

/** Lets so many run at a time, in the order in which they came: a proxy turns away more than ten logins at once of one address, and here all clients share one. */
export function gateOf(places: number): <T>(run: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let free = places;
  return async (run) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => void waiting.push(resolve));
    try {
      return await run();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free++;
      else next();
    }
  };
}

/** Starts one. */
export function startLedger(options: LedgerOptions): LedgerClient {
  const [acknowledged, cuts]: [string[], string[]] = [[], []];
  let [stopped, reconnects] = [false, 0];
  let client: pg.Client | null = null;
  const connected = async (): Promise<pg.Client> => {
    for (let attempt = 0; ; attempt++) {
      try {
        client ??= await options.connect();
        return client;
      } catch (error) {
        if (attempt === 100 || stopped) throw error;
        await delay(100 + 200 * Math.random());
      }
    }
  };
  const lose = (): void => {
    client?.end().catch(() => undefined);
    client = null;
    reconnects++;
  };
  const run = async (): Promise<void> => {
    for (let number = 0; !stopped; number++) {
      const ids = options.holdSeconds > 0 ? [`${options.name}-${number}-a`, `${options.name}-${number}-b`] : [`${options.name}-${number}`];
      while (!(await attempt(ids))) if (stopped && cuts.length > 0) return;
      acknowledged.push(...ids);
      await delay(options.pauseMs * (0.5 + Math.random()));
    }
  };
  /** @returns whether the work was acknowledged; false: its session was over before it began, so it was not run. */
  const attempt = async (ids: readonly string[]): Promise<boolean> => {
    const session = await connected();
    let begun = false;
    try {
      if (options.holdSeconds === 0) {
        await insert(session, ids[0] ?? '');
        return true;
      }
      await session.query('begin');
      begun = true;
      await insert(session, ids[0] ?? '');
      await session.query(`select pg_sleep(${options.holdSeconds})`);
      await insert(session, ids[1] ?? '');
      await session.query('commit');
      return true;
    } catch (error) {
      // 57P01 answers a statement that came behind the end of the session; a connection that is gone answers nothing, and had told the end before.
      const explained = codeOf(error) === '57P01' || /Connection terminated|not queryable|Client was closed/.test(String(error));
      if (begun || !explained) cuts.push(`${ids[0]}: ${codeOf(error)} ${String(error)}`);
      lose();
      return false;
    }
  };
  const running = run().catch((error: unknown) => void cuts.push(`${options.name} gave up: ${String(error)}`));
  return {
    count: () => acknowledged.length,
    stop: async () => {
      stopped = true;
      await running;
      await client?.end().catch(() => undefined);
      return { acknowledged, reconnects, cuts };
    },
  };
}

function insert(session: pg.Client, id: string): Promise<unknown> {
  return session.query('insert into ledger values ($1)', [id]);
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
}
