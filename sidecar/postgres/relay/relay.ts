import type { Socket } from 'node:net';
import type { SessionRecorder } from '../../../contract/audit.ts';
import { type Denial, deny, type ErrorCode, SallyportError } from '../../core/errors.ts';
import type { Approver, Clock, Logger } from '../../core/ports.ts';
import type { EqualityBudget } from '../../core/session/equality-budget.ts';
import type { Session, SessionEnd } from '../../core/session/session.ts';
import type { Tally } from '../../core/session/tally.ts';
import { clientLimits, handleClientFrame } from '../client-messages.ts';
import type { SessionInspector } from '../inspector.ts';
import { handleServerFrame, serverLimits } from '../server-messages.ts';
import { ChunkOutput } from '../wire/chunk-output.ts';
import { encodeNotice } from '../wire/error-response.ts';
import { FrameReader } from '../wire/frame-reader.ts';
import * as write from '../wire/frame-writer.ts';
import { Batch } from './batch.ts';
import { defaultRelayLimits, type RelayContext, type RelayLimits } from './context.ts';
import { recordResult } from './execution.ts';
import { errorFrame } from './refuse.ts';
import { executionsOf, ReplyQueue } from './reply-queue.ts';
import { tellAllAnswered } from './settle.ts';
import { NameTable, portalBytes, statementBytes } from './statements.ts';

export interface RelayInput {
  readonly client: Socket;
  /** What the client sent behind its login. */
  readonly clientLeftover: Buffer;
  readonly upstream: Socket;
  readonly upstreamLeftover: Buffer;
  readonly session: Session;
  readonly recorder: SessionRecorder;
  readonly inspector: SessionInspector;
  readonly approver: Approver;
  readonly clock: Clock;
  readonly log: Logger;
  readonly digestKey: Uint8Array;
  readonly equalities: EqualityBudget;
  readonly tally: Tally;
  readonly limits?: Partial<RelayLimits>;
  /** Sends the cancel to the target and resolves when it was taken. */
  readonly cancelUpstream: () => Promise<void>;
  /** Called with the function that a CancelRequest for this session runs. */
  readonly onCancelReady: (cancel: () => void) => void;
}

export interface RelayTotals {
  readonly rows: number;
  readonly bytes: number;
  readonly denied: number;
}

/**
 * Runs one session from ReadyForQuery to its end: client frames are read, judged, recorded and forwarded; server frames are matched, masked, recorded and passed.
 *
 * Both directions are event driven and synchronous unless something must be waited for: an async step per chunk costs more than all the rest
 * (docs/performance.md). While one waits, the client's bytes queue up to `readAheadBytes`, then its socket is paused.
 *
 * @returns why it ended, once both sockets are closed or closing.
 */
