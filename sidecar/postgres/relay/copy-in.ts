import type { FrameReader } from '../wire/frame-reader.ts';
import type { RelayContext } from './context.ts';
import type { Execution } from './execution.ts';

/**
 * Nothing more goes to the server until the COPY FROM STDIN among these has started, or can start no more: its data and a Sync would be mistaken for each other.
 */
export function waitForCopy(context: RelayContext, executions: readonly Execution[]): void | Promise<void> {
  const execution = executions.find(({ facts }) => facts.copy?.direction === 'in');
  if (!execution) return undefined;
  const { promise, resolve } = Promise.withResolvers<void>();
  context.copyStarted = { execution, resolve };
  const committed = context.commit();
  return committed ? committed.then(() => promise) : promise;
}

/** Ends that wait, once the COPY has started, was answered or was skipped. */
export function endCopyWait(context: RelayContext): void {
  const { copyStarted } = context;
  if (!copyStarted || (context.copyIn !== copyStarted.execution && isUnanswered(context, copyStarted.execution))) return;
  context.copyStarted = null;
  copyStarted.resolve();
}

function isUnanswered(context: RelayContext, execution: Execution): boolean {
  return context.queue.all().some((reply) => (reply.kind === 'query' ? reply.executions.indexOf(execution) >= reply.current : reply.kind === 'execute' && reply.execution === execution));
}

/**
 * CopyData of a COPY FROM STDIN: passed in parts as it comes, counted. Outside of a COPY it is dropped, as the server does:
 * a COPY that failed leaves the client sending for a while.
 *
 * A message that has begun goes on to its end all the same: the server would take the statements behind it for the rest of its rows.
 */
export function handleCopyIn(context: RelayContext, frame: FrameReader): void {
  const { copyIn } = context;
  if (frame.first) context.copyFrameGoes = copyIn !== null && context.discarding === 'no';
  if (!context.copyFrameGoes) return;
  context.batch.bytes.keep(frame.buffer, frame.start, frame.end);
  if (!copyIn) return;
  copyIn.bytesFromClient += frame.end - frame.start;
  if (frame.whole) context.recorder.copy(copyIn.statement, 'in', context.inspector.masked ? noBytes : frame.buffer.subarray(frame.start + 5, frame.end));
}

/** In a masked session the rows that a client loads are counted, never stored. */
const noBytes = new Uint8Array(0);

/** CopyDone: the server answers CommandComplete; what the client sends next is no part of the COPY, but perhaps of the next one in the same Query. */
export function handleCopyDone(context: RelayContext, buffer: Buffer, start: number, end: number): void | Promise<void> {
  if (!context.copyIn || context.discarding !== 'no') return undefined;
  context.copyIn = null;
  context.batch.bytes.keep(buffer, start, end);
  const reply = context.queue.head;
  return reply?.kind === 'query' ? waitForCopy(context, reply.executions.slice(reply.current + 1)) : undefined;
}

/** CopyFail: the client gives up; the server answers with an error. */
export function handleCopyFail(context: RelayContext, buffer: Buffer, start: number, end: number): void | Promise<void> {
  return handleCopyDone(context, buffer, start, end);
}
