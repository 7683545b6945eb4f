import { deny } from '../../core/errors.ts';
import { bodyCursor, readByte, readInt16 } from '../wire/cursor.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import * as write from '../wire/frame-writer.ts';
import type { CopyMaskPlan } from '../inspector.ts';
import type { RelayContext } from './context.ts';
import type { Execution } from './execution.ts';
import { overLimit, stop } from './rows.ts';
import { endCopyWait } from './copy-in.ts';
import { currentExecution, violation } from './current-execution.ts';

const plans = new WeakMap<Execution, CopyMaskPlan>();

/** CopyInResponse: from here on the client's `d`, `c`, `f` belong to this COPY. */
export function startCopyIn(context: RelayContext, frame: FrameReader): void {
  const execution = currentExecution(context);
  if (execution.facts.copy?.direction !== 'in') throw violation('COPY without a COPY statement');
  context.copyIn = execution;
  context.toClient.keep(frame.buffer, frame.start, frame.end);
  endCopyWait(context);
}

/** CopyOutResponse: the plan is fixed here, checked against format and column count. */
export function startCopyOut(context: RelayContext, frame: FrameReader): void {
  const execution = currentExecution(context);
  if (execution.facts.copy?.direction !== 'out') throw violation('COPY without a COPY statement');
  const cursor = bodyCursor(frame.buffer, frame.start, frame.end);
  const format = readByte(cursor);
  const columns = readInt16(cursor);
  const plan = context.inspector.copyMask(execution.facts);
  plans.set(execution, plan);
  if (plan.outcome === 'refused') stop(context, execution, plan.denial);
  else if (plan.outcome === 'masked' && (plan.format !== format || (plan.columns !== null && plan.columns !== columns))) stop(context, execution, deny('MASKING_UNPROVEN'));
  else if (plan.outcome === 'masked') {
    plan.start(columns);
    execution.copyCells = plan.maskedCells;
  }
  // The client must leave its command state even when nothing will follow: the error comes after.
  context.toClient.keep(frame.buffer, frame.start, frame.end);
}

/** CopyBoth exists in replication only. */
export function handleCopyBoth(): void {
  throw violation('CopyBoth');
}

/** CopyData of a COPY TO. */
export function handleCopyData(context: RelayContext, frame: FrameReader): void {
  const execution = currentExecution(context);
  const size = frame.end - frame.start;
  execution.bytesFromServer += size;
  if (execution.stopped) return;
  if (frame.tooLong) return stop(context, execution, deny('MASKED_ROW_TOO_LONG'));
  const plan = plans.get(execution);
  if (!plan) throw violation('COPY data before its start');
  if (frame.first && overLimit(context, execution, frame.total)) return;
  if (frame.first && execution.rows++ === 0) execution.firstRowMs = context.clock.monotonicMs();
  if (plan.outcome !== 'masked') {
    execution.bytesToClient += size;
    if (frame.whole) context.recorder.copy(execution.statement, 'out', frame.buffer.subarray(frame.start + 5, frame.end));
    context.toClient.keep(frame.buffer, frame.start, frame.end);
    return;
  }
  sendBodies(context, execution, plan.push(frame.buffer.subarray(frame.start + 5, frame.end)));
}

/** CopyDone of a COPY TO: what the row parser still holds goes first. */
export function copyDone(context: RelayContext, frame: FrameReader): void {
  const execution = currentExecution(context);
  if (execution.stopped) return;
  const plan = plans.get(execution);
  if (plan?.outcome === 'masked') sendBodies(context, execution, plan.end());
  context.toClient.keep(frame.buffer, frame.start, frame.end);
}

function sendBodies(context: RelayContext, execution: Execution, bodies: readonly Uint8Array[]): void {
  for (const body of bodies) {
    const data = write.frame('d', Buffer.from(body.buffer, body.byteOffset, body.byteLength));
    execution.bytesToClient += data.length;
    context.recorder.copy(execution.statement, 'out', body);
    context.toClient.add(data);
  }
}
