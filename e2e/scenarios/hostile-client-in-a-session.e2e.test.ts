import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { type ByteClient, openByteClient } from '../fuzz/byte-client.ts';
import { allowEverything, startWorld, type World } from '../hosts/gateway.ts';
import { eventually, highest, residentBytes } from '../hosts/gateway-process.ts';
import { cstring, type Frame, int16, int32, message, readFields } from '../leaks/raw-client.ts';

// A client with a valid token that means ill: it may end its own session, and no more.
const policies = allowEverything.replace('rules:', 'rules:\n  - {name: deletes, action: RequireApproval, postgres: {statements: [Delete]}, approval: {groups: [dba], decideWithin: 5m}}');
const mebibyte = 1_048_576;
const header = (type: string, length: number): Buffer => Buffer.concat([Buffer.from(type), int32(length | 0)]);

let world: World;
let control: ByteClient;
const opened: ByteClient[] = [];

beforeAll(async () => {
  world = await startWorld({ policies });
  control = await open();
  opened.length = 0;
  await ask(control, write.query('create table kept (a int4); insert into kept values (1); create table loaded (a text)'));
}, 60_000);

afterEach(async () => {
  for (const client of opened.splice(0)) client.destroy();
  expect(kinds(await ask(control, write.query('select 1')))).toBe('TDCZ');
});

afterAll(async () => {
  control.destroy();
  await world[Symbol.asyncDispose]();
}, 30_000);

describe('a message in a state where it is not legal ends the session', () => {
  test.each<[string, Buffer]>([
    ['a password', message('p', cstring('again'))], ['a StartupMessage', write.startupMessage(0, [['user', 'me'], ['database', 'postgres']])], ['SSLRequest', write.sslRequest()], ['an unknown type', message('z', Buffer.alloc(0))],
    ['a length of 0', header('S', 0)], ['a length of 3', header('Q', 3)], ['a small message over 10,000 bytes', header('E', 10_001)], ['a Bind over 16 MiB', header('B', 16 * mebibyte + 1)], ['a length of 2^31', header('Q', 0x80000000)], ['a length of 2^32 - 1', header('d', 0xffffffff)],
    ['a Query with a NUL inside', message('Q', Buffer.from('select 1\0; drop table kept\0'))], ['a Query without its NUL', message('Q', Buffer.from('select 1'))], ['a Bind whose counts do not fit', message('B', Buffer.concat([cstring(''), cstring(''), int16(0), int16(5), int16(0)]))],
    ['a Describe of neither statement nor portal', message('D', cstring('Xname'))],
  ])('%s', async (_, bytes) => {
    const client = await open();
    client.socket.write(bytes);
    await eventually('closed', () => client.closed);
    expect(lastError(client.frames)).toMatchObject({ S: 'FATAL', C: '08P01' });
  });
});

