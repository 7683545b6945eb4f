import { SallyportError } from '../core/errors.ts';
import type { RelayContext } from './relay/context.ts';
import { handleCopyDone, handleCopyFail, handleCopyIn } from './relay/copy-in.ts';
import { handleBind, handleClose, handleDescribe, handleExecute, handleFlush, handleParse, handleSync } from './relay/extended-query.ts';
import { handleFunctionCall } from './relay/function-call.ts';
import { handleQuery } from './relay/simple-query.ts';
import { refuseTooLong } from './relay/too-long.ts';
import type { FrameLimit, FrameReader } from './wire/frame-reader.ts';

type Handler = (context: RelayContext, buffer: Buffer, start: number, end: number) => void | Promise<void>;

/**
 * Every frontend message after login, and what becomes of it. A type that is not here ends the session (D2).
 * `p` belongs to the login; `X` (Terminate) is taken by the relay itself.
 * @see PostgreSQL 18, "Message Formats"
 */
const handlers: Readonly<Record<string, Handler>> = {
  Q: handleQuery, P: handleParse, B: handleBind, D: handleDescribe, E: handleExecute, C: handleClose, S: handleSync, H: handleFlush, F: handleFunctionCall, c: handleCopyDone, f: handleCopyFail,
};

const table: (Handler | undefined)[] = Array.from({ length: 256 }, (_unused, code) => handlers[String.fromCharCode(code)]);

/** Longest length of each frontend message: what carries values (Bind, FunctionCall: a large object is written in pieces of 16 KiB) as configured, all others 10,000 bytes as the server limits them. */
export function clientLimits(limits: { readonly statementBytes: number; readonly bindBytes: number }): Readonly<Record<string, FrameLimit>> {
  // A longer text is refused as a statement; its bytes are skipped, and the session goes on.
  const text: FrameLimit = { maxBytes: limits.statementBytes + 1024, mode: 'assemble', skipUpToBytes: 0x3fffffff };
  const values: FrameLimit = { maxBytes: limits.bindBytes, mode: 'assemble' };
  const small: FrameLimit = { maxBytes: 10_000, mode: 'assemble' };
  return { Q: text, P: { ...text, maxBytes: text.maxBytes + 65_535 * 4 }, B: values, F: values, D: small, E: small, C: small, S: small, H: small, X: small, c: small, f: small, d: { maxBytes: 0x3fffffff, mode: 'stream' } };
}

/** Handles one frontend frame (or a part of CopyData). A promise: wait before the next one. Throws SallyportError PROTOCOL_VIOLATION. */
export function handleClientFrame(context: RelayContext, frame: FrameReader): void | Promise<void> {
  if (frame.type === 0x64) return handleCopyIn(context, frame);
  const handler = table[frame.type];
  if (!handler) throw new SallyportError('PROTOCOL_VIOLATION', { reason: 'unexpected message' });
  // During COPY FROM STDIN the server takes CopyData, CopyDone, CopyFail, Flush and Sync only, and ignores the last two.
  if (context.copyIn && frame.type !== 0x63 && frame.type !== 0x66) {
    if (frame.type === 0x53 || frame.type === 0x48) return undefined;
    throw new SallyportError('PROTOCOL_VIOLATION', { reason: 'not allowed during COPY' });
  }
  if (frame.tooLong) return refuseTooLong(context, frame.type === 0x51 ? 'simple' : 'extended');
  return handler(context, frame.buffer, frame.start, frame.end);
}
