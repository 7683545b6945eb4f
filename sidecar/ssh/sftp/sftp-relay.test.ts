import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { deny } from '../../core/errors.ts';
import { type Field, writePacket } from '../../core/ssh-files/packet-fields.ts';
import { readSftpReply, writeStatus } from '../../core/ssh-files/sftp-reply.ts';
import { readSftpRequest } from '../../core/ssh-files/sftp-request.ts';
import type { FileAsk, FileJudge, Judged } from './judge-files.ts';
import { createSftpRelay, type SftpRelay } from './sftp-relay.ts';

const u32 = (uint32: number): Field => ({ uint32 });
const str = (string: string | Uint8Array): Field => ({ string });
const zero = u32(0);
const init = writePacket(1, [u32(3)]);
const version = writePacket(2, [u32(3), str('posix-rename@openssh.com'), str('1')]);
const open = (id: number, path: string, flags: number): Uint8Array => writePacket(3, [u32(id), str(path), u32(flags), zero]);
const write = (id: number, handle: string, offset: number, content: string): Uint8Array => writePacket(6, [u32(id), str(handle), zero, u32(offset), str(content)]);
const read = (id: number, handle: string, offset: number, length: number): Uint8Array => writePacket(5, [u32(id), str(handle), zero, u32(offset), u32(length)]);
const close = (id: number, handle: string): Uint8Array => writePacket(4, [u32(id), str(handle)]);
const stat = (id: number, path: string): Uint8Array => writePacket(17, [u32(id), str(path)]);
const handle = (id: number, text: string): Uint8Array => writePacket(102, [u32(id), str(text)]);
const data = (id: number, text: string): Uint8Array => writePacket(103, [u32(id), str(text)]);
const name = (id: number, path: string): Uint8Array => writePacket(104, [u32(id), u32(1), str(path), str(path), zero]);

interface Channel {
  readonly relay: SftpRelay;
  /** Requests that reached the target, those of our own about paths left out: kind and id. */
  readonly atTarget: string[];
  /** Answers that reached the client: kind, id, and the code of a STATUS. */
  readonly atClient: string[];
  readonly asked: FileAsk[];
  readonly closed: Readonly<Record<string, unknown>>[];
  readonly limited: string[];
  readonly failures: unknown[];
  readonly raw: Uint8Array[];
  /** What REALPATH answers; a path that is not here leads to itself, a null one nowhere. */
  readonly leads: Map<string, string | null>;
  /** Ids that look like ours and are the client's. */
  readonly clientIds: Set<number>;
  readonly policy: { version: number; denies: readonly string[] };
}

type Answers = (ask: FileAsk) => Promise<Judged> | Judged;

const permitted = (ask: FileAsk, more: Partial<Extract<Judged, { outcome: 'permitted' }>> = {}): Judged => ({
  outcome: 'permitted', operation: ask.intent ? 7 : null, wasHeld: false, maxBytes: null, operations: [...new Set(ask.items.map((item) => item.operation))], ...more,
});

/** A channel whose target answers questions about paths at once, and whose greeting is over. */
async function openChannel(answers: Answers = (ask) => (ask.items.some((item) => item.path.startsWith('/secret')) ? { outcome: 'refused', denial: deny('FILE_DENIED') } : permitted(ask))): Promise<Channel> {
  const channel: Channel = { relay: null as never, atTarget: [], atClient: [], asked: [], closed: [], limited: [], failures: [], raw: [], leads: new Map(), clientIds: new Set(), policy: { version: 1, denies: [] } };
  const judge: FileJudge = {
    async judge(ask) {
      channel.asked.push(ask);
      return answers(ask);
    },
    recordCovered: () => Promise.resolve(9),
    closed: (operation, facts) => void channel.closed.push({ operation, ...facts }),
    limited: (path) => Promise.resolve(void channel.limited.push(path)),
    permitVersion: () => channel.policy.version, isDenied: (path) => channel.policy.denies.includes(path), moved: () => undefined,
    refuseUnreadable: () => Promise.resolve(deny('FILE_DENIED')),
  };
  const relay = createSftpRelay({
    judge, digestKey: Buffer.from('key'), fail: (error) => void channel.failures.push(error),
    async toTarget(bytes) {
      channel.raw.push(Uint8Array.from(bytes));
      for (const packet of split(bytes)) answerPath(channel, relay, packet);
    },
    toClient: (bytes) => Promise.resolve(split(bytes).forEach((packet) => channel.atClient.push(describeReply(packet)))),
  });
  Object.assign(channel, { relay });
  await relay.fromClient(init);
  await relay.fromTarget(version);
  channel.atTarget.length = 0;
  channel.atClient.length = 0;
  channel.raw.length = 0;
  return channel;
}