describe('while a statement is held', () => {
  const later: readonly [string, Buffer, string][] = [
    ['Query', write.query('select 1'), 'TDCZ'], ['Parse', Buffer.concat([write.parse('', 'select 1'), write.sync()]), '1Z'], ['Bind of nothing', Buffer.concat([write.bind('', 'nope'), write.sync()]), 'EZ'],
    ['Describe', Buffer.concat([write.describe('S', 'nope'), write.sync()]), 'EZ'], ['Execute', Buffer.concat([write.execute('nope'), write.sync()]), 'EZ'], ['Close', Buffer.concat([write.close('S', 'nope'), write.sync()]), '3Z'],
    ['Sync', write.sync(), 'Z'], ['Flush', Buffer.concat([write.flush(), write.sync()]), 'Z'], ['FunctionCall', message('F', Buffer.concat([int32(177), int16(1), int16(1), int16(2), int32(4), int32(4), int32(4), int32(5), int16(1)])), 'VZ'],
    ['CopyData, CopyDone and CopyFail', Buffer.concat([message('d', Buffer.from('x')), message('c', Buffer.alloc(0)), message('f', cstring('no')), write.sync()]), 'Z'],
  ];

  test.each(later)('%s waits, and is answered when the hold has ended', async (_, bytes, answer) => {
    const client = await hold();
    const from = client.frames.length;
    client.socket.write(bytes);
    await client.wait(() => false, 200);
    expect(kinds(client.frames.slice(from))).toBe('');
    await cancel(client);
    await client.wait(() => kinds(client.frames.slice(from)).replaceAll('N', '') === `EZ${answer}`, 5_000);
    expect(kinds(client.frames.slice(from)).replaceAll('N', '')).toBe(`EZ${answer}`);
    expect(readFields(client.frames[from]?.body ?? Buffer.alloc(0)).get('C')).toBe('57014');
  });

  test.each<[string, (client: ByteClient) => void]>([['Terminate', (client) => client.socket.write(write.terminate())], ['a closed line', (client) => client.socket.end()], ['a reset line', (client) => client.destroy()]])('%s withdraws the request, and nothing reaches the server', async (_, leave) => {
    const client = await hold();
    leave(client);
    await eventually('the session is over', () => client.closed);
    expect(world.postgres.log()).not.toContain('delete from kept');
  });

  test('a broken message ends the session when its turn comes, the held statement unsent', async () => {
    const client = await hold();
    client.socket.write(message('p', cstring('x')));
    await cancel(client);
    await eventually('closed', () => client.closed);
    expect(lastError(client.frames)).toMatchObject({ S: 'FATAL', C: '08P01' });
    expect(world.postgres.log()).not.toContain('delete from kept');
  });

  test('a client that sends without end is read no further than 256 KiB', async () => {
    const client = await hold();
    const before = residentBytes(world);
    const peak = await highest(() => residentBytes(world), sendUntilStuck(client.socket, Buffer.concat(Array.from({ length: 1_000 }, () => write.query('select 1')))));
    expect(peak - before).toBeLessThan(48 * mebibyte);
    client.destroy();
  }, 20_000);
});

