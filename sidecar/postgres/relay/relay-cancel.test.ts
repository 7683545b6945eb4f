import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import { fakeClock } from '../../../tools/testkit/fake-clock.ts';
import { allowAll, aSession, backend, describeFrames, FakeApprover, FakeInspector, FakeRecorder, settled, silentLog } from '../../../tools/testkit/relay-context.ts';
import { EqualityBudget } from '../../core/session/equality-budget.ts';
import { createTally } from '../../core/session/tally.ts';
import type { InspectedQuery } from '../../core/sql/statement-facts.ts';
import * as write from '../wire/frame-writer.ts';
import { relay } from './relay.ts';

/** A whole relay between two streams; `cancel` is what a CancelRequest runs. */
function aRunningRelay(policies: Parameters<typeof aSession>[0] = { oncall: allowAll }) {
  const clock = fakeClock();
  const [inspector, approver, recorder] = [new FakeInspector(), new FakeApprover(), new FakeRecorder()];
  const [client, server] = [aStream(), aStream()];
  const events: string[] = [];
  const delivered = Promise.withResolvers<void>();
  let cancel = (): void => undefined;
  const ended = relay({
    client: client.stream as Socket, clientLeftover: Buffer.alloc(0), upstream: server.stream as Socket, upstreamLeftover: Buffer.alloc(0), session: aSession(policies, clock), recorder, inspector, approver, clock,
    log: silentLog, digestKey: new Uint8Array(32), equalities: new EqualityBudget(), tally: createTally(), onCancelReady: (ready) => { cancel = ready; },
    cancelUpstream: () => {
      events.push(...describeFrames(server.written(), 'server'), 'cancel');
      return delivered.promise;
    },
  });
  return { inspector, approver, recorder, ended, events, delivered: delivered.resolve, cancel: () => cancel(), client, server, toServer: () => describeFrames(server.written(), 'server'), toClient: () => describeFrames(client.written(), 'client') };
}

/** One side of a connection: `say` is what the peer sends, `written` what it was sent. */
function aStream(): { readonly stream: Duplex; say(...frames: readonly Buffer[]): Promise<void>; written(): Buffer } {
  const chunks: Buffer[] = [];
  const stream = new Duplex({ read: () => undefined, write: (chunk: Buffer, _encoding, done) => { chunks.push(chunk); done(); } });
  return {
    stream,
    say: async (...frames) => {
      stream.push(Buffer.concat(frames));
      await new Promise<void>((resolve) => setImmediate(resolve));
      await settled();
    },
    written: () => Buffer.concat(chunks.splice(0)),
  };
}

/** Reading waits until the test says so. */
function slowReading(inspector: FakeInspector): () => Promise<void> {
  const read = Promise.withResolvers<void>();
  const answer = inspector.inspect.bind(inspector);
  inspector.inspect = (text): Promise<InspectedQuery> => read.promise.then(() => answer(text));
  return async () => {
    read.resolve();
    await settled();
  };
}

describe('a cancel', () => {
  test('of what runs is sent at once, and the next statement waits until it was taken', async () => {
    const bench = aRunningRelay();
    await bench.client.say(write.query('select 1'));
    bench.cancel();
    expect(bench.events).toEqual(['Q select 1', 'cancel']);
    await bench.server.say(backend.error('57014'), backend.ready());
    await bench.client.say(write.query('select 2'));
    expect(bench.toServer()).toEqual([]);
    bench.delivered();
    await settled();
    expect(bench.toServer()).toEqual(['Q select 2']);
  });

  test('while nothing runs does nothing, now and later', async () => {
    const bench = aRunningRelay();
    bench.cancel();
    await bench.client.say(write.query('select 1'));
    expect(bench.events).toEqual([]);
    expect(bench.toServer()).toEqual(['Q select 1']);
  });

  test('while the statement is still being read follows behind it', async () => {
    const bench = aRunningRelay();
    const read = slowReading(bench.inspector);
    await bench.client.say(write.query('select 1'));
    bench.cancel();
    expect(bench.events).toEqual([]);
    await read();
    expect(bench.events).toEqual(['Q select 1', 'cancel']);
  });

  test('while a question of our own is asked leaves that alone and follows the statement', async () => {
    const bench = aRunningRelay();
    bench.inspector.pathUnknown = true;
    await bench.client.say(write.query('select 1'));
    bench.cancel();
    expect(bench.events).toEqual([]);
    bench.toServer();
    await bench.server.say(backend.parseComplete, backend.bindComplete, backend.row('public'), backend.complete('SELECT 1'), backend.closeComplete, backend.closeComplete, backend.ready());
    expect(bench.events).toEqual(['Q select 1', 'cancel']);
  });

  test('while a statement is still being read that will be held ends its hold', async () => {
    const bench = aRunningRelay({ oncall: { rules: [{ name: 'held', action: 'RequireApproval', approval: { groups: ['dba'] } }] } });
    const read = slowReading(bench.inspector);
    await bench.client.say(write.query('select 1'));
    bench.cancel();
    await read();
    await settled();
    expect(bench.toServer()).toEqual([]);
    expect(bench.toClient().filter((line) => !line.startsWith('N'))).toEqual([expect.stringMatching(/^E 57014 /), 'Z I']);
    expect(bench.approver.withdrawn).toEqual(['HOLD_CANCELLED']);
  });

  test('of a held statement ends the hold, and nothing reaches the server', async () => {
    const bench = aRunningRelay({ oncall: { rules: [{ name: 'held', action: 'RequireApproval', approval: { groups: ['dba'] } }] } });
    await bench.client.say(write.query('select 1'));
    bench.cancel();
    await settled();
    expect([bench.toServer(), bench.events]).toEqual([[], []]);
    expect(bench.toClient().at(-1)).toBe('Z I');
  });
});
