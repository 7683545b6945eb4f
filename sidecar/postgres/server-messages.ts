import { randomBytes } from 'node:crypto';
import { deny } from '../core/errors.ts';
import { ownParameters } from './client-port.ts';
import { ChunkOutput } from './wire/chunk-output.ts';
import { bodyCursor, readCString } from './wire/cursor.ts';
import type { FrameLimit, FrameReader } from './wire/frame-reader.ts';
import * as write from './wire/frame-writer.ts';
import { renameColumns, readRowDescription } from './wire/row-description.ts';
import type { RelayContext } from './relay/context.ts';
import { copyDone, handleCopyBoth, handleCopyData, startCopyIn, startCopyOut } from './relay/copy.ts';
import { endCopyWait } from './relay/copy-in.ts';
import { currentExecution, violation } from './relay/current-execution.ts';
import { applyEffect } from './relay/effects.ts';
import { countTotals, type Execution, recordResult } from './relay/execution.ts';
import { handleError, handleNotice } from './relay/failures.ts';
import type { Reply } from './relay/reply-queue.ts';
import { errorFrame, withFate } from './relay/refuse.ts';
import { describedRows, handleRow, stop } from './relay/rows.ts';

/**
 * Every backend message after login, and what becomes of it. A type that is not here ends the session (D2).
 * @see PostgreSQL 18, "Message Formats"
 */
const handlers: Readonly<Record<string, (context: RelayContext, frame: FrameReader) => void>> = {
  '1': parseComplete, '2': bindComplete, '3': closeComplete, T: rowDescription, t: parameterDescription, n: noData, D: handleRow, C: commandComplete, I: emptyQuery, s: portalSuspended,
  E: handleError, N: handleNotice, S: parameterStatus, A: notification, Z: readyForQuery, G: startCopyIn, H: startCopyOut, W: handleCopyBoth, d: handleCopyData, c: copyDone, V: functionResult,
};

const table: (((context: RelayContext, frame: FrameReader) => void) | undefined)[] = Array.from({ length: 256 }, (_unused, code) => handlers[String.fromCharCode(code)]);

const small: FrameLimit = { maxBytes: 30_000, mode: 'assemble' };
const gigabyte = 0x3fffffff;
/** Errors and notices carry texts of any length: a longer one is skipped, and a text of ours stands for it. */
const text: FrameLimit = { maxBytes: 1_048_576, mode: 'assemble', skipUpToBytes: gigabyte };

/** Where rows must be rewritten, the relay lowers `maxBytes`: then a longer one is skipped and its statement stopped. */
const row: FrameLimit = { maxBytes: gigabyte, mode: 'stream', streamAboveBytes: 65_536, skipUpToBytes: gigabyte };

/** Longest length of each backend message after login; rows and COPY data stream unless the relay sets another mode. */
export const serverLimits: Readonly<Record<string, FrameLimit>> = {
  '1': small, '2': small, '3': small, C: small, I: small, n: small, s: small, Z: small, S: small, G: small, H: small, W: small, c: small, A: { maxBytes: 16_384, mode: 'assemble' }, T: { maxBytes: 1_048_576, mode: 'assemble' },
  t: { maxBytes: 262_148, mode: 'assemble' }, E: text, N: text, V: { maxBytes: 16_777_216, mode: 'assemble' },
  D: row, d: row,
};

/** Handles one backend message. Throws SallyportError TARGET_PROTOCOL_VIOLATION when it fits no rule: the server is hostile or misunderstood. */
export function handleServerFrame(context: RelayContext, frame: FrameReader): void {
  const handler = table[frame.type];
  if (!handler) throw violation('unknown message');
  handler(context, frame);
}

function head(context: RelayContext, ...kinds: readonly Reply['kind'][]): Reply {
  const reply = context.queue.head;
  if (!reply || !kinds.includes(reply.kind)) throw violation(`unexpected answer to ${reply?.kind ?? 'nothing'}`);
  return reply;
}

function pass(context: RelayContext, frame: FrameReader): void {
  context.toClient.keep(frame.buffer, frame.start, frame.end);
}

function parseComplete(context: RelayContext, frame: FrameReader): void {
  const reply = head(context, 'parse');
  context.queue.shift();
  if (reply.kind !== 'parse' || reply.own) return;
  context.statements.confirm(reply.statement.name, reply.statement);
  pass(context, frame);
}