describe('limits', () => {
  test('a Query over the statement limit is refused and the session goes on; in a transaction it fails it', async () => {
    const client = await open();
    const long = write.query(`select '${'x'.repeat(300 * 1_024)}'`);
    expect(kinds(await ask(client, long))).toBe('EZ');
    expect(lastError(client.frames)).toMatchObject({ S: 'ERROR', C: '54000', M: expect.stringContaining('[STATEMENT_TOO_LONG]') });
    await ask(client, write.query('begin'));
    expect((await ask(client, long)).at(-1)?.body.toString()).toBe('E');
    await ask(client, write.query('rollback'));
    expect(kinds(await ask(client, write.query('select 1')))).toBe('TDCZ');
  });

  test('a Parse over the statement limit fails its pipeline up to Sync', async () => {
    const client = await open();
    const pipeline = [write.parse('a', 'select 1'), write.parse('', `select '${'x'.repeat(600 * 1_024)}'`), write.bind('', 'a'), write.execute(''), write.sync()];
    expect(kinds(await ask(client, Buffer.concat(pipeline)))).toBe('1EZ');
    expect(kinds(await ask(client, Buffer.concat([write.bind('', 'a'), write.execute(''), write.sync()])))).toBe('2DCZ');
  });

  test('the 5,001st prepared statement is refused (53400), and the next Sync goes on', async () => {
    const client = await open();
    let refused = 0;
    for (let from = 0; from < 10_000; from += 500) {
      const parses = Array.from({ length: 500 }, (_, index) => Buffer.concat([write.parse(`s${from + index}`, 'select 1'), write.sync()]));
      refused += (await ask(client, Buffer.concat(parses), 500)).filter(({ type, body }) => type === 'E' && readFields(body).get('C') === '53400').length;
    }
    expect(refused).toBe(5_000);
    expect(kinds(await ask(client, Buffer.concat([write.bind('', 's4999'), write.execute(''), write.sync()])))).toBe('2DCZ');
  }, 60_000);

  test('more than 32 MiB of texts under names are refused (53400)', async () => {
    const client = await open();
    const text = `select 1 -- ${'x'.repeat(200 * 1_024)}`;
    let refused = 0;
    for (let n = 0; n < 180; n++) refused += kinds(await ask(client, Buffer.concat([write.parse(`s${n}`, text), write.sync()]))) === 'EZ' ? 1 : 0;
    expect(refused).toBeGreaterThan(10);
    expect(lastError(client.frames)).toMatchObject({ C: '53400' });
    expect(kinds(await ask(client, write.query('select 1')))).toBe('TDCZ');
  }, 60_000);

  test('30,000 messages sent before the first is answered wait, and are all answered', async () => {
    const client = await open();
    await ask(client, Buffer.concat([write.parse('s', 'select 1'), write.sync()]));
    const round = Buffer.concat([write.bind('', 's'), write.execute('')]);
    const frames = await ask(client, Buffer.concat([write.parse('', 'select pg_sleep(0.5)'), write.bind('', ''), write.execute(''), ...Array.from({ length: 15_000 }, () => round), write.sync()]), 1, 40_000);
    expect(frames.filter(({ type }) => type === 'C').length).toBe(15_001);
  }, 60_000);

  test('a Bind of 65,535 parameters is the server’s to refuse, one of 16 MiB passes', async () => {
    const client = await open();
    await ask(client, Buffer.concat([write.parse('none', 'select 1'), write.parse('one', 'select length($1::text)'), write.sync()]));
    const many = message('B', Buffer.concat([cstring(''), cstring('none'), int16(0), int16(-1), ...Array.from({ length: 65_535 }, () => int32(-1)), int16(0)]));
    expect(kinds(await ask(client, Buffer.concat([many, write.execute(''), write.sync()])))).toBe('EZ');
    expect(lastError(client.frames)).toMatchObject({ S: 'ERROR', C: '08P01' });
    const large = Buffer.alloc(16 * mebibyte - 100, 'x');
    const frames = await ask(client, Buffer.concat([message('B', Buffer.concat([cstring(''), cstring('one'), int16(0), int16(1), int32(large.length), large, int16(0)])), write.execute(''), write.sync()]), 1, 20_000);
    expect(frames.find(({ type }) => type === 'D')?.body.subarray(6).toString()).toBe(String(large.length));
  }, 60_000);

  test('three texts that overflow the parser end their session, and disturb no other', async () => {
    const client = await open();
    const deep = write.query(`select ${'1+'.repeat(50_000)}1`);
    const codes: string[] = [];
    for (let n = 0; n < 5 && !client.closed; n++) {
      const frames = await ask(client, deep, 1, 20_000);
      codes.push(lastError(frames)['C'] ?? kinds(frames));
      expect(kinds(await ask(control, write.query(`select ${n} + 1`)))).toBe('TDCZ');
    }
    expect(codes.slice(0, 2).every((code) => code === '54001' || code === '54000')).toBe(true);
    expect(client.closed).toBe(true);
  }, 60_000);

  test('CopyData of 1 GB that is declared and not sent holds no memory, and its COPY ends with the client', async () => {
    const client = await open();
    await ask(client, write.query('copy loaded from stdin'), 0);
    const before = residentBytes(world);
    client.socket.write(Buffer.concat([header('d', 0x3fffffff), Buffer.from('first\n')]));
    const peak = await highest(() => residentBytes(world), client.wait(() => false, 500));
    expect(peak - before).toBeLessThan(32 * mebibyte);
    client.destroy();
    await eventually('no COPY runs on the server', async () => (await ask(control, write.query("select count(*) from pg_stat_activity where query like 'copy loaded%'"))).some(({ type, body }) => type === 'D' && body.subarray(6).toString() === '0'));
  });

  test('a guess at the name of a poison finds nothing, and a refused statement stays refused', async () => {
    const client = await open();
    const pipeline = [write.parse('', 'select 1'), write.bind('sallyport_refused_000000000000000000000000', ''), write.execute('sallyport_refused_111111111111111111111111'), write.sync()];
    expect(kinds(await ask(client, Buffer.concat(pipeline)))).toBe('12EZ');
    expect(lastError(client.frames)).toMatchObject({ C: '34000' });
  });
});

