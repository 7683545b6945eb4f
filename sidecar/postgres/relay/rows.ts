import { deny } from '../../core/errors.ts';
import type { FieldDescription } from '../../core/masking/masker.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import { formatOf } from '../wire/bind.ts';
import type { RelayContext } from './context.ts';
import type { Execution } from './execution.ts';
import { currentExecution, violation } from './current-execution.ts';
import type { Portal } from './statements.ts';

/** A result was described: fixes its row plan before the first row, or stops the statement when the plan is refused. */
export function describedRows(context: RelayContext, execution: Execution, fields: readonly FieldDescription[]): void {
  const planned = context.inspector.planRow(fields, execution.facts.masking);
  if (planned.outcome === 'refused') return stop(context, execution, planned.denial);
  execution.plan = planned.plan;
  execution.columns = fields.length;
  execution.maskedBefore = planned.plan.counters();
  execution.described = false;
}

/**
 * One DataRow: limits, mask, recording. The unmasked case looks at nothing but the header.
 * Rows are written to the recording before they leave (`flushToClient`).
 */
export function handleRow(context: RelayContext, frame: FrameReader): void {
  const reply = context.queue.head;
  if (reply?.kind === 'execute' && reply.own) {
    if (frame.whole) reply.own.rows.push(readTextRow(frame.buffer, frame.start, frame.end));
    return;
  }
  const execution = currentExecution(context);
  const size = frame.end - frame.start;
  execution.bytesFromServer += size;
  if (execution.stopped) return;
  if (frame.tooLong) return stop(context, execution, deny('MASKED_ROW_TOO_LONG'));
  if (!execution.plan && !planFromPortal(context, execution)) return;
  if (frame.first) checkColumns(frame, execution, size);
  // The limits decide before the first byte of a row goes: a row cut off in the middle would break the client's protocol.
  if (frame.first && overLimit(context, execution, frame.total)) return;
  if (frame.first && execution.rows++ === 0) execution.firstRowMs = context.clock.monotonicMs();
  if (frame.whole) passRow(context, frame, execution, size);
  else streamPart(context, frame, execution, size);
}

/** A row unlike its description is from a hostile or misunderstood server. */
function checkColumns(frame: FrameReader, execution: Execution, size: number): void {
  if (size < 7) {
    if (frame.whole) throw violation('a row without a column count');
  } else if (execution.columns !== null && frame.buffer.readUInt16BE(frame.start + 5) !== execution.columns) throw violation('column count of a row');
}

function passRow(context: RelayContext, frame: FrameReader, execution: Execution, size: number): void {
  const { plan } = execution;
  const mask = plan?.mask;
  const store = execution.storedRows < context.limits.storedRows && execution.storedBytes < context.limits.storedBytes;
  if (!mask) {
    context.toClient.keep(frame.buffer, frame.start, frame.end);
    execution.bytesToClient += size;
    if (store) storeRow(context, execution, frame.buffer.subarray(frame.start + 5, frame.end));
    return;
  }
  const out = context.toClient;
  out.beginFrame();
  const from = out.length;
  const rewritten = mask.maskFrame(frame.buffer, frame.start, frame.end, out);
  if (!rewritten) out.keep(frame.buffer, frame.start, frame.end);
  const sent = rewritten ? out.written(from) : frame.buffer.subarray(frame.start, frame.end);
  execution.bytesToClient += sent.length;
  if (store) storeRow(context, execution, sent.subarray(5));
}

function storeRow(context: RelayContext, execution: Execution, body: Buffer): void {
  if (!execution.described && execution.plan) {
    context.recorder.describe(execution.statement, execution.plan.recorded);
    execution.described = true;
  }
  execution.storedRows++;
  execution.storedBytes += body.length;
  context.recorder.row(execution.statement, body);
}

/** A row too large for one chunk, in a session without masks: it streams on, counted, not stored. */
function streamPart(context: RelayContext, frame: FrameReader, execution: Execution, size: number): void {
  execution.bytesToClient += size;
  context.toClient.keep(frame.buffer, frame.start, frame.end);
}

/**
 * Whether one more row (or CopyData) would pass a limit of the policy; then the statement is stopped.
 *
 * @param size bytes of the whole frame.
 */
export function overLimit(context: RelayContext, execution: Execution, size: number): boolean {
  const { rowsPerStatement, bytesPerStatement } = context.session.permit.limits;
  if (rowsPerStatement !== null && execution.rows >= rowsPerStatement) {
    stop(context, execution, deny('ROW_LIMIT_REACHED', { detail: `${rowsPerStatement} rows were passed` }));
    return true;
  }
  if (bytesPerStatement !== null && execution.bytesToClient + size > bytesPerStatement) {
    stop(context, execution, deny('BYTE_LIMIT_REACHED', { detail: `${bytesPerStatement} bytes were reached` }));
    return true;
  }
  return false;
}

/** Nothing more of this statement passes; the server is told to stop, and the user gets `denial` where its end stands. */
export function stop(context: RelayContext, execution: Execution, denial: ReturnType<typeof deny>): void {
  if (execution.stopped) return;
  execution.stopped = denial;
  void context.cancelUpstream();
}

/** Bind and Execute without Describe: the plan comes from the statement's own description. */
function planFromPortal(context: RelayContext, execution: Execution): boolean {
  const reply = context.queue.head;
  const portal = reply?.kind === 'execute' ? reply.portal : null;
  if (!portal) throw violation('a row before its description');
  const fields = portalFields(portal);
  if (!fields) {
    if (context.inspector.masked) throw violation('a row without a description in a masked session');
    const planned = plan(context, execution, []);
    execution.columns = null;
    return planned;
  }
  const cacheKey = portal.resultFormats.join(',');
  const known = portal.statement.plans.get(cacheKey);
  if (known) {
    execution.plan = known;
    execution.columns = portal.fields ? known.fields.length : null;
    execution.maskedBefore = known.counters();
    return true;
  }
  if (!plan(context, execution, fields)) return false;
  // The description of a statement may be older than its portal.
  if (!portal.fields) execution.columns = null;
  if (execution.plan) portal.statement.plans.set(cacheKey, execution.plan);
  return true;
}

function plan(context: RelayContext, execution: Execution, fields: readonly FieldDescription[]): boolean {
  describedRows(context, execution, fields);
  return execution.plan !== null;
}

/** Statement fields carry no formats (0): Bind's result formats decide. */
function portalFields(portal: Portal): readonly FieldDescription[] | null {
  if (portal.fields) return portal.fields;
  return portal.statement.fields?.map((field, index) => ({ ...field, format: formatOf(portal.resultFormats, index) })) ?? null;
}

function readTextRow(buffer: Buffer, start: number, end: number): (string | null)[] {
  const row: (string | null)[] = [];
  let offset = start + 7;
  for (let left = buffer.readInt16BE(start + 5); left > 0; left--) {
    if (offset + 4 > end) throw violation('row');
    const length = buffer.readInt32BE(offset);
    offset += 4;
    if (length === -1) row.push(null);
    else {
      if (length < 0 || offset + length > end) throw violation('row');
      row.push(buffer.toString('utf8', offset, offset + length));
      offset += length;
    }
  }
  return row;
}
