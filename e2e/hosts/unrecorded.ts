import { createHmac } from 'node:crypto';
import { createReadStream, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { PostgresHost } from './postgres.ts';

/** The server's log compared with the records: what ran, and what of it has no intent (D3). */
export interface ServerAgainstRecords {
  /** Statements of the gateway's sessions that the server ran; those of the gateway itself not counted. */
  readonly executed: number;
  readonly sessions: number;
  /** `SESSION: TEXT` of each execution without an intent of its own. Empty when the promise holds. */
  readonly unrecorded: readonly string[];
}

/**
 * Compares what PostgreSQL's own log says that it ran (`log_statement = all`, session id in `application_name`) with the intents in the data directory.
 *
 * Texts are compared by the keyed hash that each intent holds, and counted: two executions need two intents. A simple query of several statements is one line of
 * the server's and one intent a statement here, so it needs at least one.
 */
export async function compareServerWithRecords(postgres: Pick<PostgresHost, 'log'>, dataDirectory: string): Promise<ServerAgainstRecords> {
  const key = Buffer.from(readFileSync(join(dataDirectory, 'keys', 'digest.key'), 'utf8').trim(), 'hex');
  const intents = await countIntents(dataDirectory);
  const unrecorded: string[] = [];
  const sessions = new Set<string>();
  let executed = 0;
  for (const { session, text } of executedStatements(postgres.log())) {
    executed++;
    sessions.add(session);
    const intent = `${session} hmac-sha256:${createHmac('sha256', key).update(`sallyport/text/v1\0${text}`).digest('hex')}`;
    const left = intents.get(intent) ?? 0;
    if (left === 0) unrecorded.push(`${session}: ${text}`);
    else intents.set(intent, left - 1);
  }
  return { executed, sessions: sessions.size, unrecorded };
}

/** What the server ran for sessions of the gateway, in order. The gateway's own questions (`sallyport_own_…`) and its catalog connection are left out. */
export function executedStatements(log: string): readonly { readonly session: string; readonly text: string }[] {
  const statements: { session: string; text: string }[] = [];
  let open: { session: string; text: string } | null = null;
  for (const line of log.split('\n')) {
    // The server indents the second and later lines of a text by one tab.
    if (open && line.startsWith('\t')) {
      open.text += `\n${line.slice(1)}`;
      continue;
    }
    const match = /^\S+ \S+ \S+ \[\d+\] sallyport\/([0-9A-Z]{26})\/\S* LOG: {2}(?:statement|execute (?!sallyport_own_)(?:fetch from )?[^:]*): (.*)$/.exec(line);
    open = match ? { session: match[1] ?? '', text: match[2] ?? '' } : null;
    if (open) statements.push(open);
  }
  return statements;
}

async function countIntents(dataDirectory: string): Promise<Map<string, number>> {
  const intents = new Map<string, number>();
  const root = join(dataDirectory, 'log');
  for (const file of readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ndjson'))) {
    // A log of many kills is longer than a string may be.
    for await (const line of createInterface({ input: createReadStream(join(root, file), 'utf8'), crlfDelay: Number.POSITIVE_INFINITY })) {
      const found = /"event_code":"statement\.intent","correlation_uid":"([0-9A-Z]{26})".*?"text_hmac":"(hmac-sha256:[0-9a-f]{64})"/.exec(line);
      if (found) intents.set(`${found[1]} ${found[2]}`, (intents.get(`${found[1]} ${found[2]}`) ?? 0) + 1);
    }
  }
  return intents;
}
