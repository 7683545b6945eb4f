import type { World } from '../hosts/gateway.ts';
import { type Frame, type RawTarget, readFields } from '../leaks/raw-client.ts';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { type ByteClient, openByteClient } from './byte-client.ts';
import type { Random } from './random.ts';
import type { Step } from './sequences.ts';

/** What came of one sequence. `cut`: an answer that differs on purpose ended the comparison early. */
export interface Comparison {
  readonly divergence: Divergence | null;
  readonly cut: boolean;
}

/** What differs. */
export interface Divergence {
  readonly steps: readonly Step[];
  readonly direct: readonly string[];
  readonly proxied: readonly string[];
  readonly how: 'whole' | 'split';
}

/** The two ways to one server, with a token that is valid for the whole run. */
export interface TwoWays {
  readonly direct: RawTarget;
  readonly proxied: RawTarget;
}

/** The server's socket directory needs no password; the gateway takes a token. */
export async function twoWays(world: World): Promise<TwoWays> {
  const { postgres } = world;
  return {
    direct: { port: `${postgres.socketDirectory}/.s.PGSQL.${postgres.port}`, ca: null, user: 'postgres', database: 'postgres', password: '' },
    proxied: { port: world.port, ca: world.ca, user: 'postgres', database: 'postgres', password: await world.token('engineer') },
  };
}

/**
 * Sends one sequence to the server directly, through the gateway in one piece, and through the gateway in random pieces.
 *
 * @returns the first difference in what came back, if any.
 */
export async function compareAnswers(ways: TwoWays, steps: readonly Step[], random: Random): Promise<Comparison> {
  const [direct, whole, split] = await Promise.all([play(ways.direct, steps, null), play(ways.proxied, steps, null), play(ways.proxied, steps, random)]);
  const cut = [whole, split].some((lines) => lines.some((line) => line.startsWith('!')));
  if (!alike(direct, whole)) return { divergence: { steps, direct, proxied: whole, how: 'whole' }, cut };
  if (!alike(direct, split)) return { divergence: { steps, direct, proxied: split, how: 'split' }, cut };
  return { divergence: null, cut };
}

/**
 * Whether the server itself has crashed lately: some sequences make a PostgreSQL backend fail (seen: 18, Execute of a portal whose DECLARE CURSOR is over), and what ran
 * beside them proves nothing. Waits until it accepts again.
 */
export async function hasCrashed(world: World, ways: TwoWays, seen: { crashes: number; untilMs: number }): Promise<boolean> {
  // The server tells of it when it has noticed.
  await new Promise((resolve) => setTimeout(resolve, 500));
  const crashes = world.postgres.log().split('was terminated by signal').length - 1;
  if (crashes > seen.crashes) Object.assign(seen, { crashes, untilMs: performance.now() + 5_000 });
  if (performance.now() > seen.untilMs) return false;
  for (let tries = 0; tries < 40; tries++) {
    const client = await openByteClient(ways.direct).catch(() => null);
    client?.destroy();
    if (client) return true;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  throw new Error('the server did not come back');
}

/** The second statement lets the gateway learn the search path, as the first messages of a session do. */
const prelude = Buffer.concat([write.query('create temp table t (a int4, b text)'), write.query('select a from t')]);
/** Leaves every state: a COPY, a skipped pipeline, an open transaction. */
const ending = Buffer.concat([write.frame('f', Buffer.from('end\0')), write.sync(), write.query('rollback'), write.query('select \'the end\'')]);
const hangMs = 15_000;

async function play(target: RawTarget, steps: readonly Step[], pieces: Random | null): Promise<readonly string[]> {
  const client = await openByteClient(target);
  try {
    client.socket.write(prelude);
    const ready = (count: number) => (frames: readonly Frame[]): boolean => frames.filter(({ type }) => type === 'Z').length >= count;
    await client.wait(ready(3), hangMs);
    const from = client.frames.length;
    const bytes = Buffer.concat([...steps.map((step) => step.bytes), ending]);
    if (pieces) await writePieces(client, bytes, pieces);
    else client.socket.write(bytes);
    const ended = await client.wait((frames) => frames.at(-1)?.type === 'Z' && frames.some(({ type, body }) => type === 'D' && body.includes('the end')), hangMs);
    const seen = client.frames.slice(from).map(describeFrame);
    return ended ? [...seen, ...(client.closed ? ['closed'] : [])] : [...seen, 'HANG'];
  } finally {
    client.destroy();
  }
}

async function writePieces(client: ByteClient, bytes: Buffer, random: Random): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + 1 + random.int(random.chance(0.5) ? 7 : 60));
    client.socket.write(bytes.subarray(at, end));
    at = end;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/** Where the connection ends, the last words may be lost on either side: what both say before must agree, and both must close. */