function bindComplete(context: RelayContext, frame: FrameReader): void {
  const reply = head(context, 'bind');
  context.queue.shift();
  if (reply.kind !== 'bind' || reply.own) return;
  if (reply.portal) context.portals.confirm(reply.portal.name, reply.portal);
  pass(context, frame);
}

function closeComplete(context: RelayContext, frame: FrameReader): void {
  const reply = head(context, 'close');
  context.queue.shift();
  if (reply.kind !== 'close') return;
  if (reply.own) {
    // A question of ours inside the client's pipeline ends without a Sync.
    if (context.queue.head?.own !== reply.own) reply.own.done();
    return;
  }
  (reply.what === 'statement' ? context.statements : context.portals).confirm(reply.name, null);
  pass(context, frame);
}

function parameterDescription(context: RelayContext, frame: FrameReader): void {
  if (!head(context, 'describe').own) pass(context, frame);
}

function noData(context: RelayContext, frame: FrameReader): void {
  const reply = head(context, 'describe');
  context.queue.shift();
  if (reply.kind !== 'describe') return;
  if (reply.statement) reply.statement.fields = null;
  if (reply.portal) reply.portal.fields = null;
  if (!reply.own) pass(context, frame);
}

function rowDescription(context: RelayContext, frame: FrameReader): void {
  const reply = head(context, 'describe', 'query');
  const fields = readRowDescription(frame.buffer, frame.start, frame.end);
  if (reply.kind === 'query') {
    const execution = currentExecution(context);
    // A rewrite rule can answer with rows that the statement as it was read does not have.
    if (context.inspector.masked && (!execution.facts.returnsRows || execution.plan)) stop(context, execution, deny('MASKING_UNPROVEN', { message: 'a rule of the table answers with rows that were not judged' }));
    else describedRows(context, execution, fields);
    if (!execution.stopped) passDescription(context, frame, fields);
    return;
  }
  context.queue.shift();
  if (reply.kind !== 'describe') return;
  if (reply.statement) reply.statement.fields = fields;
  if (reply.portal) reply.portal.fields = fields;
  if (!reply.own) passDescription(context, frame, fields);
}

function passDescription(context: RelayContext, frame: FrameReader, fields: ReturnType<typeof readRowDescription>): void {
  const names = context.inspector.columnNames(fields);
  if (names) context.toClient.add(renameColumns(frame.buffer, frame.start, frame.end, names));
  else pass(context, frame);
}

function commandComplete(context: RelayContext, frame: FrameReader): void {
  const reply = head(context, 'execute', 'query');
  if (reply.own) return context.queue.shift();
  const tag = readCString(bodyCursor(frame.buffer, frame.start, frame.end));
  complete(context, frame, tag);
}

function emptyQuery(context: RelayContext, frame: FrameReader): void {
  const reply = head(context, 'execute', 'query');
  if (reply.kind === 'query' && reply.executions.length === 0) return pass(context, frame);
  complete(context, frame, null);
}

function complete(context: RelayContext, frame: FrameReader, tag: string | null): void {
  const execution = currentExecution(context);
  if (tag !== null && !/^[A-Z][A-Z ]{0,62}[A-Z]?( \d+){0,2}$/.test(tag)) throw violation('command tag');
  if (execution.stopped) stoppedEnd(context, execution);
  else {
    execution.bytesToClient += frame.end - frame.start;
    pass(context, frame);
  }
  recordResult(context, execution, { outcome: 'Completed', commandTag: tag, sqlstate: null });
  countTotals(context, execution);
  applyEffect(context, execution.facts, execution.text);
  advance(context);
}

function portalSuspended(context: RelayContext, frame: FrameReader): void {
  const reply = head(context, 'execute');
  context.queue.shift();
  if (reply.kind !== 'execute' || !reply.execution) return;
  const { execution } = reply;
  if (execution.stopped) stoppedEnd(context, execution);
  else pass(context, frame);
  recordResult(context, execution, { outcome: 'Completed', commandTag: null, sqlstate: null });
  countTotals(context, execution);
}

/**
 * A limit was reached, and the server had finished before the cancel arrived: the user gets our error in place of the completion,
 * and nothing of what the server still answers up to its ReadyForQuery.
 */
