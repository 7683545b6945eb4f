// Whole: both directions share one state; what is booked when a request passes is settled by its answer.
import type { Denial } from '../../core/errors.ts';
import { maxSftpPacketBytes, createPacketSplitter } from '../../core/ssh-files/packet-splitter.ts';
import { demandOf, describeRequest, openFlags, type SftpDemand } from '../../core/ssh-files/sftp-demand.ts';
import { maxSftpHandles, maxSftpRequests, openFile, type OpenFile, type OpenFileTerms, passesLimit } from '../../core/ssh-files/sftp-handles.ts';
import { readSftpReply, type SftpReply, sftpStatus, writeInit, writeStatus, writeVersion } from '../../core/ssh-files/sftp-reply.ts';
import { readSftpRequest, type SftpRequest } from '../../core/ssh-files/sftp-request.ts';
import { ChannelProblem } from './channel-problem.ts';
import { type FileJudge, type Judged, limitDenial } from './judge-files.ts';
import { createPathQuestions, type OwnQuestions } from './own-questions.ts';
import { type ResolvedDemand, resolveDemand } from './resolve-demand.ts';

/** Both ends of an SFTP channel, and who judges. */
export interface SftpEnds {
  /** Resolves once there is room for more. Never rejects: a closed end swallows. */
  toTarget(bytes: Uint8Array): Promise<void>;
  toClient(bytes: Uint8Array): Promise<void>;
  readonly judge: FileJudge;
  readonly digestKey: Uint8Array;
  /** Ends the channel because of what goes on beside its two directions: a held request whose record failed. */
  fail(error: unknown): void;
}

/** The two directions of one SFTP channel. Both throw ChannelProblem when a peer broke the protocol: then the channel ends, and nothing else. */
export interface SftpRelay {
  /** The next bytes of the client, to be awaited before the next ones. */
  fromClient(chunk: Uint8Array): Promise<void>;
  fromTarget(chunk: Uint8Array): Promise<void>;
  /** The channel is over: closes the records of what is still open. Held requests are left to their signal. */
  end(): void;
}

/** A request of the client that has no answer yet. */
interface Pending {
  readonly request: SftpRequest;
  /** The file that a request on a handle speaks about, and the one that it writes, where that is another. */
  readonly file: OpenFile | null;
  readonly into: OpenFile | null;
  /** Of the intent that its answer closes; null without one. */
  readonly operation: number | null;
  readonly opens: OpenFileTerms | null;
}

/** Requests of one channel that wait for people at the same time. */
const maxHeld = 32;

/**
 * Reads both directions of an SFTP channel, version 3, and lets requests pass as the judge says: the original bytes, or an answer of our own with the request's id.
 *
 * Order: requests are judged and forwarded one after the other, as they came, so that nothing overtakes a request on the same handle. A request that waits for people leaves
 * the line, and those behind it go on: a client that needs an order between two requests waits for the answer of the first (draft-ietf-secsh-filexfer-02, section 6), and a held
 * request has no handle that others could name. Changing the attributes of an open handle is the exception: there the line waits. What was held is resolved anew before it is
 * forwarded, and refused when its paths lead elsewhere by then.
 *
 * State, because a channel is one: request ids, handles, the line.
 */
export function createSftpRelay(ends: SftpEnds): SftpRelay {
  const state: State = { ends, requests: new Map(), handles: new Map(), opening: 0, held: 0, version: 'none', opensshOrder: false, outgoing: [], own: null as never };
  const own = createPathQuestions({ send: (packet) => sendToTarget(state, [packet]), isTaken: (id) => state.requests.has(id) });
  const wired: State = Object.assign(state, { own });
  const fromClient = createPacketSplitter(maxSftpPacketBytes);
  const fromTarget = createPacketSplitter(maxSftpPacketBytes);
  return {
    async fromClient(chunk) {
      const { packets, problem } = fromClient.push(chunk);
      for (const packet of packets) await takeRequest(wired, packet);
      await flush(wired);
      if (problem !== null) throw new ChannelProblem('client', problem);
    },
    async fromTarget(chunk) {
      const { packets, problem } = fromTarget.push(chunk);
      const answers: Uint8Array[] = [];
      for (const packet of packets) answers.push(...takeReply(wired, packet));
      if (answers.length > 0) await ends.toClient(joined(answers));
      if (problem !== null) throw new ChannelProblem('target', problem);
    },
    end() {
      own.end();
      for (const pending of state.requests.values()) if (pending.operation !== null) ends.judge.closed(pending.operation, { outcome: 'Unknown' });
      for (const file of state.handles.values()) fileClosed(state, file, 'Unknown');
      state.requests.clear();
      state.handles.clear();
    },
  };
}