describe('a peer that does not keep up', () => {
  test('a client that never reads 10 GB: the gateway stays as it is', async () => {
    const client = await open();
    await ask(client, write.query("select repeat('x', 1000) from generate_series(1, 100000)"), 1, 20_000);
    const before = residentBytes(world);
    client.socket.pause();
    client.socket.write(write.query("select repeat('x', 1000) from generate_series(1, 10000000)"));
    const peak = await highest(() => residentBytes(world), new Promise((resolve) => setTimeout(resolve, 2_000)));
    expect(peak - before).toBeLessThan(32 * mebibyte);
    client.destroy();
    await eventually('the statement was cancelled on the server', async () => (await ask(control, write.query("select count(*) from pg_stat_activity where query like 'select repeat%' and state = 'active'"))).some(({ type, body }) => type === 'D' && body.subarray(6).toString() === '0'));
  }, 30_000);

  test('a client that never reads the refusals that it earns is read no further', async () => {
    const client = await open();
    await ask(client, write.query('select 1'));
    const before = residentBytes(world);
    client.socket.pause();
    const peak = await highest(() => residentBytes(world), sendUntilStuck(client.socket, Buffer.concat(Array.from({ length: 1_000 }, () => write.query('selec')))));
    expect(peak - before).toBeLessThan(96 * mebibyte);
  }, 30_000);

  test('a line that is closed on one side ends the session, and what it ran', async () => {
    const client = await open();
    client.socket.write(write.query('select pg_sleep(30)'));
    await client.wait(() => false, 200);
    client.socket.end();
    await eventually('closed', () => client.closed);
    await eventually('the statement was cancelled', async () => (await ask(control, write.query("select count(*) from pg_stat_activity where query like 'select pg_sleep(30)%' and state = 'active'"))).some(({ type, body }) => type === 'D' && body.subarray(6).toString() === '0'));
  });

  test('200 silent peers of one address, at every stage of a login, do not delay others', async () => {
    const silent: Socket[] = [];
    for (let n = 0; n < 200; n++) silent.push(stallAt(n % 5));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const times: number[] = [];
    for (let n = 0; n < 100; n++) times.push(await timeToAccept());
    const client = await open();
    expect(kinds(await ask(client, write.query('select 1')))).toBe('TDCZ');
    for (const socket of silent) socket.destroy();
    const p99 = times.toSorted((a, b) => a - b)[98] ?? Number.POSITIVE_INFINITY;
    expect(p99).toBeLessThan(100);
  }, 30_000);
});

describe('CancelRequests', () => {
  test('a wrong key does nothing, and more than ten a second from one address are not looked at', async () => {
    const client = await open();
    client.socket.write(write.query('select pg_sleep(1.5)'));
    await client.wait(() => false, 200);
    const { pid, key } = keyOf(client);
    await Promise.all(Array.from({ length: 20 }, (_, n) => sendCancel(pid, Buffer.from([n, 1, 2, 3]), '127.0.0.7')));
    await sendCancel(pid, key, '127.0.0.7');
    await client.wait(() => false, 200);
    expect(client.frames.some(({ type }) => type === 'E')).toBe(false);
    await sendCancel(pid, key, '127.0.0.8');
    await client.wait((frames) => frames.some(({ type }) => type === 'E'), 3_000);
    expect(lastError(client.frames)).toMatchObject({ C: '57014' });
  }, 15_000);
});

