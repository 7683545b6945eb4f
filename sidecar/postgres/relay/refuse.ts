import { randomBytes } from 'node:crypto';
import type { Denial } from '../../core/errors.ts';
import { wordDenial } from '../sqlstate.ts';
import { encodeError } from '../wire/error-response.ts';
import * as write from '../wire/frame-writer.ts';
import { isSkipped, type RelayContext } from './context.ts';
import type { Poison } from './reply-queue.ts';
import { startSegment } from './settle.ts';

/**
 * Refuses a simple Query (or FunctionCall) with the effect of a server error at that place.
 *
 * With nothing else going on we answer ourselves; otherwise the server is made to fail in its place ("poison"), so that
 * an open transaction becomes failed and the answers stay in order. The poison is a Query too: in a pipeline that has failed
 * before it, the server skips both without a ReadyForQuery.
 */
export function refuseQuery(context: RelayContext, denial: Denial, position: number | null = null): void {
  if (isSkipped(context)) return;
  if (nothingElse(context)) {
    // Every Query ends the unnamed statement, a failed one too.
    context.statements.confirm('', null);
    context.toClient.add(errorFrame(context.inspector.shownDenial(denial), 'ERROR', position));
    context.toClient.add(write.readyForQuery('I'));
    context.flushToClient();
    return;
  }
  poison(context, denial, 'query', { position, dropsUnnamed: true });
  startSegment(context);
}

/**
 * Refuses a message of the extended protocol; what follows up to Sync is dropped, as a server would.
 *
 * @param more `dropsUnnamed`: a Parse of the unnamed statement, so the old one is gone although the new one failed; `position` of the mistake in its text.
 */
export function refuseExtended(context: RelayContext, denial: Denial, more: Partial<Pick<Poison, 'position' | 'dropsUnnamed'>> = {}): void {
  if (isSkipped(context)) return;
  const { position = null, dropsUnnamed = false } = more;
  if (nothingElse(context)) {
    if (dropsUnnamed) context.statements.confirm('', null);
    context.toClient.add(errorFrame(context.inspector.shownDenial(denial), 'ERROR', position));
    context.flushToClient();
    context.discarding = 'locally';
    return;
  }
  poison(context, denial, 'execute', { position, dropsUnnamed });
  context.sentSinceSync = true;
  context.discarding = 'with-server';
}

function nothingElse(context: RelayContext): boolean {
  return context.queue.length === 0 && context.status === 'I' && !context.sentSinceSync;
}

function poison(context: RelayContext, denial: Denial, form: Poison['form'], more: Pick<Poison, 'position' | 'dropsUnnamed'>): void {
  context.batch.bytes.add(form === 'query' ? write.query(refusedText) : write.execute(`sallyport_refused_${randomBytes(12).toString('hex')}`));
  if (more.dropsUnnamed) context.statements.send('', null);
  context.queue.push({ kind: 'poison', form, denial: context.inspector.shownDenial(denial), ...more, own: null, answered: false });
}

/** No SQL, so that it fails in every state; the target's own log says why. */
const refusedText = 'sallyport refused the statement that stood here';

/** What the server answers to a poison (the name of the portal cannot be guessed); anything else means that it ran. */
export const poisonSqlstates: Readonly<Record<Poison['form'], string>> = { execute: '34000', query: '42601' };

const limitRuinedParsers = 3;

/**
 * Whether the session must end because of what could not be read: a broken message, or the third text that ruined a parser.
 * @returns true when it was ended.
 */
export function endsSession(context: RelayContext, denial: Denial): boolean {
  if (denial.code === 'PROTOCOL_VIOLATION') {
    context.end({ reason: 'ProtocolViolation', denial });
    return true;
  }
  if (denial.code !== 'STATEMENT_TOO_DEEP' && denial.code !== 'PARSE_TIMEOUT') return false;
  context.ruinedParsers++;
  if (context.ruinedParsers < limitRuinedParsers) return false;
  context.end({ reason: 'Failed', denial });
  return true;
}

/** An ErrorResponse of ours. */
export function errorFrame(denial: Denial, severity: 'ERROR' | 'FATAL' = 'ERROR', position: number | null = null): Buffer {
  const words = wordDenial(denial);
  return encodeError({ severity, sqlstate: words.sqlstate, message: words.message, detail: words.detail, hint: words.hint, position });
}

/** Whether what the user did not get to see has happened all the same. */
export function withFate(denial: Denial, fate: string): Denial {
  return { ...denial, detail: denial.detail === null ? fate : `${denial.detail}; ${fate}` };
}
