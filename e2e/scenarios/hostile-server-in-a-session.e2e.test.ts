import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import * as write from '../../sidecar/postgres/wire/frame-writer.ts';
import { backend } from '../../tools/testkit/relay-context.ts';
import { type ByteClient, openByteClient } from '../fuzz/byte-client.ts';
import { createAuthority } from '../hosts/certificates.ts';
import { allowEverything, startWorld, type World } from '../hosts/gateway.ts';
import { eventually, highest, residentBytes } from '../hosts/gateway-process.ts';
import { flood, type Hostility, startManInTheMiddle } from '../hosts/man-in-the-middle.ts';
import { type PostgresHost, startPostgres } from '../hosts/postgres.ts';
import { type Frame, readFields } from '../leaks/raw-client.ts';

// A target that logs in as PostgreSQL does and then breaks the protocol: the client gets one FATAL, both connections close, the session's record ends.
const policies = `${allowEverything}---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: masked}
spec:
  subjects: [{kind: Group, name: ci}]
  targets: {names: [db]}
  rules: [{name: all, action: Allow, postgres: {statements: [Select, Insert]}}]
  masking: [{columns: [public.people.ssn], style: Redact}, {detectors: [us-ssn], style: Redact}]
`;
const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const header = (type: string, length: number): Buffer => Buffer.concat([Buffer.from(type), int32(length)]);
const rowWith = (count: number, ...cells: readonly Buffer[]): Buffer => write.frame('D', Buffer.from([count >> 8, count & 255]), ...cells);
const says = (...frames: readonly Buffer[]): Hostility => (socket) => { socket.write(Buffer.concat(frames)); };
const selected = [backend.rowDescription('a'), backend.row('1')];
const megabyte = Buffer.alloc(1_048_576, 'x');
const gigabyteRow = 0x3fffffff;
/** Far from 1 GB; above nothing, because chunks that were dropped are not collected at once. */
const boundedBytes = 160 * 1_048_576;

/** A frame whose body comes in megabytes. */
const longFrame = (type: string, prefix: Buffer, length: number, ...then: readonly Buffer[]): Hostility => (socket) => {
  socket.write(Buffer.concat([...(type === 'D' ? [backend.rowDescription('a')] : []), header(type, length), prefix]));
  const body = length - 4 - prefix.length;
  flood(socket, megabyte, body - (body % megabyte.length), () => {
    socket.write(Buffer.alloc(body % megabyte.length, 'x'));
    socket.write(Buffer.concat(then));
  });
};

const hostilities: Readonly<Record<string, Hostility>> = {
  'row-before-description': says(backend.row('1')),
  'too-many-fields': says(backend.rowDescription('a'), backend.row('1', '2')),
  'too-few-fields': says(backend.rowDescription('a', 'b'), backend.row('1')),
  'row-without-count': says(backend.rowDescription('a'), write.frame('D')),
  'negative-field-count': says(backend.rowDescription('a'), rowWith(65_535)),
  'length-0': says(header('D', 0)), 'length-3': says(header('C', 3)), 'length-over-cap': says(header('C', 30_001)), 'length-2-31': says(header('D', 0x80000000)), 'length-2-32-1': says(header('E', 0xffffffff)),
  'ready-twice': says(...selected, backend.complete('SELECT 1'), backend.ready(), backend.ready()),
  'ready-too-early': says(backend.ready()),
  'ready-with-another-letter': says(...selected, backend.complete('SELECT 1'), write.frame('Z', Buffer.from('X'))),
  'unknown-type': says(write.frame('q', Buffer.from('?'))),
  'answer-to-nothing': says(...selected, backend.complete('SELECT 1'), backend.ready(), backend.rowDescription('a')),
  'parse-complete-to-a-query': says(backend.parseComplete),
  'login-again': says(write.authenticationOk()),
  'key-again': says(write.backendKeyData(7, Buffer.alloc(4))),
  'copy-in-to-a-select': says(backend.copyIn()), 'copy-out-to-a-select': says(backend.copyOut()), 'copy-both': says(write.frame('W', Buffer.alloc(3))), 'copy-data-without-copy': says(backend.copyData('x')),
  'unknown-command-tag': says(...selected, backend.complete('value 123-45-6789')),
  'error-unterminated': says(write.frame('E', Buffer.from('SERROR\0C42601\0Mno'))),
  'error-without-end': says(write.frame('E', Buffer.from('SERROR\0C42601\0Mno\0'))),
  'notice-unterminated': says(write.frame('N', Buffer.from('SNOTICE'))),
  'description-too-short': says(write.frame('T', Buffer.from([0, 3]))),
  'function-result-to-a-query': says(write.frame('V', int32(0xffffffff))),
  'encoding-changes': says(write.parameterStatus('client_encoding', 'SJIS')),
  'strings-change': says(write.parameterStatus('standard_conforming_strings', 'off')),
  'error-without-sqlstate': says(write.frame('E', Buffer.from('SERROR\0Mno\0\0')), backend.ready()),
  'fatal-mid-stream': says(...selected, backend.error('57P01', 'terminating connection', 'FATAL')),
  'close-mid-frame': (socket) => { socket.end(Buffer.concat([...selected, header('D', 100), Buffer.alloc(20)])); },
  'close-between-frames': (socket) => { socket.end(Buffer.concat(selected)); },
  'endless-notices': (socket) => flood(socket, Buffer.concat(Array.from({ length: 100 }, () => backend.notice('n'.repeat(1_000)))), 1e12),
  'endless-parameters': (socket) => flood(socket, Buffer.concat(Array.from({ length: 1_000 }, () => write.parameterStatus('TimeZone', 'UTC'))), 1e12),
  'endless-rows': (socket) => {
    socket.write(backend.rowDescription('a'));
    flood(socket, Buffer.concat(Array.from({ length: 1_000 }, () => backend.row('x'.repeat(100)))), 1e12);
  },
  'gigabyte-row': longFrame('D', Buffer.concat([Buffer.from([0, 1]), int32(gigabyteRow - 10)]), gigabyteRow, backend.complete('SELECT 1'), backend.ready()),
  'gigabyte-error': longFrame('E', Buffer.from('SERROR\0C42601\0M'), gigabyteRow, backend.ready()),
  'description-where-none-belongs': says(backend.rowDescription('a'), backend.row('123456789'), backend.complete('INSERT 0 1'), backend.ready()),
};