interface State {
  readonly ends: SftpEnds;
  readonly requests: Map<number, Pending>;
  readonly handles: Map<string, OpenFile>;
  /** Opens that have no answer yet, held ones included. */
  opening: number;
  held: number;
  version: 'none' | 'asked' | 'agreed';
  opensshOrder: boolean;
  /** Packets of this chunk that go to the target in one write. */
  outgoing: Uint8Array[];
  readonly own: OwnQuestions;
}

async function flush(state: State): Promise<void> {
  const packets = state.outgoing;
  if (packets.length === 0) return;
  state.outgoing = [];
  await state.ends.toTarget(joined(packets));
}

/** A question of our own stands behind everything that came before it. */
async function sendToTarget(state: State, packets: readonly Uint8Array[]): Promise<void> {
  state.outgoing.push(...packets);
  await flush(state);
}

function joined(packets: readonly Uint8Array[]): Uint8Array {
  const [only] = packets;
  return packets.length === 1 && only !== undefined ? only : Buffer.concat(packets);
}

// From the client to the target.

async function takeRequest(state: State, packet: Uint8Array): Promise<void> {
  const read = readSftpRequest(packet);
  if (read.outcome === 'malformed') throw new ChannelProblem('client', read.problem);
  const { request } = read;
  if (request.kind === 'INIT') return takeInit(state, request.version);
  if (state.version === 'none') throw new ChannelProblem('client', 'request before INIT');
  if (state.requests.has(request.id)) throw new ChannelProblem('client', 'request id in use');
  if (state.requests.size >= maxSftpRequests) throw new ChannelProblem('client', 'too many requests without an answer');
  // A question of our own may bear the very id that the client comes up with now.
  await state.own.freed(request.id);
  const demand = demandOf(request, state.opensshOrder);
  switch (demand.kind) {
    case 'none':
      return forward(state, packet, { request });
    case 'unsupported':
      return answer(state, request.id, sftpStatus.unsupported, 'not supported through the gateway');
    case 'handle':
      return takeOnHandle(state, packet, request, demand);
    case 'paths':
      return takeOnPaths(state, packet, request, demand);
    default:
      return demand satisfies never;
  }
}

async function takeInit(state: State, version: number): Promise<void> {
  if (state.version !== 'none') throw new ChannelProblem('client', 'a second INIT');
  if (version < 3) throw new ChannelProblem('client', 'version below 3');
  state.version = 'asked';
  state.outgoing.push(writeInit());
}

type Passing = Pick<Pending, 'request'> & Partial<Pending>;

function forward(state: State, packet: Uint8Array, passing: Passing): void {
  const pending: Pending = { file: null, into: null, operation: null, opens: null, ...passing };
  if ('id' in pending.request) state.requests.set(pending.request.id, pending);
  state.outgoing.push(packet);
}

async function answer(state: State, id: number, code: number, message: string): Promise<void> {
  await state.ends.toClient(writeStatus(id, code, message));
}

async function refuse(state: State, id: number, denial: Denial): Promise<void> {
  await answer(state, id, sftpStatus.permissionDenied, `${denial.message} [${denial.code}]`);
}

async function takeOnHandle(state: State, packet: Uint8Array, request: Exclude<SftpRequest, { kind: 'INIT' }>, demand: Extract<SftpDemand, { kind: 'handle' }>): Promise<void> {
  const files = demand.handles.map(({ handle, use }) => ({ file: state.handles.get(handle), use }));
  for (const { file, use } of files) {
    if (file === undefined) return answer(state, request.id, sftpStatus.failure, 'no such handle');
    const fits = use === 'any' || (use === 'list' ? file.kind === 'directory' : file.kind === 'file' && (use === 'read' ? file.mayRead : file.mayWrite));
    if (!fits) return answer(state, request.id, sftpStatus.permissionDenied, `the handle is not open for this`);
  }
  const [file, into] = files.map((entry) => entry.file);
  if (file === undefined) return;
  if (request.kind !== 'CLOSE' && files.some((entry) => entry.file !== undefined && isRevoked(state, entry.file))) return answer(state, request.id, sftpStatus.permissionDenied, 'the policy has changed [FILE_DENIED]');
  if (exceeds(request, file, into ?? file)) return refuseSize(state, request.id, into ?? file);
  if (demand.writes) return changeAttributes(state, packet, request, file);
  if (request.kind === 'WRITE') countWrite(file, request);
  if (request.kind === 'CLOSE') state.handles.delete(request.handle);
  forward(state, packet, { request, file, into: into ?? null });
}