function split(bytes: Uint8Array): readonly Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 4 + Buffer.from(bytes).readUInt32BE(at);
    packets.push(bytes.subarray(at, end));
    at = end;
  }
  return packets;
}

function answerPath(channel: Channel, relay: SftpRelay, packet: Uint8Array): void {
  const parsed = readSftpRequest(packet);
  if (parsed.outcome === 'malformed') throw new Error(parsed.problem);
  const { request } = parsed;
  if (request.kind === 'INIT') return void channel.atTarget.push(`INIT ${request.version}`);
  const isOwn = request.id > 0xffff_ff00 && !channel.clientIds.has(request.id);
  if (isOwn && request.kind === 'REALPATH') {
    const path = request.paths[0] ?? '';
    const led = channel.leads.has(path) ? channel.leads.get(path) : path === '.' ? '/home/u' : path;
    const answer = typeof led === 'string' ? name(request.id, led) : writeStatus(request.id, 2, 'no');
    setImmediate(() => void relay.fromTarget(answer));
    return;
  }
  if (isOwn && request.kind === 'STAT') return void setImmediate(() => void relay.fromTarget(writePacket(105, [u32(request.id), u32(4), u32(request.paths[0]?.endsWith('/tree') === true ? 0o040755 : 0o100644)])));
  if (isOwn && request.kind === 'LSTAT') return void setImmediate(() => void relay.fromTarget(writeStatus(request.id, 2, 'no')));
  channel.atTarget.push(`${request.kind} ${request.id}`);
}

function describeReply(packet: Uint8Array): string {
  const parsed = readSftpReply(packet);
  if (parsed.outcome === 'malformed') throw new Error(parsed.problem);
  const { reply } = parsed;
  return reply.kind === 'VERSION' ? `VERSION ${reply.version}` : `${reply.kind} ${reply.id}${reply.kind === 'STATUS' ? ` code ${reply.code}` : ''}`;
}

async function openFileOn(channel: Channel, path: string, flags: number, text: string): Promise<void> {
  await channel.relay.fromClient(open(1, path, flags));
  await channel.relay.fromTarget(handle(1, text));
}

