import type { FrameReader } from '../wire/frame-reader.ts';
import type { RelayContext } from './context.ts';

/**
 * CopyData of a COPY FROM STDIN: passed in parts as it comes, counted. Outside of a COPY it is dropped, as the server does:
 * a COPY that failed leaves the client sending for a while.
 */
export function handleCopyIn(context: RelayContext, frame: FrameReader): void {
  const { copyIn } = context;
  if (!copyIn || context.discarding !== 'no') return;
  copyIn.bytesFromClient += frame.end - frame.start;
  context.batch.bytes.keep(frame.buffer, frame.start, frame.end);
  if (frame.whole) context.recorder.copy(copyIn.statement, 'in', context.inspector.masked ? noBytes : frame.buffer.subarray(frame.start + 5, frame.end));
}

/** In a masked session the rows that a client loads are counted, never stored. */
const noBytes = new Uint8Array(0);

/** CopyDone: the server answers CommandComplete; what the client sends next is no part of the COPY. */
export function handleCopyDone(context: RelayContext, buffer: Buffer, start: number, end: number): void {
  if (!context.copyIn || context.discarding !== 'no') return;
  context.copyIn = null;
  context.batch.bytes.keep(buffer, start, end);
}

/** CopyFail: the client gives up; the server answers with an error. */
export function handleCopyFail(context: RelayContext, buffer: Buffer, start: number, end: number): void {
  handleCopyDone(context, buffer, start, end);
}