export function relay(input: RelayInput): Promise<{ readonly end: SessionEnd; readonly totals: RelayTotals }> {
  const { promise, resolve } = Promise.withResolvers<{ readonly end: SessionEnd; readonly totals: RelayTotals }>();
  const { client, upstream, session, recorder } = input;
  const limits: RelayLimits = { ...defaultRelayLimits, ...input.limits };
  const fromClient = new FrameReader(clientLimits(limits));
  const fromServer = new FrameReader(serverLimits);
  const ahead: Buffer[] = [];
  let aheadBytes = 0;
  let blocked = false;
  let cancelling: Promise<void> | null = null;
  let waiting: Promise<unknown> = Promise.resolve();
  let roomAgain: (() => void) | null = null;
  const afterFrame: Buffer[] = [];
  let masked = input.inspector.masked;

  const context: RelayContext = {
    session, recorder, inspector: input.inspector, approver: input.approver, clock: input.clock, log: input.log, digestKey: input.digestKey, equalities: input.equalities, tally: input.tally, limits,
    queue: new ReplyQueue(), statements: new NameTable(statementBytes), portals: new NameTable(portalBytes), batch: new Batch(input.tally.statements), toClient: new ChunkOutput(), muted: null,
    status: 'I', sentSinceSync: false, discarding: 'no', copyIn: null, copyFrameGoes: false, copyStarted: null, allAnswered: null, kept: [], held: null, cancelAsked: false, ruinedParsers: 0, ended: null, totals: { rows: 0, bytes: 0, denied: 0 },
    commit, flushToClient, tell, end, cancelUpstream: cancel,
  };

  setServerMode();
  session.attach({
    isBusy: () => context.queue.length > 0 || context.held !== null || context.copyIn !== null || blocked,
    isHeld: () => context.held !== null,
    // What was sent and not yet synced is a transaction too, an implicit one.
    isInTransaction: () => context.status !== 'I' || context.sentSinceSync,
    warn: (message) => tell(encodeNotice({ severity: 'NOTICE', sqlstate: 'SP004', message, detail: null, hint: null })),
    end,
  });
  input.onCancelReady(() => {
    if (context.held) return context.held.cancel(deny('HOLD_CANCELLED'));
    context.cancelAsked = blocked;
    // Never a question of our own: the statement that waits for its answer would be refused for it.
    if (context.queue.all().some((reply) => !reply.own)) void cancel();
  });

  client.on('data', (chunk: Buffer) => fromClientChunk(chunk));
  client.once('end', () => end({ reason: 'ClientClosed', denial: deny('CONNECTION_LOST') }));
  client.once('close', () => end({ reason: 'ClientClosed', denial: deny('CONNECTION_LOST') }));
  client.on('error', () => end({ reason: 'ClientClosed', denial: deny('CONNECTION_LOST') }));
  client.on('drain', () => {
    if (context.ended) return;
    upstream.resume();
    tellRoom();
  });
  upstream.on('data', (chunk: Buffer) => fromServerChunk(chunk));
  upstream.once('end', () => end({ reason: 'TargetClosed', denial: deny('CONNECTION_LOST', { message: 'the target closed the connection' }) }));
  upstream.once('close', () => end({ reason: 'TargetClosed', denial: deny('CONNECTION_LOST', { message: 'the target closed the connection' }) }));
  upstream.on('error', () => end({ reason: 'TargetClosed', denial: deny('CONNECTION_LOST', { message: 'the connection to the target was lost' }) }));
  upstream.on('drain', () => { if (!blocked && !context.ended) client.resume(); });
  if (input.upstreamLeftover.length > 0) fromServerChunk(input.upstreamLeftover);
  if (input.clientLeftover.length > 0) fromClientChunk(input.clientLeftover);
  upstream.resume();
  client.resume();
  return promise;

  function fromClientChunk(chunk: Buffer): void {
    if (context.ended) return;
    session.lastActivityMs = input.clock.monotonicMs();
    if (blocked) {
      // Who leaves while a statement is held withdraws the request; a real server would not look either before the statement has ended.
      if (context.held && ahead.length === 0 && fromClient.atBoundary && fromClient.rest().length === 0 && chunk.equals(terminate)) return end({ reason: 'ClientClosed', denial: deny('CONNECTION_LOST') });
      ahead.push(chunk);
      // A chunk costs more than its bytes: a client that sends them one by one must not hold more than others.
      aheadBytes += chunk.length + chunkCostBytes;
      if (aheadBytes > limits.readAheadBytes) client.pause();
      return;
    }
    fromClient.feed(chunk);
    pump();
  }

  /** Handles frames until one must wait; then the rest waits behind it. */
  function pump(): void {
    try {
      for (;;) {
        while (fromClient.next()) {
          if (context.ended) return;
          if (fromClient.type === 0x58) return end({ reason: 'ClientClosed', denial: deny('CONNECTION_LOST') });
          const hindrance = hindered();
          const wait = hindrance ? hindrance.then(() => (context.ended ? undefined : handleClientFrame(context, fromClient))) : handleClientFrame(context, fromClient);
          if (wait) return block(wait);
        }
        const next = ahead.shift();
        if (!next) break;
        aheadBytes -= next.length + chunkCostBytes;
        fromClient.feed(next);
      }
      const wait = commit();
      if (wait) block(wait);
    } catch (error) {
      fail(error, 'client');
    }
  }

  /**
   * What the next message must wait for. A late cancel must not hit it: until that has been taken. A client that pipelines faster than the server answers,
   * or does not read its answers: until there is room again, so that neither fills the memory.
   */
  function hindered(): Promise<void> | null {
    if (!context.queue.isFull && client.writableLength <= limits.unreadBytes) return cancelling;
    const { promise, resolve } = Promise.withResolvers<void>();
    roomAgain = resolve;
    return cancelling ? promise.then(() => cancelling ?? undefined) : promise;
  }

  function tellRoom(): void {
    if (!roomAgain || context.queue.length > context.queue.limit / 2 || client.writableLength > limits.unreadBytes / 2) return;
    const tellIt = roomAgain;
    roomAgain = null;
    tellIt();
  }

  function block(wait: Promise<void>): void {
    blocked = true;
    const committed = commit();
    waiting = Promise.all([wait, committed]).then(
      () => {
        blocked = false;
        if (context.ended) return;
        client.resume();
        const more = commit();
        if (more) return block(more);
        cancelWhatWasJudged();
        pump();
      },
      (error: unknown) => fail(error, 'client'),
    );
  }

  /** A cancel that came before the statement was forwarded follows behind it. */
  function cancelWhatWasJudged(): void {
    if (!context.cancelAsked) return;
    context.cancelAsked = false;
    if (context.queue.length > 0) void cancel();
  }

  function commit(): void | Promise<void> {
    if (context.batch.isEmpty || context.ended) return undefined;
    const recorded = context.batch.record(recorder);
    const bytes = context.batch.bytes.take();
    if (!bytes) return recorded;
    if (!recorded) return forward(bytes);
    return recorded.then(() => forward(bytes));
  }

  function forward(bytes: Buffer): void {
    if (context.ended) return;
    if (!upstream.write(bytes)) client.pause();
  }

  function fromServerChunk(chunk: Buffer): void {
    if (context.ended) return;
    session.lastActivityMs = input.clock.monotonicMs();
    if (masked !== context.inspector.masked) setServerMode();
    try {
      fromServer.feed(chunk);
      while (fromServer.next()) {
        handleServerFrame(context, fromServer);
        if (context.ended) return;
      }
      flushToClient();
      tellAllAnswered(context);
      tellRoom();
      // A question of our own may have been answered, a wait for COPY ended: commit what that made.
      if (!blocked && !context.batch.isEmpty) pump();
    } catch (error) {
      fail(error, 'target');
    }
  }

  function setServerMode(): void {
    masked = context.inspector.masked;
    fromServer.setMode(0x44, masked ? 'assemble' : 'stream', masked ? limits.maskedRowBytes : 0x3fffffff);
    fromServer.setMode(0x64, masked ? 'assemble' : 'stream', masked ? limits.maskedRowBytes : 0x3fffffff);
  }

  function flushToClient(): void {
    if (context.ended) return;
    recorder.flush();
    const out = context.muted ?? context.toClient;
    // What is swallowed must not pile up.
    if (context.muted) context.toClient.take();
    if (afterFrame.length > 0 && !fromServer.midStream) for (const message of afterFrame.splice(0)) out.add(message);
    const bytes = out.take();
    if (bytes && !client.write(bytes)) upstream.pause();
  }

  /** Our own messages go out at frame boundaries only: while a frame streams through, they wait for its end. Called from timers too, so nothing is thrown. */
  function tell(message: Buffer): void {
    if (afterFrame.length < maxWaitingMessages) afterFrame.push(message);
    try {
      flushToClient();
    } catch (error) {
      fail(error, 'client');
    }
  }

  function cancel(): Promise<void> {
    cancelling ??= input.cancelUpstream().catch(() => undefined).finally(() => { cancelling = null; });
    return cancelling;
  }

  function fail(error: unknown, side: 'client' | 'target'): void {
    const code = error instanceof SallyportError ? error.code : 'INTERNAL';
    if (code === 'INTERNAL') input.log.error('relay failed', { sessionId: session.id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    else input.log.info('relay stopped', { sessionId: session.id, code, side, ...(error instanceof SallyportError ? error.detail : {}) });
    const recorderFailed = code === 'RECORDER_FAILED' || code === 'STORAGE_FULL';
    const denial = side === 'target' ? targetDenial(code) : deny(code, whatTheClientDid(error));
    end({ reason: recorderFailed ? 'RecorderFailed' : code === 'FRAME_TOO_LONG' || code.endsWith('PROTOCOL_VIOLATION') ? 'ProtocolViolation' : 'Failed', denial });
  }

  function end(cause: SessionEnd): void {
    if (context.ended) return;
    context.ended = cause;
    context.held?.cancel(holdDenial(cause));
    if (context.queue.length > 0 && cause.reason !== 'TargetClosed') void cancel().finally(() => closeUpstream());
    else closeUpstream();
    tellClient(cause.reason === 'ClientClosed' ? null : cause.denial);
    recordUnanswered();
    // A hold that this ends has a last record to write; the session's own end comes after it.
    const lastRecord = context.held ? Promise.race([waiting, sleep(lastRecordMs)]) : Promise.resolve();
    void lastRecord.finally(() => resolve({ end: cause, totals: { ...context.totals } }));
  }

  function closeUpstream(): void {
    if (!upstream.destroyed && upstream.writable) upstream.end(write.terminate());
    setTimeout(() => upstream.destroy(), 1_000).unref();
  }

  /** One FATAL at a frame boundary; in the middle of a frame the connection just closes. */
  function tellClient(denial: Denial | null): void {
    if (client.destroyed) return;
    context.toClient.take();
    if (denial && !fromServer.midStream) client.end(errorFrame(denial, 'FATAL'));
    else client.end();
    setTimeout(() => client.destroy(), 1_000).unref();
  }

  /** What was forwarded and never answered: its outcome is not known, and the record says so. */
  function recordUnanswered(): void {
    for (const execution of context.queue.all().flatMap(executionsOf)) if (execution.statement > 0) recordResult(context, execution, { outcome: 'Unknown', commandTag: null, sqlstate: null });
  }
}

const terminate = write.terminate();
const chunkCostBytes = 256;
/** Notices that wait for the end of a frame; a hold makes one every 30 s. */
const maxWaitingMessages = 16;
/** A disk that stands still must not keep an ended session. */
const lastRecordMs = 2_000;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref());
}

function targetDenial(code: ErrorCode): Denial {
  return deny(code === 'PROTOCOL_VIOLATION' || code === 'FRAME_TOO_LONG' ? 'TARGET_PROTOCOL_VIOLATION' : code);
}

/** Our own words for what a client broke: they help to correct it, and hold nothing of the target. */
function whatTheClientDid(error: unknown): { readonly detail?: string } {
  const reason = error instanceof SallyportError && error.code === 'PROTOCOL_VIOLATION' ? error.detail['reason'] : undefined;
  return typeof reason === 'string' ? { detail: reason } : {};
}

function holdDenial(cause: SessionEnd): Denial {
  return cause.reason === 'ClientClosed' ? deny('CONNECTION_LOST') : cause.denial;
}