describe('requests on paths', () => {
  test('a permitted request goes on as its own bytes, judged on the path that it leads to', async () => {
    const channel = await openChannel();
    channel.leads.set('link', '/srv/real');
    await channel.relay.fromClient(open(1, 'link', 1));
    expect(channel.asked.map((ask) => [ask.text, ask.items])).toEqual([['sftp open "/srv/real" asked="link" flags=read', [{ operation: 'Read', path: '/srv/real', bytes: null }]]]);
    expect(channel.raw.at(-1)).toEqual(Uint8Array.from(open(1, 'link', 1)));
    await channel.relay.fromTarget(handle(1, 'h'));
    expect(channel.atClient).toEqual(['HANDLE 1']);
  });

  test('a denied path answers STATUS 3 with the id, never reaches the target, and the channel goes on', async () => {
    const channel = await openChannel();
    await channel.relay.fromClient(Buffer.concat([open(5, '/secret/a', 2), stat(6, '/srv')]));
    expect([channel.atTarget, channel.atClient]).toEqual([['STAT 6'], ['STATUS 5 code 3']]);
  });

  test('a symbolic link into a denied place is denied', async () => {
    const channel = await openChannel();
    channel.leads.set('/srv/link', '/secret/a');
    await channel.relay.fromClient(open(5, '/srv/link', 2));
    expect([channel.atTarget, channel.atClient]).toEqual([[], ['STATUS 5 code 3']]);
  });

  test('a new file is judged in the directory where it will lie', async () => {
    const channel = await openChannel();
    channel.leads.set('/srv/new', null).set('/srv', '/secret');
    await channel.relay.fromClient(open(5, '/srv/new', 10));
    expect(channel.asked[0]?.items).toEqual([{ operation: 'Write', path: '/secret/new', bytes: null }]);
    expect(channel.atClient).toEqual(['STATUS 5 code 3']);
  });

  test('RENAME of a directory asks for what is below its new name, too: a rule for the name alone says nothing about what it brings', async () => {
    const channel = await openChannel((ask) => (ask.items.some((item) => item.path.startsWith('/git/app.git/')) ? { outcome: 'refused', denial: deny('FILE_DENIED') } : permitted(ask)));
    await channel.relay.fromClient(writePacket(18, [u32(5), str('/srv/tree'), str('/git/app.git')]));
    await channel.relay.fromClient(writePacket(18, [u32(6), str('/srv/file'), str('/git/app.git')]));
    expect([channel.atClient, channel.atTarget]).toEqual([['STATUS 5 code 3'], ['RENAME 6']]);
  });

  test('RENAME asks for both paths, and for what moves along', async () => {
    const channel = await openChannel();
    await channel.relay.fromClient(writePacket(18, [u32(5), str('/srv/a'), str('/secret/b')]));
    expect(channel.asked[0]?.items).toEqual([{ operation: 'Write', path: '/srv/a', bytes: null, below: 'Moved' }, { operation: 'Write', path: '/secret/b', bytes: null, below: 'Moved' }]);
    expect(channel.atClient).toEqual(['STATUS 5 code 3']);
  });

  test('the target of a symbolic link is asked for too', async () => {
    const channel = await openChannel();
    await channel.relay.fromClient(writePacket(20, [u32(5), str('../secret/x'), str('/srv/link')]));
    channel.leads.set('/srv/../secret/x', '/secret/x');
    await channel.relay.fromClient(writePacket(20, [u32(6), str('../secret/x'), str('/srv/link')]));
    expect(channel.atClient.at(-1)).toBe('STATUS 6 code 3');
  });

  test('what leads nowhere is answered as the target did, and not forwarded', async () => {
    const channel = await openChannel();
    channel.leads.set('/none/a', null).set('/none', null);
    await channel.relay.fromClient(open(5, '/none/a', 10));
    expect([channel.atTarget, channel.atClient]).toEqual([[], ['STATUS 5 code 2']]);
  });

  test('a path that is no text, and an extension that does not pass, are answered', async () => {
    const channel = await openChannel();
    await channel.relay.fromClient(writePacket(17, [u32(5), str(Uint8Array.of(47, 255))]));
    await channel.relay.fromClient(writePacket(200, [u32(6), str('home-directory'), str('ann')]));
    await channel.relay.fromClient(writePacket(200, [u32(7), str('expand-path@openssh.com'), str('~root/x')]));
    expect([channel.atTarget, channel.atClient]).toEqual([[], ['STATUS 5 code 3', 'STATUS 6 code 8', 'STATUS 7 code 3']]);
  });
});