let postgres: PostgresHost;
let world: World;
let middle: Awaited<ReturnType<typeof startManInTheMiddle>>;
const clients: ByteClient[] = [];

beforeAll(async () => {
  const authority = await createAuthority();
  postgres = await startPostgres({ tls: await authority.issue({ commonName: 'db', ips: ['127.0.0.1'] }) });
  middle = await startManInTheMiddle(postgres.port, hostilities);
  world = await startWorld({ policies, sharedPostgres: { ...postgres, port: middle.port }, targetTls: '{mode: Disable}' });
  await run(await open(), write.query('create table people (name text, ssn text)'));
}, 60_000);

afterEach(() => {
  for (const client of clients.splice(0)) client.destroy();
});

afterAll(async () => {
  await world[Symbol.asyncDispose]();
  middle.close();
  await postgres.stop();
}, 60_000);

describe('a target that breaks the protocol ends the session', () => {
  test.each([
    'row-before-description', 'too-many-fields', 'too-few-fields', 'row-without-count', 'negative-field-count', 'length-0', 'length-3', 'length-over-cap', 'length-2-31', 'length-2-32-1', 'ready-twice', 'ready-too-early',
    'ready-with-another-letter', 'unknown-type', 'answer-to-nothing', 'parse-complete-to-a-query', 'login-again', 'key-again', 'copy-in-to-a-select', 'copy-out-to-a-select', 'copy-both', 'copy-data-without-copy', 'unknown-command-tag',
    'error-unterminated', 'error-without-end', 'notice-unterminated', 'description-too-short', 'function-result-to-a-query',
  ])('%s: FATAL 08P01, both closed, recorded', async (name) => {
    const [client, ended] = [await open(), recordsEnded('ProtocolViolation', 'TARGET_PROTOCOL_VIOLATION')];
    const frames = await run(client, write.query(`select 1 -- hostile:${name}`));
    expect(last(frames, 'E')).toMatchObject({ S: 'FATAL', C: '08P01', M: expect.stringContaining('[TARGET_PROTOCOL_VIOLATION]') });
    await eventually('the client’s connection is closed', () => client.closed);
    await eventually('the target’s connection is closed', () => middle.hostile() === 0);
    await eventually('the record has ended', () => recordsEnded('ProtocolViolation', 'TARGET_PROTOCOL_VIOLATION') === ended + 1);
  });

  test.each([['encoding-changes', 'ENCODING_REFUSED'], ['strings-change', 'SETTING_REFUSED']])('%s: the parser would read texts unlike the server, so the session ends', async (name, code) => {
    const client = await open();
    const frames = await run(client, write.query(`select 1 -- hostile:${name}`));
    expect(last(frames, 'E')).toMatchObject({ S: 'FATAL', M: expect.stringContaining(`[${code}]`) });
    await eventually('the target’s connection is closed', () => client.closed && middle.hostile() === 0);
  });

  test('a FATAL in the middle of rows is passed on, and both close', async () => {
    const client = await open();
    expect((await run(client, write.query('select 1 -- hostile:fatal-mid-stream'))).map(({ type }) => type)).toEqual(['T', 'D', 'E', 'E']);
    expect(readFields(client.frames.at(-2)?.body ?? Buffer.alloc(0)).get('C')).toBe('57P01');
    await eventually('closed', () => client.closed && middle.hostile() === 0);
  });

  test.each(['close-mid-frame', 'close-between-frames'])('%s: the client is told that the connection was lost', async (name) => {
    const client = await open();
    const frames = await run(client, write.query(`select 1 -- hostile:${name}`));
    expect(last(frames, 'E')).toMatchObject({ S: 'FATAL', C: '08000', M: expect.stringContaining('[CONNECTION_LOST]') });
    await eventually('closed', () => client.closed && middle.hostile() === 0);
  });
});

