import { randomBytes } from 'node:crypto';
import type { Denial } from '../../core/errors.ts';
import { wordDenial } from '../sqlstate.ts';
import { encodeError } from '../wire/error-response.ts';
import * as write from '../wire/frame-writer.ts';
import type { RelayContext } from './context.ts';

/**
 * Refuses a simple Query (or FunctionCall) with the effect of a server error at that place.
 *
 * With nothing else going on we answer ourselves; otherwise the server is made to fail in its place ("poison"), so that
 * an open transaction becomes failed and the answers stay in order.
 */
export function refuseQuery(context: RelayContext, denial: Denial, position: number | null = null): void {
  // While the refusal was recorded, the server may have failed the pipeline: it drops this message too.
  if (context.discarding !== 'no') return;
  if (context.queue.length === 0 && context.status === 'I' && !context.sentSinceSync) {
    context.toClient.add(errorFrame(context.inspector.shownDenial(denial), 'ERROR', position));
    context.toClient.add(write.readyForQuery('I'));
    context.flushToClient();
    return;
  }
  poison(context, denial);
  context.batch.bytes.add(write.sync());
  context.queue.push({ kind: 'sync', own: null });
  context.sentSinceSync = false;
}

/** Refuses a message of the extended protocol; what follows up to Sync is dropped, as a server would. */
export function refuseExtended(context: RelayContext, denial: Denial): void {
  if (context.discarding !== 'no') return;
  if (context.queue.length === 0 && context.status === 'I' && !context.sentSinceSync) {
    context.toClient.add(errorFrame(context.inspector.shownDenial(denial)));
    context.flushToClient();
    context.discarding = 'locally';
    return;
  }
  poison(context, denial);
  context.discarding = 'with-server';
}

/** The server answers 34000 where the refused message stood; the client gets `denial` in its stead. The name cannot be guessed. */
function poison(context: RelayContext, denial: Denial): void {
  context.batch.bytes.add(write.execute(`sallyport_refused_${randomBytes(12).toString('hex')}`));
  context.queue.push({ kind: 'poison', denial: context.inspector.shownDenial(denial), own: null });
  context.sentSinceSync = true;
}

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