describe('open files', () => {
  test('closing one gives its bytes and the digest of what was written in order', async () => {
    const channel = await openChannel();
    await openFileOn(channel, '/srv/a', 26, 'h');
    await channel.relay.fromClient(Buffer.concat([write(2, 'h', 0, 'ab'), write(3, 'h', 2, 'cd'), close(4, 'h')]));
    await channel.relay.fromTarget(Buffer.concat([2, 3, 4].map((id) => writeStatus(id, 0, ''))));
    expect(channel.closed).toEqual([{ operation: 7, outcome: 'Completed', flags: 26, bytes_read: 0, bytes_written: 4, digest_written: expect.stringMatching(/^hmac-sha256:/) }]);
  });

  test('a handle serves only what it was opened for', async () => {
    const channel = await openChannel();
    await openFileOn(channel, '/srv/a', 1, 'h');
    await channel.relay.fromClient(Buffer.concat([write(2, 'h', 0, 'x'), read(3, 'h', 0, 9), read(4, 'unknown', 0, 9), writePacket(12, [u32(5), str('h')])]));
    expect([channel.atTarget.slice(1), channel.atClient.slice(1)]).toEqual([['READ 3'], ['STATUS 2 code 3', 'STATUS 4 code 4', 'STATUS 5 code 3']]);
  });

  test('a file whose rule is gone can only be closed', async () => {
    const channel = await openChannel();
    await openFileOn(channel, '/srv/a', 3, 'h');
    Object.assign(channel.policy, { version: 2, denies: ['/srv/a'] });
    await channel.relay.fromClient(Buffer.concat([write(2, 'h', 0, 'x'), read(3, 'h', 0, 9), close(4, 'h')]));
    expect([channel.atTarget.slice(1), channel.atClient.slice(1)]).toEqual([['CLOSE 4'], ['STATUS 2 code 3', 'STATUS 3 code 3']]);
  });

  test('a handle that was closed is unknown, also before the answer', async () => {
    const channel = await openChannel();
    await openFileOn(channel, '/srv/a', 2, 'h');
    await channel.relay.fromClient(Buffer.concat([close(2, 'h'), write(3, 'h', 0, 'x')]));
    expect(channel.atClient.at(-1)).toBe('STATUS 3 code 4');
  });

  test('writing and reading stop at the size of the rule', async () => {
    const channel = await openChannel((ask) => permitted(ask, { maxBytes: 4 }));
    await openFileOn(channel, '/srv/a', 3, 'h');
    await channel.relay.fromClient(Buffer.concat([write(2, 'h', 0, 'abcd'), write(3, 'h', 4, 'e'), write(4, 'h', 100, 'e'), read(5, 'h', 0, 9), read(6, 'h', 4, 9)]));
    await channel.relay.fromTarget(Buffer.concat([data(5, 'abcd'), data(6, 'e')]));
    expect(channel.atClient.slice(1)).toEqual(['STATUS 3 code 4', 'STATUS 4 code 4', 'DATA 5', 'STATUS 6 code 4']);
    expect(channel.limited).toEqual(['/srv/a']);
  });

  test('a server-side copy of unknown length needs files without a limit', async () => {
    const copy = (id: number, length: number): Uint8Array => writePacket(200, [u32(id), str('copy-data'), str('h'), zero, zero, zero, u32(length), str('h'), zero, zero]);
    const channel = await openChannel((ask) => permitted(ask, { maxBytes: 4 }));
    await openFileOn(channel, '/srv/a', 3, 'h');
    await channel.relay.fromClient(Buffer.concat([copy(2, 0), copy(3, 5), copy(4, 4)]));
    expect([channel.atTarget.slice(1), channel.atClient.slice(1)]).toEqual([['EXTENDED 4'.replace('EXTENDED', 'COPY_DATA')], ['STATUS 2 code 4', 'STATUS 3 code 4']]);
  });

  test('times and permissions at the end of an upload are covered; setuid bits are judged', async () => {
    const fsetstat = (id: number, mode: number): Uint8Array => writePacket(10, [u32(id), str('h'), u32(4), u32(mode)]);
    const channel = await openChannel();
    await openFileOn(channel, '/srv/a', 2, 'h');
    await channel.relay.fromClient(Buffer.concat([fsetstat(2, 0o644), fsetstat(3, 0o4755)]));
    expect(channel.asked.map((ask) => ask.text).slice(1)).toEqual(['sftp fsetstat "/srv/a" mode=4755']);
    expect(channel.atTarget.slice(1)).toEqual(['FSETSTAT 2', 'FSETSTAT 3']);
  });

  test('the 1025th handle is refused', async () => {
    const channel = await openChannel();
    for (let id = 1; id <= 1024; id++) {
      await channel.relay.fromClient(open(id, '/srv/a', 1));
      await channel.relay.fromTarget(handle(id, `h${id}`));
    }
    await channel.relay.fromClient(open(5000, '/srv/a', 1));
    expect(channel.atClient.at(-1)).toBe('STATUS 5000 code 4');
  });

  test('what is open when the channel ends is closed in the record', async () => {
    const channel = await openChannel();
    await openFileOn(channel, '/srv/a', 1, 'h');
    await channel.relay.fromClient(writePacket(13, [u32(2), str('/srv/b')]));
    channel.relay.end();
    expect(channel.closed.map((facts) => facts['outcome'])).toEqual(['Unknown', 'Unknown']);
  });
});

