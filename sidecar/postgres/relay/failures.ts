import { deny } from '../../core/errors.ts';
import { readErrorFields } from '../wire/error-response.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import * as write from '../wire/frame-writer.ts';
import type { RelayContext } from './context.ts';
import { endCopyWait } from './copy-in.ts';
import { violation } from './current-execution.ts';
import { undoSent } from './effects.ts';
import { countTotals, type Execution, recordResult } from './execution.ts';
import { errorFrame, poisonSqlstates, withFate } from './refuse.ts';
import { executionsOf, type OwnQuestion, type Poison, type Reply } from './reply-queue.ts';

/** ErrorResponse: the message at the head has failed, and with it, in the extended protocol, everything up to Sync. */
export function handleError(context: RelayContext, frame: FrameReader): void {
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
  countTotals(context, execution);
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

/** NoticeResponse: passed or rebuilt, and recorded. */
export function handleNotice(context: RelayContext, frame: FrameReader): void {
  const fields = frame.tooLong ? tooLongNotice : readErrorFields(frame.buffer.subarray(frame.start + 5, frame.end));
  if (!fields) throw violation('malformed notice');
  if (context.queue.head?.own) return;
  const reply = context.queue.head;
  const execution = reply?.kind === 'query' ? (reply.executions[reply.current] ?? null) : reply?.kind === 'execute' ? reply.execution : null;
  const rebuilt = context.inspector.rebuild(fields, execution?.text ?? null);
  if (context.inspector.masked || frame.tooLong) context.toClient.add(encodeFields('N', rebuilt));
  else context.toClient.keep(frame.buffer, frame.start, frame.end);
  context.recorder.notice(execution?.statement ?? 0, 'n', { severity: rebuilt.get('V') ?? 'NOTICE', sqlstate: rebuilt.get('C') ?? '00000', message: rebuilt.get('M') ?? '' });
}

function encodeFields(type: 'E' | 'N', fields: ReadonlyMap<string, string>): Buffer {
  const parts = [...fields].map(([letter, text]) => Buffer.from(`${letter}${text.replaceAll('\0', '')}\0`));
  return write.frame(type, ...parts, Buffer.of(0));
}