function stoppedEnd(context: RelayContext, execution: Execution): void {
  if (!execution.stopped || context.muted) return;
  context.toClient.add(errorFrame(withFate(execution.stopped, 'the statement had completed on the server')));
  context.muted = context.toClient;
  context.toClient = new ChunkOutput();
  if (!context.queue.all().some((reply) => reply.kind === 'sync' || reply.kind === 'query')) context.discarding = 'with-server';
}

/** The transaction of a stopped statement must not commit: the server is made to fail before the user hears ReadyForQuery. */
function failTransaction(context: RelayContext): void {
  if (context.queue.length > 0) return context.end({ reason: 'Failed', denial: deny('ROW_LIMIT_REACHED', { message: 'a limit was reached inside a pipeline' }) });
  context.batch.bytes.add(write.execute(`sallyport_refused_${randomBytes(12).toString('hex')}`));
  context.batch.bytes.add(write.sync());
  context.queue.push({ kind: 'poison', form: 'execute', denial: null, position: null, dropsUnnamed: false, own: null, answered: false });
  context.queue.push({ kind: 'sync', own: null });
}

function advance(context: RelayContext): void {
  const reply = context.queue.head;
  if (reply?.kind === 'query') reply.current++;
  else context.queue.shift();
  context.copyIn = null;
  endCopyWait(context);
}

function parameterStatus(context: RelayContext, frame: FrameReader): void {
  const cursor = bodyCursor(frame.buffer, frame.start, frame.end);
  const name = readCString(cursor);
  const value = readCString(cursor);
  if (name === 'standard_conforming_strings' && value !== 'on') {
    return context.end({ reason: 'Failed', denial: deny('SETTING_REFUSED', { message: 'standard_conforming_strings must stay on: the gateway would read strings unlike the server' }) });
  }
  if (name === 'client_encoding' && value !== 'UTF8' && value !== 'SQL_ASCII') return context.end({ reason: 'Failed', denial: deny('ENCODING_REFUSED') });
  if (ownParameters.has(name)) return undefined;
  const shown = context.inspector.parameterStatus(name, value);
  if (shown === value) pass(context, frame);
  else if (shown !== null) context.toClient.add(write.parameterStatus(name, shown));
  return undefined;
}

function notification(context: RelayContext, frame: FrameReader): void {
  if (!context.inspector.masked) pass(context, frame);
}

function functionResult(context: RelayContext, frame: FrameReader): void {
  const reply = head(context, 'function');
  const execution = currentExecution(context);
  if (context.inspector.masked) throw violation('a function result in a masked session');
  pass(context, frame);
  recordResult(context, execution, { outcome: 'Completed', commandTag: 'FUNCTION', sqlstate: null });
  context.inspector.ran(execution.facts, true);
  if (reply.kind === 'function') reply.execution = null;
}

function readyForQuery(context: RelayContext, frame: FrameReader): void {
  const status = String.fromCharCode(frame.buffer[frame.start + 5] as number);
  if (frame.end - frame.start !== 6 || (status !== 'I' && status !== 'T' && status !== 'E')) throw violation('transaction status');
  const reply = head(context, 'sync', 'query', 'function', 'poison');
  if (!isAnswered(reply)) throw violation('ready before the answer');
  context.queue.shift();
  context.status = status;
  // No block is open and nothing is on its way: what was sent without Sync is over.
  if (status === 'I' && context.queue.length === 0) context.sentSinceSync = false;
  if (status === 'I') context.portals.clear((portal) => !portal.hold);
  if (status === 'I') context.inspector.transactionOver();
  if (reply.kind === 'query') {
    context.statements.confirm('', null);
    if (reply.executions.length > 0) context.portals.confirm('', null);
  }
  if (context.muted) {
    context.toClient = context.muted;
    context.muted = null;
    if (status === 'T') return failTransaction(context);
  }
  if (reply.own && typeof reply.own === 'object') reply.own.done();
  else pass(context, frame);
}

function isAnswered(reply: Reply): boolean {
  switch (reply.kind) {
    case 'query':
      return reply.current >= reply.executions.length;
    case 'function':
      return reply.execution === null;
    case 'poison':
      return reply.form === 'query' && reply.answered;
    default:
      return true;
  }
}