describe('a held request', () => {
  test('waits alone: what comes behind it goes on, and it is forwarded once approved', async () => {
    const approval = Promise.withResolvers<void>();
    const channel = await openChannel(async (ask) => {
      if (ask.action !== 'OPEN') return permitted(ask);
      ask.held();
      await approval.promise;
      return permitted(ask, { wasHeld: true });
    });
    await channel.relay.fromClient(Buffer.concat([open(1, '/srv/a', 2), stat(2, '/srv')]));
    expect(channel.atTarget).toEqual(['STAT 2']);
    await channel.relay.fromTarget(writeStatus(2, 0, ''));
    approval.resolve();
    await until(() => channel.atTarget.length === 2);
    expect(channel.atTarget).toEqual(['STAT 2', 'OPEN 1']);
  });

  test('is refused when its path leads elsewhere by the time that it is approved', async () => {
    const approval = Promise.withResolvers<void>();
    const channel = await openChannel(async (ask) => {
      ask.held();
      await approval.promise;
      return permitted(ask, { wasHeld: true });
    });
    await channel.relay.fromClient(open(1, '/srv/a', 2));
    channel.leads.set('/srv/a', '/secret/a');
    approval.resolve();
    await until(() => channel.atClient.length === 1);
    expect([channel.atTarget, channel.atClient, channel.closed]).toEqual([[], ['STATUS 1 code 3'], [{ operation: 7, outcome: 'NotForwarded', code: 'APPROVAL_SUPERSEDED' }]]);
  });

  test('is not forwarded after the end of the channel', async () => {
    const approval = Promise.withResolvers<void>();
    const channel = await openChannel(async (ask) => {
      ask.held();
      await approval.promise;
      return permitted(ask, { wasHeld: true });
    });
    await channel.relay.fromClient(open(1, '/srv/a', 2));
    channel.relay.end();
    approval.resolve();
    await until(() => channel.closed.length === 1);
    expect([channel.atTarget, channel.closed]).toEqual([[], [{ operation: 7, outcome: 'NotForwarded' }]]);
  });

  test('that cannot be recorded ends the channel', async () => {
    const broken = Promise.withResolvers<Judged>();
    const channel = await openChannel((ask) => {
      ask.held();
      return broken.promise;
    });
    await channel.relay.fromClient(open(1, '/srv/a', 2));
    broken.reject(new Error('disk full'));
    await until(() => channel.failures.length === 1);
    expect(channel.atTarget).toEqual([]);
  });
});