/** Policy may have changed since the file was opened. */
function isRevoked(state: State, file: OpenFile): boolean {
  const { judge } = state.ends;
  const version = judge.permitVersion();
  if (version === file.permitVersion) return file.revoked;
  file.permitVersion = version;
  const operations = file.kind === 'directory' ? ['List' as const] : [...(file.mayRead ? ['Read' as const] : []), ...(file.mayWrite ? ['Write' as const] : [])];
  file.revoked = operations.length > 0 && judge.isDenied(file.path, operations);
  return file.revoked;
}

function countWrite(file: OpenFile, request: Extract<SftpRequest, { kind: 'WRITE' }>): void {
  // Offsets of a file that is open for appending have no meaning.
  if ((file.flags & openFlags.append) === 0) file.written.add(request.offset, request.content);
  else file.written.append(request.content);
}

function exceeds(request: SftpRequest, file: OpenFile, into: OpenFile): boolean {
  switch (request.kind) {
    case 'WRITE':
      return passesLimit(file, file.written.bytes() + file.copied, (file.flags & openFlags.append) === 0 ? request.offset : 0, request.content.length);
    case 'READ':
      return file.maxBytes !== null && file.read.bytes() >= file.maxBytes;
    case 'COPY_DATA': {
      // How much "up to the end" is cannot be known here.
      if (request.length === 0) return file.maxBytes !== null || into.maxBytes !== null;
      return passesLimit(file, file.read.bytes() + file.copied, request.fromOffset, request.length) || passesLimit(into, into.written.bytes() + into.copied, request.toOffset, request.length);
    }
    case 'FSETSTAT':
      return file.maxBytes !== null && (request.attributes.size ?? 0) > file.maxBytes;
    default:
      return false;
  }
}

async function refuseSize(state: State, id: number, file: OpenFile): Promise<void> {
  if (!file.limited) await state.ends.judge.limited(file.path, file.operation);
  file.limited = true;
  await answer(state, id, sftpStatus.failure, `${limitDenial().message} [${limitDenial().code}]`);
}

/** Bits that let a file run as somebody else, or keep others from removing it. */
const specialModes = 0o7000;

/**
 * What every upload ends with (times, plain permissions, a shorter size) was answered when the file was opened for writing; it is recorded and passes. An owner, setuid bits, or a
 * handle that is open for reading only are judged as a write of the path.
 */
async function changeAttributes(state: State, packet: Uint8Array, request: Exclude<SftpRequest, { kind: 'INIT' }>, file: OpenFile): Promise<void> {
  if (request.kind !== 'FSETSTAT') throw new ChannelProblem('client', 'unexpected request');
  const { owner, mode } = request.attributes;
  const text = describeRequest(request, [file.path]);
  if (file.mayWrite && owner === null && ((mode ?? 0) & specialModes) === 0) {
    const operation = await state.ends.judge.recordCovered({ text, operation: 'Write', action: request.kind, paths: [file.path] });
    return forward(state, packet, { request, file, operation });
  }
  const judged = await state.ends.judge.judge({ text, action: request.kind, items: [{ operation: 'Write', path: file.path, bytes: request.attributes.size }], shownPaths: [file.path], intent: true, held: () => undefined });
  if (judged.outcome === 'refused') return refuse(state, request.id, judged.denial);
  // People may have taken their time: the handle must still be the one that they were asked about.
  if (state.handles.get(request.handle) !== file) return refuseChanged(state, request.id, judged);
  forward(state, packet, { request, file, operation: judged.operation });
}