describe('a target that is odd but within the protocol is borne', () => {
  test('an error without an SQLSTATE is an error', async () => {
    const frames = await run(await open(), write.query('select 1 -- hostile:error-without-sqlstate'));
    expect(frames.map(({ type }) => type)).toEqual(['E', 'Z']);
  });

  test('an error of 1 GB is replaced by a text of ours', async () => {
    const client = await open();
    const before = residentBytes(world);
    const peak = await highest(() => residentBytes(world), run(client, write.query('select 1 -- hostile:gigabyte-error')));
    expect(last(client.frames, 'E')).toMatchObject({ C: 'XX000', M: 'the target sent an error that is too long to be shown' });
    expect(client.closed).toBe(false);
    expect(peak - before).toBeLessThan(boundedBytes);
  }, 30_000);

  test('rows that the statement as it was read does not have are not passed in a masked session', async () => {
    const client = await open('ci-job');
    const frames = await run(client, write.query("insert into people values ('hostile:description-where-none-belongs', 'x')"));
    expect(frames.map(({ type }) => type)).toEqual(['E', 'Z']);
    expect(last(frames, 'E')).toMatchObject({ C: '42501', M: expect.stringContaining('[MASKING_UNPROVEN]') });
  });
});

describe('a target that floods costs no memory', () => {
  test.each(['endless-notices', 'endless-parameters', 'endless-rows'])('%s to a client that reads nothing', async (name) => {
    const client = await open();
    const before = residentBytes(world);
    client.socket.pause();
    client.socket.write(write.query(`select 1 -- hostile:${name}`));
    const peak = await highest(() => residentBytes(world), new Promise((resolve) => setTimeout(resolve, 1_500)));
    expect(peak - before).toBeLessThan(boundedBytes);
    client.destroy();
    await eventually('closed', () => middle.hostile() === 0);
  }, 30_000);

  test('a row of 1 GB passes an unmasked session', async () => {
    const client = await open();
    const before = residentBytes(world);
    let received = 0;
    client.socket.removeAllListeners('data');
    const done = new Promise<void>((resolve) => {
      client.socket.on('data', (chunk: Buffer) => {
        received += chunk.length;
        if (received > gigabyteRow) resolve();
      });
    });
    client.socket.write(write.query('select 1 -- hostile:gigabyte-row'));
    const peak = await highest(() => residentBytes(world), done);
    expect(received).toBeGreaterThan(gigabyteRow);
    expect(peak - before).toBeLessThan(boundedBytes);
  }, 60_000);

  test('a row of 1 GB is not assembled in a masked session: 54000, and the session goes on', async () => {
    const client = await open('ci-job');
    const before = residentBytes(world);
    const peak = await highest(() => residentBytes(world), run(client, write.query('select 1 -- hostile:gigabyte-row'), 30_000));
    expect(last(client.frames, 'E')).toMatchObject({ S: 'ERROR', C: '54000', M: expect.stringContaining('[MASKED_ROW_TOO_LONG]') });
    expect({ closed: client.closed, ready: client.frames.at(-1)?.type }).toEqual({ closed: false, ready: 'Z' });
    expect(peak - before).toBeLessThan(boundedBytes);
  }, 60_000);
});

async function open(who: 'engineer' | 'ci-job' = 'engineer'): Promise<ByteClient> {
  const client = await openByteClient({ port: world.port, ca: world.ca, user: 'me', database: 'postgres', password: await world.token(who) });
  clients.push(client);
  return client;
}

/** Sends, and waits for ReadyForQuery or the end; what came. */
async function run(client: ByteClient, bytes: Buffer, limitMs = 10_000): Promise<readonly Frame[]> {
  const from = client.frames.length;
  client.socket.write(bytes);
  const done = await client.wait((frames) => frames.slice(from).some(({ type }) => type === 'Z') && frames.at(-1)?.type !== 'D', limitMs);
  if (!done) throw new Error('neither answered nor closed');
  // What follows ReadyForQuery in the same breath belongs to the answer.
  await client.wait(() => false, 150);
  return client.frames.slice(from);
}

function last(frames: readonly Frame[], type: string): Readonly<Record<string, string>> {
  const found = frames.findLast((frame) => frame.type === type);
  return found ? Object.fromEntries(readFields(found.body)) : {};
}

/** Sessions whose record has ended so, by the gateway's log. */
function recordsEnded(reason: string, code: string): number {
  return world.gateway.stderr().split('\n').filter((line) => line.includes('"session closed"') && line.includes(`"reason":"${reason}"`) && line.includes(`"code":"${code}"`)).length;
}