describe('peers that break the protocol', () => {
  test.each<readonly [string, Uint8Array]>([
    ['a second INIT', init], ['an unknown type', writePacket(99, [u32(1)])], ['an id in use', Buffer.concat([stat(1, '/srv'), stat(1, '/srv')])], ['an empty packet', Buffer.alloc(4)], ['a packet over the limit', Buffer.from([0, 4, 4, 1])],
  ])('%s ends the channel', async (_name, bytes) => {
    const channel = await openChannel();
    await expect(channel.relay.fromClient(bytes)).rejects.toMatchObject({ name: 'ChannelProblem', peer: 'client' });
  });

  test('the 4097th request without an answer ends the channel', async () => {
    const channel = await openChannel();
    for (let id = 1; id <= 4096; id++) await channel.relay.fromClient(writePacket(16, [u32(id), str('.')]));
    await expect(channel.relay.fromClient(writePacket(16, [u32(9999), str('.')]))).rejects.toMatchObject({ peer: 'client' });
  });

  test.each<readonly [string, Uint8Array]>([
    ['an answer to nothing', writeStatus(77, 0, '')], ['a second VERSION', version], ['a handle for a STAT', handle(1, 'h')], ['content for a STAT', data(1, 'x')], ['an unknown type', writePacket(3, [u32(1)])],
  ])('%s of the target ends the channel', async (_name, bytes) => {
    const channel = await openChannel();
    await channel.relay.fromClient(stat(1, '/srv'));
    await expect(channel.relay.fromTarget(bytes)).rejects.toMatchObject({ name: 'ChannelProblem', peer: 'target' });
  });

  test('a request before INIT, and a version that was not asked for, end the channel', async () => {
    const fresh = (): SftpRelay => createSftpRelay({ judge: {} as FileJudge, digestKey: Buffer.from('k'), fail: () => undefined, toTarget: () => Promise.resolve(), toClient: () => Promise.resolve() });
    await expect(fresh().fromClient(stat(1, '/'))).rejects.toMatchObject({ peer: 'client' });
    await expect(fresh().fromTarget(version)).rejects.toMatchObject({ peer: 'target' });
    const greeted = fresh();
    await greeted.fromClient(writePacket(1, [u32(6)]));
    await expect(greeted.fromTarget(writePacket(2, [u32(6)]))).rejects.toMatchObject({ peer: 'target' });
  });

  test('a handle that is in use already ends the channel', async () => {
    const channel = await openChannel();
    await openFileOn(channel, '/srv/a', 1, 'h');
    await channel.relay.fromClient(open(2, '/srv/b', 1));
    await expect(channel.relay.fromTarget(handle(2, 'h'))).rejects.toMatchObject({ peer: 'target' });
  });

  test('arbitrary packets never reach the target unless they were judged', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 6 }), async (bodies) => {
      const channel = await openChannel(() => ({ outcome: 'refused', denial: deny('FILE_DENIED') }));
      const stream = Buffer.concat(bodies.map((body) => Buffer.concat([Buffer.from([0, 0, 0, body.length]), body])));
      await channel.relay.fromClient(stream).catch((error: unknown) => expect(error).toMatchObject({ name: 'ChannelProblem' }));
      expect(channel.atTarget.every((line) => /^(?:REALPATH|EXPAND_PATH|LIMITS) /.test(line))).toBe(true);
    }), { numRuns: 300 });
  });
});

test('questions of our own never bear the id of a request that has no answer', async () => {
  const channel = await openChannel();
  channel.clientIds.add(0xffff_ffff);
  await channel.relay.fromClient(Buffer.concat([writePacket(16, [u32(0xffff_ffff), str('.')]), stat(5, '/srv')]));
  const bare = channel.raw.flatMap(split).map((packet) => readSftpRequest(packet)).map((read) => (read.outcome === 'request' && read.request.kind !== 'INIT' ? `${read.request.kind} ${read.request.id}` : ''));
  expect(bare).toEqual(['REALPATH 4294967295', 'REALPATH 4294967294', 'STAT 5']);
});

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 1_000 && !condition(); turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(condition()).toBe(true);
}
