import type pg from 'pg';
import { connectPg } from './clients.ts';
import type { World } from './gateway.ts';

/** An error as a client sees it. */
export interface SeenError {
  readonly severity: string | undefined;
  readonly code: string | undefined;
  readonly message: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
}

/** A session whose end and notices are watched. */
export interface WatchedSession {
  readonly client: pg.Client;
  readonly notices: readonly string[];
  /** Resolves when the gateway ends the session: its FATAL, and when it came (performance.now). */
  readonly ended: Promise<{ readonly error: SeenError; readonly atMs: number }>;
  /** Runs a statement and returns its rows, or the error as it was seen. */
  run(query: string | pg.QueryConfig): Promise<readonly Record<string, unknown>[] | SeenError>;
}

/** Opens a session and watches it. */
export async function watchedSession(world: World, token: string, options: pg.ClientConfig = {}): Promise<WatchedSession> {
  const notices: string[] = [];
  const { promise, resolve } = Promise.withResolvers<{ readonly error: SeenError; readonly atMs: number }>();
  const note = (error: unknown): void => {
    const seen = seenError(error);
    if (seen.severity === 'FATAL') resolve({ error: seen, atMs: performance.now() });
  };
  const client = await connectPg(world, token, options);
  client.on('error', note);
  client.on('notice', (notice) => notices.push(notice.message ?? ''));
  return {
    client, notices, ended: promise,
    run: async (query) => {
      try {
        return (await client.query<Record<string, unknown>>(query as pg.QueryConfig)).rows;
      } catch (error) {
        note(error);
        return seenError(error);
      }
    },
  };
}

/** Tries to open a session; null when it opened, and it is closed again. */
export async function refusedLogin(world: World, token: string, options: pg.ClientConfig = {}): Promise<SeenError | null> {
  try {
    await (await connectPg(world, token, options)).end();
    return null;
  } catch (error) {
    return seenError(error);
  }
}

/** What of an error a client shows. */
export function seenError(error: unknown): SeenError {
  const { severity, code, message, detail, hint } = error as pg.DatabaseError;
  return { severity, code, message, detail, hint };
}

/** Name of the request that a hold notice or the list of requests tells. */
export function requestNamed(notices: readonly string[]): string | null {
  return notices.map((notice) => /\((areq-[a-z0-9]+)\)/.exec(notice)?.[1] ?? null).findLast((name) => name !== null) ?? null;
}