async function open(): Promise<ByteClient> {
  const client = await openByteClient({ port: world.port, ca: world.ca, user: 'me', database: 'postgres', password: await world.token('engineer') });
  opened.push(client);
  return client;
}

/** Sends, and waits for so many ReadyForQuery, for CopyInResponse, or the end. */
async function ask(client: ByteClient, bytes: Buffer, ready = 1, limitMs = 10_000): Promise<readonly Frame[]> {
  const from = client.frames.length;
  client.socket.write(bytes);
  let seen = from;
  let count = 0;
  const done = await client.wait((frames) => {
    for (; seen < frames.length; seen++) if (frames[seen]?.type === 'Z' || frames[seen]?.type === 'G') count++;
    return count >= Math.max(1, ready);
  }, limitMs);
  if (!done) throw new Error(`${count} of ${ready} answers`);
  return client.frames.slice(from);
}

/** A session whose DELETE is held. */
async function hold(): Promise<ByteClient> {
  const client = await open();
  client.socket.write(write.query('delete from kept'));
  await client.wait((frames) => frames.some(({ type, body }) => type === 'N' && readFields(body).get('C') === 'SP001'), 5_000);
  return client;
}

function keyOf(client: ByteClient): { readonly pid: number; readonly key: Buffer } {
  const body = client.frames.find(({ type }) => type === 'K')?.body ?? Buffer.alloc(8);
  return { pid: body.readInt32BE(0), key: body.subarray(4) };
}

async function cancel(client: ByteClient): Promise<void> {
  const { pid, key } = keyOf(client);
  // An address of its own each time: the limit is ten a second from one.
  await sendCancel(pid, key, `127.0.1.${1 + (cancels++ % 200)}`);
}

let cancels = 0;

function sendCancel(pid: number, key: Buffer, localAddress: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: world.port, localAddress }, () => socket.write(write.cancelRequest(pid, key)));
    socket.on('error', () => undefined);
    socket.resume();
    socket.once('close', () => resolve());
  });
}

/** Writes until nothing was taken for half a second, or 64 MiB were. */
async function sendUntilStuck(socket: Socket, bytes: Buffer): Promise<void> {
  for (let sent = 0; sent < 64 * mebibyte; sent += bytes.length) {
    if (socket.write(bytes)) continue;
    const drained = await Promise.race([new Promise<boolean>((resolve) => socket.once('drain', () => resolve(true))), new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 500))]);
    if (!drained) return;
  }
}

/** A peer that says so much and then nothing: nothing, half a packet, SSLRequest, TLS, StartupMessage without a password. */
function stallAt(stage: number): Socket {
  const socket = connect({ host: '127.0.0.1', port: world.port, localAddress: '127.0.0.9' });
  socket.on('error', () => undefined);
  if (stage === 1) socket.write(write.sslRequest().subarray(0, 5));
  if (stage >= 2) socket.write(write.sslRequest());
  if (stage >= 3) {
    socket.once('data', () => {
      const secure = connectTls({ socket, ca: world.ca, servername: 'localhost' });
      secure.on('error', () => undefined);
      if (stage === 4) secure.once('secureConnect', () => secure.write(write.startupMessage(0, [['user', 'me'], ['database', 'postgres']])));
    });
  }
  return socket;
}

/** From connect to the answer to SSLRequest. */
async function timeToAccept(): Promise<number> {
  const started = performance.now();
  const socket = connect({ host: '127.0.0.1', port: world.port });
  socket.write(write.sslRequest());
  await new Promise<void>((resolve, reject) => {
    socket.once('data', () => resolve());
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed')));
  });
  socket.destroy();
  return performance.now() - started;
}

function kinds(frames: readonly Frame[]): string {
  return frames.map(({ type }) => type).join('').replaceAll('S', '');
}

function lastError(frames: readonly Frame[]): Readonly<Record<string, string>> {
  const error = frames.findLast(({ type }) => type === 'E');
  return error ? Object.fromEntries(readFields(error.body)) : {};
}
