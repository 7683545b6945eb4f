import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { allowAll, aSession, backend, describeFrames, FakeApprover, FakeInspector, FakeRecorder, settled, silentLog } from '../../../tools/testkit/relay-context.ts';
import { type FakeClock, fakeClock } from '../../../tools/testkit/fake-clock.ts';
import type { ShortPolicy } from '../../../tools/testkit/policies.ts';
import { deny, type SallyportError } from '../../core/errors.ts';
import { EqualityBudget } from '../../core/session/equality-budget.ts';
import type { Session } from '../../core/session/session.ts';
import { createTally } from '../../core/session/tally.ts';
import * as write from '../wire/frame-writer.ts';
import type { RelayLimits } from './context.ts';
import { relay } from './relay.ts';

/** The side of a socket that the relay sees. `accepts` false: its buffer is full. */
class FakeSocket extends EventEmitter {
  readonly written: Buffer[] = [];
  destroyed = false;
  writable = true;
  paused = false;
  accepts = true;
  writableLength = 0;

  write(bytes: Buffer): boolean {
    this.written.push(Buffer.from(bytes));
    return this.accepts;
  }

  end(bytes?: Buffer): void {
    if (bytes) this.written.push(bytes);
    this.writable = false;
  }

  destroy(): void {
    this.destroyed = true;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  take(side: 'client' | 'server'): readonly string[] {
    return describeFrames(Buffer.concat(this.written.splice(0)), side);
  }
}

let client: FakeSocket;
let upstream: FakeSocket;
let recorder: FakeRecorder;
let inspector: FakeInspector;
let approver: FakeApprover;
let clock: FakeClock;
let session: Session;
let cancel: () => void;
let cancels: { count: number; taken: () => void };
let ended: ReturnType<typeof relay>;

interface Options {
  readonly policy?: ShortPolicy;
  readonly durability?: 'Write' | 'Fsync';
  readonly limits?: Partial<RelayLimits>;
  readonly clientLeftover?: Buffer;
  readonly upstreamLeftover?: Buffer;
}

function start(options: Options = {}): void {
  [client, upstream, inspector, approver, clock] = [new FakeSocket(), new FakeSocket(), new FakeInspector(), new FakeApprover(), fakeClock()];
  recorder = new FakeRecorder(options.durability ?? 'Write');
  session = aSession({ oncall: options.policy ?? allowAll }, clock);
  cancels = { count: 0, taken: () => undefined };
  ended = relay({
    client: client as unknown as Socket, clientLeftover: options.clientLeftover ?? Buffer.alloc(0), upstream: upstream as unknown as Socket, upstreamLeftover: options.upstreamLeftover ?? Buffer.alloc(0),
    session, recorder, inspector, approver, clock, log: silentLog, digestKey: new Uint8Array(32), equalities: new EqualityBudget(), tally: createTally(), ...(options.limits ? { limits: options.limits } : {}),
    cancelUpstream: () => {
      cancels.count++;
      return new Promise((resolve) => { cancels.taken = resolve; });
    },
    onCancelReady: (ready) => { cancel = ready; },
  });
}

beforeEach(() => start());

const fromClient = (...frames: readonly Buffer[]): boolean => client.emit('data', Buffer.concat(frames));
const fromServer = (...frames: readonly Buffer[]): boolean => upstream.emit('data', Buffer.concat(frames));
const asking: ShortPolicy = { rules: [{ name: 'all', action: 'Allow' }, { name: 'deletes', action: 'RequireApproval', statements: ['Delete'], approval: { groups: ['dba'] } }] };

describe('no byte of a statement leaves before its intent is on record', () => {
  test('Write: the record is made first, in the same turn', () => {
    const order: string[] = [];
    const { recordIntents } = recorder;
    recorder.recordIntents = (intents) => { order.push('record'); return recordIntents.call(recorder, intents); };
    upstream.write = () => { order.push('write'); return true; };
    fromClient(write.query('select 1'), write.query('select 2'));
    expect(order).toEqual(['record', 'write']);
  });

  test('Fsync: nothing goes until the disk has it, and what follows keeps its place', async () => {
    start({ durability: 'Fsync' });
    fromClient(write.query('select 1'));
    fromClient(write.sync());
    await settled();
    expect(upstream.take('server')).toEqual([]);
    recorder.written();
    await settled();
    expect(upstream.take('server')).toEqual(['Q select 1', 'S']);
  });

  test.each([['Write', 'RECORDER_FAILED'], ['Write', 'STORAGE_FULL'], ['Fsync', 'STORAGE_FULL']] as const)('%s: when it cannot be made (%s) nothing goes, and the session ends', async (durability, failure) => {
    start({ durability });
    recorder.failure = failure;
    fromClient(write.query('delete from t'));
    recorder.written();
    expect(await ended).toMatchObject({ end: { reason: 'RecorderFailed', denial: { code: failure } } });
    cancels.taken();
    await settled();
    expect([upstream.take('server'), client.take('client').map((line) => line.slice(0, 7))]).toEqual([['X'], [failure === 'STORAGE_FULL' ? 'E 53100' : 'E 58030']]);
  });

  test('a refusal that cannot be recorded ends the session, too', async () => {
    start({ policy: { rules: [{ name: 'reads', action: 'Allow', statements: ['Select'] }] } });
    recorder.failure = 'RECORDER_FAILED';
    fromClient(write.query('delete from t'));
    expect(await ended).toMatchObject({ end: { reason: 'RecorderFailed' } });
  });

  test('rows that cannot be recorded do not leave', async () => {
    fromClient(write.query('select 1'));
    recorder.failure = 'STORAGE_FULL';
    fromServer(backend.rowDescription('a'), backend.row('secret'));
    expect(await ended).toMatchObject({ end: { reason: 'RecorderFailed' } });
    expect(client.take('client')).toEqual(['E 53100 the gateway has no space left to record sessions [STORAGE_FULL]']);
  });

  test('nothing that came behind the frame which ended the session is recorded or sent', async () => {
    fromClient(write.query('select 1'), write.frame('d', Buffer.alloc(1)), write.frame('B', Buffer.from('broken')), write.query('select 2'));
    expect(await ended).toMatchObject({ end: { reason: 'ProtocolViolation' } });
    cancels.taken();
    await settled();
    expect([recorder.intents, upstream.take('server')]).toEqual([[], ['X']]);
  });
});

describe('bytes', () => {
  test('come in any pieces, and what was read with the login counts', () => {
    start({ clientLeftover: write.query('select 0'), upstreamLeftover: backend.notice('hello') });
    expect([upstream.take('server'), client.take('client')]).toEqual([['Q select 0'], ['N 00000 hello']]);
    fromServer(backend.complete('SELECT 0'), backend.ready());
    client.take('client');
    for (const byte of write.query('select 1')) fromClient(Buffer.of(byte));
    for (const byte of Buffer.concat([backend.rowDescription('a'), backend.row('1'), backend.complete('SELECT 1'), backend.ready()])) fromServer(Buffer.of(byte));
    expect([upstream.take('server'), client.take('client')]).toEqual([['Q select 1'], ['T 1', 'D 1', 'C SELECT 1', 'Z I']]);
  });

  test('of one chunk leave as one write', () => {
    fromClient(write.query('select 1'), write.query('select 2'));
    fromServer(backend.rowDescription('a'), backend.row('1'), backend.complete('SELECT 1'), backend.ready());
    expect([upstream.written.length, client.written.length]).toEqual([1, 1]);
  });

  test('wait on the other side while one takes no more', () => {
    upstream.accepts = false;
    fromClient(write.query('select 1'));
    expect(client.paused).toBe(true);
    upstream.emit('drain');
    expect(client.paused).toBe(false);
    client.accepts = false;
    fromServer(backend.rowDescription('a'));
    expect(upstream.paused).toBe(true);
    client.emit('drain');
    expect(upstream.paused).toBe(false);
  });

  test('are read ahead while a statement waits, up to a limit, then the client is stopped', async () => {
    start({ policy: asking, limits: { readAheadBytes: 1_000 } });
    fromClient(write.query('delete from t'));
    fromClient(write.query('select 1'));
    expect(client.paused).toBe(false);
    fromClient(Buffer.concat([write.query('x'.repeat(1_000))]));
    expect(client.paused).toBe(true);
    await approver.decide('approved');
    await settled();
    expect([client.paused, upstream.take('server').map((line) => line.slice(0, 12))]).toEqual([false, ['Q delete fro', 'Q select 1', 'Q xxxxxxxxxx']]);
  });
});

describe('a cancel', () => {
  test('goes to the server only while something runs there, and nothing overtakes it', async () => {
    cancel();
    expect(cancels.count).toBe(0);
    fromClient(write.query('select pg_sleep(9)'));
    cancel();
    expect(cancels.count).toBe(1);
    upstream.take('server');
    fromServer(backend.error('57014'), backend.ready());
    fromClient(write.query('select 2'));
    await settled();
    expect(upstream.take('server')).toEqual([]);
    cancels.taken();
    await settled();
    expect(upstream.take('server')).toEqual(['Q select 2']);
  });

  test('ends a hold, and nothing reaches the server', async () => {
    start({ policy: asking });
    fromClient(write.query('delete from t'));
    await settled();
    cancel();
    await settled();
    expect([cancels.count, upstream.take('server'), client.take('client').at(-2)]).toEqual([0, [], 'E 57014 canceling held statement due to user request [HOLD_CANCELLED]']);
    expect([approver.withdrawn, recorder.attempts.map(({ event }) => event)]).toEqual([['HOLD_CANCELLED'], ['statement.held', 'statement.cancelled']]);
  });
});

describe('a session ends', () => {
  test.each<[string, () => void, string]>([
    ['the client says so', () => fromClient(write.terminate()), 'ClientClosed'], ['the client is gone', () => client.emit('end'), 'ClientClosed'], ['the client breaks', () => client.emit('error', new Error('reset')), 'ClientClosed'],
    ['the target closes', () => upstream.emit('close'), 'TargetClosed'], ['the target breaks', () => upstream.emit('error', new Error('reset')), 'TargetClosed'],
    ['the client sends what is no message', () => fromClient(write.frame('y')), 'ProtocolViolation'], ['the server does', () => fromServer(write.frame('y')), 'ProtocolViolation'],
    ['it is revoked', () => session.end({ reason: 'Revoked', denial: deny('SESSION_REVOKED') }), 'Revoked'],
    ['the gateway has a bug', () => { inspector.failure = new TypeError('bug') as SallyportError; fromClient(write.query('select 1')); }, 'Failed'],
  ])('when %s: once, told, and the target is left', async (_what, act, reason) => {
    act();
    client.emit('close');
    upstream.emit('end');
    expect((await ended).end.reason).toBe(reason);
    expect([client.writable, upstream.writable]).toEqual([false, false]);
    const told = client.take('client');
    expect(told.length).toBe(reason === 'ClientClosed' ? 0 : 1);
  });

  test('with a running statement only after its cancel, and its outcome is recorded as unknown', async () => {
    fromClient(write.query('select pg_sleep(9)'));
    session.end({ reason: 'Expired', denial: deny('SESSION_EXPIRED') });
    expect([cancels.count, upstream.writable]).toEqual([1, true]);
    cancels.taken();
    await settled();
    expect([upstream.writable, recorder.results.map(({ outcome }) => outcome)]).toEqual([false, ['Unknown']]);
  });

  test('with its hold: the request is withdrawn, the record closed before the session’s', async () => {
    start({ policy: asking });
    fromClient(write.query('delete from t'));
    await settled();
    client.emit('end');
    await ended;
    expect([approver.withdrawn, recorder.attempts.map(({ event, code }) => [event, code]), upstream.take('server')]).toEqual([['CONNECTION_LOST'], [['statement.held', null], ['statement.cancelled', 'CONNECTION_LOST']], ['X']]);
  });

  test('in the middle of a row without a message, since the client would take it for the row’s bytes', async () => {
    fromClient(write.query('select 1'));
    fromServer(backend.rowDescription('a'));
    const row = backend.row('x'.repeat(100_000));
    fromServer(row.subarray(0, 50_000));
    client.written.length = 0;
    session.end({ reason: 'Revoked', denial: deny('SESSION_REVOKED') });
    await settled();
    expect(client.written).toEqual([]);
  });

  test('with what it counted', async () => {
    fromClient(write.query('select 1'));
    fromServer(backend.rowDescription('a'), backend.row('1'), backend.complete('SELECT 1'), backend.ready());
    fromClient(write.terminate());
    expect((await ended).totals).toMatchObject({ rows: 1, denied: 0 });
  });
});

describe('what a session is doing', () => {
  test('is nothing, running, or held; activity of either side counts', async () => {
    start({ policy: asking });
    expect([session.isBusy(), session.isHeld()]).toEqual([false, false]);
    clock.advance(1_000);
    fromClient(write.query('select 1'));
    expect([session.isBusy(), session.lastActivityMs]).toEqual([true, 1_000]);
    clock.advance(500);
    fromServer(backend.complete('SELECT 1'), backend.ready());
    expect([session.isBusy(), session.lastActivityMs]).toEqual([false, 1_500]);
    fromClient(write.query('delete from t'));
    await settled();
    expect([session.isBusy(), session.isHeld()]).toEqual([true, true]);
    clock.advance(9_000);
    await approver.decide('denied');
    expect([session.isHeld(), session.lastActivityMs]).toEqual([false, 10_500]);
  });

  test('may be nothing in the middle of a transaction: explicit, failed, or implicit because of what was not synced yet', async () => {
    const states: boolean[] = [];
    const note = (): void => void states.push(session.isBusy(), session.isInTransaction());
    fromClient(write.query('begin'));
    await settled();
    fromServer(backend.complete('BEGIN'), backend.ready('T'));
    note();
    fromClient(write.query('select 1'));
    await settled();
    fromServer(backend.complete('SELECT 1'), backend.ready('E'));
    note();
    fromClient(write.query('rollback'));
    await settled();
    fromServer(backend.complete('ROLLBACK'), backend.ready('I'));
    note();
    fromClient(write.parse('s', 'select 1'), write.flush());
    await settled();
    fromServer(backend.parseComplete);
    expect([...states, session.isInTransaction()]).toEqual([false, true, false, true, false, false, true]);
  });

  test('a notice of ours waits for the end of the row that is passing', () => {
    fromClient(write.query('select 1'));
    fromServer(backend.rowDescription('a'));
    client.take('client');
    const row = backend.row('x'.repeat(100_000));
    fromServer(row.subarray(0, 50_000));
    session.warn('this session ends in 5 minutes');
    fromServer(row.subarray(50_000));
    expect(client.take('client').map((line) => line.slice(0, 7))).toEqual(['D xxxxx', 'N SP004']);
  });

  test('masking that begins later assembles rows from then on', () => {
    inspector.masked = true;
    fromClient(write.query('select 1'));
    fromServer(backend.rowDescription('a'));
    client.take('client');
    const row = backend.row('x'.repeat(100_000));
    fromServer(row.subarray(0, 50_000));
    expect(client.written).toEqual([]);
    fromServer(row.subarray(50_000));
    expect(client.take('client')).toHaveLength(1);
  });
});