async function takeOnPaths(state: State, packet: Uint8Array, request: Exclude<SftpRequest, { kind: 'INIT' }>, demand: Extract<SftpDemand, { kind: 'paths' }>): Promise<void> {
  const isOpening = request.kind === 'OPEN' || request.kind === 'OPENDIR';
  if (isOpening && state.handles.size + state.opening >= maxSftpHandles) return answer(state, request.id, sftpStatus.failure, 'too many open handles');
  const resolved = await resolveDemand(demand, request, state.own);
  if (resolved.outcome === 'unreadable') return refuse(state, request.id, await state.ends.judge.refuseUnreadable(request.kind));
  const held = Promise.withResolvers<'held'>();
  // The id is taken from now on: a second request with it is an error, whether this one waits or not.
  const waiting: Pending = { request, file: null, into: null, operation: null, opens: null };
  state.requests.set(request.id, waiting);
  if (isOpening) state.opening++;
  const asked = {
    text: describeRequest(request, resolved.paths), action: request.kind, items: resolved.items, shownPaths: resolved.paths, intent: demand.intent && resolved.outcome === 'resolved',
    held: () => held.resolve('held'), mayHold: state.held < maxHeld,
  };
  const judging = state.ends.judge.judge(asked).then((judged) => pass(state, packet, request, { demand, resolved, judged, waiting }));
  const first = await Promise.race([judging, held.promise]);
  if (first !== 'held') return;
  state.held++;
  judging.then(() => flush(state)).catch((error: unknown) => state.ends.fail(error)).finally(() => { state.held--; });
}

interface Passage {
  readonly demand: Extract<SftpDemand, { kind: 'paths' }>;
  readonly resolved: Exclude<ResolvedDemand, { outcome: 'unreadable' }>;
  readonly judged: Judged;
  readonly waiting: Pending;
}

/** Forwards what was permitted, or answers. The entry of the id is this request's own, unless the channel ended meanwhile. */
async function pass(state: State, packet: Uint8Array, request: Exclude<SftpRequest, { kind: 'INIT' }>, { demand, resolved, judged, waiting }: Passage): Promise<void> {
  const isOpening = request.kind === 'OPEN' || request.kind === 'OPENDIR';
  const drop = (): void => {
    if (isOpening) state.opening--;
    state.requests.delete(request.id);
  };
  if (state.requests.get(request.id) !== waiting) {
    if (isOpening) state.opening--;
    if (judged.outcome === 'permitted' && judged.operation !== null) state.ends.judge.closed(judged.operation, { outcome: 'NotForwarded' });
    return;
  }
  if (judged.outcome === 'refused') {
    drop();
    return refuse(state, request.id, judged.denial);
  }
  if (resolved.outcome === 'unresolved') {
    drop();
    // Permitted, and there is nothing: the answer that the target gave about the path.
    return answer(state, request.id, resolved.status, 'no such path');
  }
  if (judged.wasHeld) {
    const again = await resolveDemand(demand, request, state.own);
    if (again.outcome !== 'resolved' || again.paths.join('\0') !== resolved.paths.join('\0')) {
      drop();
      return refuseChanged(state, request.id, judged);
    }
    if (state.requests.get(request.id) !== waiting) return;
  }
  if (exceedsAtOnce(request, judged)) {
    drop();
    if (judged.operation !== null) state.ends.judge.closed(judged.operation, { outcome: 'NotForwarded', code: limitDenial().code });
    return answer(state, request.id, sftpStatus.failure, `${limitDenial().message} [${limitDenial().code}]`);
  }
  const [path] = resolved.paths;
  const opens = isOpening && path !== undefined ? openTerms(request, path, judged) : null;
  forward(state, packet, { request, operation: judged.operation, opens });
}

function exceedsAtOnce(request: SftpRequest, judged: Extract<Judged, { outcome: 'permitted' }>): boolean {
  return 'attributes' in request && judged.maxBytes !== null && (request.attributes.size ?? 0) > judged.maxBytes;
}

function openTerms(request: SftpRequest, path: string, judged: Extract<Judged, { outcome: 'permitted' }>): OpenFileTerms {
  const flags = request.kind === 'OPEN' ? request.flags : 0;
  const operations = new Set(judged.operations);
  return {
    operation: judged.operation ?? 0, path, flags, kind: request.kind === 'OPEN' ? 'file' : 'directory', mayRead: operations.has('Read'), mayWrite: operations.has('Write') && (flags & (openFlags.write | openFlags.append)) !== 0, maxBytes: judged.maxBytes,
  };
}

async function refuseChanged(state: State, id: number, judged: Judged): Promise<void> {
  if (judged.outcome === 'permitted' && judged.operation !== null) state.ends.judge.closed(judged.operation, { outcome: 'NotForwarded', code: 'APPROVAL_SUPERSEDED' });
  await answer(state, id, sftpStatus.permissionDenied, 'the path leads elsewhere by now [APPROVAL_SUPERSEDED]');
}

// From the target to the client.

