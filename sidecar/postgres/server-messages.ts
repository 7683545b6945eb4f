import { randomBytes } from 'node:crypto';
import { type Denial, deny } from '../core/errors.ts';
import { ownParameters } from './client-port.ts';
import { ChunkOutput } from './wire/chunk-output.ts';
import { bodyCursor, readCString } from './wire/cursor.ts';
import { readErrorFields } from './wire/error-response.ts';
import type { FrameLimit, FrameReader } from './wire/frame-reader.ts';
import * as write from './wire/frame-writer.ts';
import { renameColumns, readRowDescription } from './wire/row-description.ts';
import type { RelayContext } from './relay/context.ts';
import { copyDone, handleCopyBoth, handleCopyData, startCopyIn, startCopyOut } from './relay/copy.ts';
import { endCopyWait } from './relay/copy-in.ts';
import { currentExecution, violation } from './relay/current-execution.ts';
import { applyEffect, undoSent } from './relay/effects.ts';
import { type Execution, recordResult } from './relay/execution.ts';
import { executionsOf, type OwnQuestion, type Poison, type Reply } from './relay/reply-queue.ts';
import { errorFrame, poisonSqlstates } from './relay/refuse.ts';
import { describedRows, handleRow, stop } from './relay/rows.ts';

/**
 * Every backend message after login, and what becomes of it. A type that is not here ends the session (D2).
 * @see PostgreSQL 18, "Message Formats"
 */