function alike(direct: readonly string[], proxied: readonly string[]): boolean {
  const block = openBlockAt(direct, proxied);
  if (block >= 0) return sameLines(direct.slice(0, block), proxied.slice(0, block));
  const confused = confusedAt(direct, proxied);
  if (confused >= 0) return sameLines(direct.slice(0, confused), proxied.slice(0, confused));
  const deliberate = proxied.findIndex((line) => line.startsWith('!'));
  if (deliberate >= 0) return sameLines(direct.slice(0, deliberate), proxied.slice(0, deliberate));
  if (direct.at(-1) !== 'closed' || proxied.at(-1) !== 'closed') return direct.length === proxied.length && sameLines(direct, proxied);
  const [left, right] = [beforeTheEnd(direct), beforeTheEnd(proxied)];
  const common = Math.min(left.length, right.length);
  return sameLines(left.slice(0, common), right.slice(0, common));
}

function sameLines(direct: readonly string[], proxied: readonly string[]): boolean {
  return direct.every((line, index) => line === proxied[index] || isSameFailure(line, proxied[index] ?? ''));
}

/** In a failed transaction the server says 25P02 for whatever it still finds; the gateway looks the name up first. */
function isSameFailure(direct: string, proxied: string): boolean {
  return direct === 'E ERROR 25P02' && (proxied === 'E ERROR 34000' || proxied === 'E ERROR 26000');
}

/** Answers that differ on purpose (docs/postgres.md, "Differences"): what follows them cannot be compared. */
const deliberate = /\[SEARCH_PATH_UNKNOWN\]|not allowed during COPY/;

/** Where a question of ours for the search path has left the implicit transaction block open behind a Query in a pipeline (docs/postgres.md, "Differences"), or where the server met an error of its own in that state. */
function openBlockAt(direct: readonly string[], proxied: readonly string[]): number {
  const at = direct.findIndex((line, index) => line !== proxied[index]);
  if (at < 0) return -1;
  const [left = '', right = ''] = [direct[at], proxied[at]];
  return (left === 'Z "I"' && right === 'Z "T"') || left.startsWith('E ERROR XX000') || (left === 'E ERROR 25P01' && worksInBlock.test(right)) || (left.startsWith('C "START TRANSACTION') && right === 'E ERROR 25001') ? at : -1;
}

/** What PostgreSQL runs in a transaction block only. */
const worksInBlock = /^C "(LOCK TABLE|DECLARE CURSOR)/;

/** What PostgreSQL says when its own transaction state is broken. */
const serverConfused = 'E ERROR XX000 StartTransactionCommand';

/**
 * Where the server lost its own transaction state: Queries behind an extended COPY FROM that no Sync followed leave it with a transaction that it believes closed
 * (`StartTransactionCommand: unexpected state STARTED`, seen in 18). Which of the next messages stumbles over it depends on whether one fails on the server or, an unknown
 * portal for example, in the gateway already. Nothing from the last ReadyForQuery before the first difference on can be compared.
 */
function confusedAt(direct: readonly string[], proxied: readonly string[]): number {
  if (!direct.includes(serverConfused) && !proxied.includes(serverConfused)) return -1;
  const at = direct.findIndex((line, index) => line !== proxied[index]);
  return at < 0 ? -1 : direct.slice(0, at).findLastIndex((line) => line.startsWith('Z ')) + 1;
}

function beforeTheEnd(lines: readonly string[]): readonly string[] {
  return lines.filter((line) => line !== 'closed' && !/^E (FATAL|ERROR) 08P01/.test(line));
}

/** Type and body; table OIDs differ between sessions, and texts of ours are worded by us. */
function describeFrame({ type, body }: Frame): string {
  switch (type) {
    case 'E':
    case 'N': {
      const fields = readFields(body);
      if (deliberate.test(`${fields.get('M')} ${fields.get('D')}`)) return `! ${fields.get('M')}`;
      const confused = fields.get('M')?.startsWith('StartTransactionCommand: unexpected state') ? ' StartTransactionCommand' : '';
      return `${type} ${fields.get('S')} ${fields.get('C')}${confused}`;
    }
    case 'T':
      return `T ${describeColumns(body)}`;
    case 'A':
      return `A ${body.subarray(4).toString('latin1')}`;
    default:
      return `${type} ${JSON.stringify(body.toString('latin1'))}`;
  }
}

function describeColumns(body: Buffer): string {
  const copy = Buffer.from(body);
  let at = 2;
  for (let left = copy.readInt16BE(0); left > 0; left--) {
    at = copy.indexOf(0, at) + 1;
    copy.writeInt32BE(copy.readInt32BE(at) === 0 ? 0 : 1, at);
    at += 18;
  }
  return copy.toString('hex');
}