function takeReply(state: State, packet: Uint8Array): readonly Uint8Array[] {
  const read = readSftpReply(packet);
  if (read.outcome === 'malformed') throw new ChannelProblem('target', read.problem);
  const { reply } = read;
  if (reply.kind === 'VERSION') return [takeVersion(state, reply)];
  if (state.own.takeReply(reply)) return [];
  const pending = state.requests.get(reply.id);
  if (pending === undefined) throw new ChannelProblem('target', 'answer to no request');
  state.requests.delete(reply.id);
  return [settle(state, pending, reply) ?? packet];
}

function takeVersion(state: State, reply: Extract<SftpReply, { kind: 'VERSION' }>): Uint8Array {
  if (state.version !== 'asked') throw new ChannelProblem('target', 'a second VERSION');
  if (reply.version !== 3) throw new ChannelProblem('target', 'a version that was not asked for');
  state.version = 'agreed';
  state.opensshOrder = reply.extensions.some(({ name }) => name.endsWith('@openssh.com'));
  return writeVersion(reply.extensions);
}

/** Books an answer; returns what the client gets instead, or null. */
function settle(state: State, pending: Pending, reply: Exclude<SftpReply, { kind: 'VERSION' }>): Uint8Array | null {
  const { request, file } = pending;
  const isFine = reply.kind !== 'STATUS' || reply.code === sftpStatus.ok;
  if (pending.opens !== null) return settleOpen(state, pending, pending.opens, reply);
  if (reply.kind === 'HANDLE') throw new ChannelProblem('target', 'a handle that nobody asked for');
  if (reply.kind === 'DATA') {
    if (request.kind !== 'READ' || file === null || reply.content.length > request.length) throw new ChannelProblem('target', 'content that nobody asked for');
    if (passesLimit(file, file.read.bytes(), request.offset, reply.content.length)) return cutRead(state, request.id, file);
    file.read.add(request.offset, reply.content);
    state.ends.judge.moved(reply.content.length);
  }
  if (file !== null && request.kind === 'WRITE') {
    state.ends.judge.moved(request.content.length);
    if (!isFine) file.failed = true;
  }
  if (file !== null && pending.into !== null && request.kind === 'COPY_DATA' && isFine) {
    file.copied += request.length;
    pending.into.copied += request.length;
  }
  if (file !== null && request.kind === 'CLOSE') fileClosed(state, file, isFine && !file.failed ? 'Completed' : 'Failed');
  if (pending.operation !== null) state.ends.judge.closed(pending.operation, { outcome: isFine ? 'Completed' : 'Failed', ...(reply.kind === 'STATUS' ? { status: reply.code } : {}) });
  return null;
}

function settleOpen(state: State, pending: Pending, terms: OpenFileTerms, reply: Exclude<SftpReply, { kind: 'VERSION' }>): null {
  state.opening--;
  if (reply.kind !== 'HANDLE') {
    if (pending.operation !== null) state.ends.judge.closed(pending.operation, { outcome: 'Failed', ...(reply.kind === 'STATUS' ? { status: reply.code } : {}) });
    return null;
  }
  if (state.handles.has(reply.handle)) throw new ChannelProblem('target', 'a handle that is in use');
  state.handles.set(reply.handle, openFile(terms, state.ends.digestKey, state.ends.judge.permitVersion()));
  return null;
}

function cutRead(state: State, id: number, file: OpenFile): Uint8Array {
  if (!file.limited) state.ends.judge.limited(file.path, file.operation).catch((error: unknown) => state.ends.fail(error));
  file.limited = true;
  return writeStatus(id, sftpStatus.failure, `${limitDenial().message} [${limitDenial().code}]`);
}

/** The record of an open file ends with its flags, its bytes and, where it was read or written in order, the digest of its content. */
function fileClosed(state: State, file: OpenFile, outcome: 'Completed' | 'Failed' | 'Unknown'): void {
  if (file.kind === 'directory') return;
  const [read, written] = [file.read.bytes(), file.written.bytes()];
  state.ends.judge.closed(file.operation, {
    outcome, flags: file.flags, bytes_read: read, bytes_written: written, ...(read > 0 ? { digest_read: file.read.value() } : {}), ...(file.mayWrite ? { digest_written: file.copied > 0 ? 'partial' : file.written.value() } : {}),
    ...(file.copied > 0 ? { bytes_copied: file.copied } : {}), ...(file.limited ? { limited: true } : {}),
  });
}