const handlers: Readonly<Record<string, (context: RelayContext, frame: FrameReader) => void>> = {
  '1': parseComplete, '2': bindComplete, '3': closeComplete, T: rowDescription, t: parameterDescription, n: noData, D: handleRow, C: commandComplete, I: emptyQuery, s: portalSuspended,
  E: errorResponse, N: noticeResponse, S: parameterStatus, A: notification, Z: readyForQuery, G: startCopyIn, H: startCopyOut, W: handleCopyBoth, d: handleCopyData, c: copyDone, V: functionResult,
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
  count(context, execution);
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
  count(context, execution);
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

/** Whether what the user did not get to see has happened all the same. */
function withFate(denial: Denial, fate: string): Denial {
  return { ...denial, detail: denial.detail === null ? fate : `${denial.detail}; ${fate}` };
}

/** The transaction of a stopped statement must not commit: the server is made to fail before the user hears ReadyForQuery. */
function failTransaction(context: RelayContext): void {
  if (context.queue.length > 0) return context.end({ reason: 'Failed', denial: deny('ROW_LIMIT_REACHED', { message: 'a limit was reached inside a pipeline' }) });
  context.batch.bytes.add(write.execute(`sallyport_refused_${randomBytes(12).toString('hex')}`));
  context.batch.bytes.add(write.sync());
  context.queue.push({ kind: 'poison', form: 'execute', denial: null, position: null, dropsUnnamed: false, own: null, answered: false });
  context.queue.push({ kind: 'sync', own: null });
}

function count(context: RelayContext, execution: Execution): void {
  context.totals.rows += execution.rows;
  context.totals.bytes += execution.bytesToClient;
}

function advance(context: RelayContext): void {
  const reply = context.queue.head;
  if (reply?.kind === 'query') reply.current++;
  else context.queue.shift();
  context.copyIn = null;
  endCopyWait(context);
}

function errorResponse(context: RelayContext, frame: FrameReader): void {
  const fields = frame.tooLong ? tooLongError : readErrorFields(frame.buffer.subarray(frame.start + 5, frame.end));
  if (!fields) throw violation('malformed error');
  const reply = context.queue.head;
  if (fields.get('V') === 'FATAL' || fields.get('V') === 'PANIC' || !reply) return serverEnds(context, fields);
  failHead(context, reply, fields);
  context.copyIn = null;
  endCopyWait(context);
}

const tooLongError: ReadonlyMap<string, string> = new Map([['S', 'ERROR'], ['V', 'ERROR'], ['C', 'XX000'], ['M', 'the target sent an error that is too long to be shown']]);
const tooLongNotice: ReadonlyMap<string, string> = new Map([['S', 'NOTICE'], ['V', 'NOTICE'], ['C', '00000'], ['M', 'the target sent a notice that is too long to be shown']]);

function failHead(context: RelayContext, reply: Reply, fields: ReadonlyMap<string, string>): void {
  const sqlstate = fields.get('C') ?? 'XXXXX';
  if (reply.kind === 'query') {
    const execution = reply.executions[reply.current] ?? null;
    tellError(context, execution, fields);
    for (const [index, one] of reply.executions.slice(reply.current).entries()) recordFailure(context, one, index === 0 ? sqlstate : null);
    reply.current = reply.executions.length;
    undoSent(context);
    return;
  }
  if (reply.own && typeof reply.own === 'object') return failOwn(context, reply.own, fields);
  switch (reply.kind) {
    case 'function':
      tellError(context, reply.execution, fields);
      if (reply.execution) recordFailure(context, reply.execution, sqlstate);
      reply.execution = null;
      return;
    case 'sync':
      // The implicit transaction failed as it was committed: its Sync is answered all the same.
      return tellError(context, null, fields);
    case 'poison':
      failPoison(context, reply, sqlstate);
      // A Query brings its own ReadyForQuery.
      if (reply.form === 'query') return undoSent(context);
      break;
    case 'execute':
      tellError(context, reply.execution, fields);
      if (reply.execution) recordFailure(context, reply.execution, sqlstate);
      break;
    case 'parse':
    case 'describe':
      tellError(context, null, fields, reply.statement?.text ?? null);
      if (reply.kind === 'parse' && reply.statement.name === '') context.statements.confirm('', null);
      break;
    case 'bind':
    case 'close':
      tellError(context, null, fields);
      break;
    default:
      return reply satisfies never;
  }
  context.queue.shift();
  skipToSync(context);
}

/** The refused message failed on the server as it should. */
function failPoison(context: RelayContext, reply: Poison, sqlstate: string): void {
  if (reply.answered || sqlstate !== poisonSqlstates[reply.form]) throw violation('what stood for a refused message ran');
  reply.answered = true;
  if (reply.dropsUnnamed) context.statements.confirm('', null);
  if (reply.denial) context.toClient.add(errorFrame(reply.denial, 'ERROR', reply.position));
}

/** The server drops everything up to Sync: so do the queue and, if Sync has not come yet, the client side. */
function skipToSync(context: RelayContext): void {
  for (const skipped of context.queue.skipToSync()) {
    for (const execution of executionsOf(skipped)) recordFailure(context, execution, null);
    if (skipped.own && typeof skipped.own === 'object') finishOwn(skipped.own);
  }
  if (context.queue.length === 0) {
    context.discarding = 'with-server';
    context.kept.length = 0;
    // What waits for an approval in this pipeline will not run.
    context.held?.cancel(deny('HOLD_CANCELLED', { message: 'an earlier statement of the same pipeline failed' }));
  }
  undoSent(context);
}

function failOwn(context: RelayContext, own: OwnQuestion, fields: ReadonlyMap<string, string>): void {
  own.failed = true;
  context.queue.skipToSync();
  if (context.queue.head?.own === own) return;
  // Asked inside the client's pipeline, which the server skips now: the client has to hear of it.
  tellError(context, null, fields);
  own.done();
  skipToSync(context);
}

function finishOwn(own: { failed: boolean; done: () => void }): void {
  own.failed = true;
  own.done();
}

function recordFailure(context: RelayContext, execution: Execution, sqlstate: string | null): void {
  const outcome = sqlstate === '57014' && !execution.stopped ? 'Cancelled' : sqlstate === null ? 'NotForwarded' : 'Failed';
  recordResult(context, execution, { outcome, commandTag: null, sqlstate });
  count(context, execution);
  context.inspector.ran(execution.facts, false);
}

function tellError(context: RelayContext, execution: Execution | null, fields: ReadonlyMap<string, string>, text: string | null = null): void {
  if (execution?.stopped) {
    context.toClient.add(errorFrame(withFate(execution.stopped, 'the statement was cancelled on the server')));
    return;
  }
  const rebuilt = context.inspector.rebuild(fields, execution?.text ?? text);
  context.toClient.add(encodeFields('E', rebuilt));
  context.recorder.notice(execution?.statement ?? 0, 'e', { severity: rebuilt.get('V') ?? 'ERROR', sqlstate: rebuilt.get('C') ?? 'XXXXX', message: rebuilt.get('M') ?? '' });
}

/** FATAL, or an error that answers nothing: the server is about to close. */
function serverEnds(context: RelayContext, fields: ReadonlyMap<string, string>): void {
  const rebuilt = context.inspector.rebuild(fields, null);
  context.toClient.add(encodeFields('E', rebuilt));
  context.flushToClient();
  context.end({ reason: 'TargetClosed', denial: deny('CONNECTION_LOST', { message: 'the target ended the session' }) });
}

function noticeResponse(context: RelayContext, frame: FrameReader): void {
  const fields = frame.tooLong ? tooLongNotice : readErrorFields(frame.buffer.subarray(frame.start + 5, frame.end));
  if (!fields) throw violation('malformed notice');
  if (context.queue.head?.own) return;
  const reply = context.queue.head;
  const execution = reply?.kind === 'query' ? (reply.executions[reply.current] ?? null) : reply?.kind === 'execute' ? reply.execution : null;
  const rebuilt = context.inspector.rebuild(fields, execution?.text ?? null);
  if (context.inspector.masked || frame.tooLong) context.toClient.add(encodeFields('N', rebuilt));
  else pass(context, frame);
  context.recorder.notice(execution?.statement ?? 0, 'n', { severity: rebuilt.get('V') ?? 'NOTICE', sqlstate: rebuilt.get('C') ?? '00000', message: rebuilt.get('M') ?? '' });
}

function encodeFields(type: 'E' | 'N', fields: ReadonlyMap<string, string>): Buffer {
  const parts = [...fields].map(([letter, text]) => Buffer.from(`${letter}${text.replaceAll('\0', '')}\0`));
  return write.frame(type, ...parts, Buffer.of(0));
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
  if (status === 'I') context.portals.clear((portal) => !portal.hold);
  if (status === 'I') context.inspector.transactionOver();
  if (reply.kind === 'query') {
    context.statements.confirm('', null);
    context.portals.confirm('', null);
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
