import { describe, expect, test } from '@jest/globals';
import type { KubeClient, KubeKind, KubeObject } from './kube-client.ts';
import { fakeApiServer } from '../../tools/testkit/fake-api-server.ts';
import { fakeClock } from '../../tools/testkit/fake-clock.ts';
import { settle, until } from '../../tools/testkit/settle.ts';
import { testKinds } from '../../tools/testkit/fake-api/route.ts';
import { eventLimits, type EventFacts, startEventRecorder } from './events.ts';

const kind: KubeKind = testKinds.event;
const facts = (change: Partial<EventFacts> = {}): EventFacts => ({
  regarding: { apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', namespace: 'shop', name: 'orders', uid: 'u1' }, type: 'Warning', reason: 'NameConflict', action: 'Reconcile', note: 'a Service of that name exists', ...change,
});

function scene() {
  const clock = fakeClock();
  const api = fakeApiServer({ clock });
  const errors: unknown[] = [];
  const recorder = startEventRecorder({ client: api.client(), clock, controller: 'sallyport.dev/operator', instance: 'operator-0', onError: (error) => void errors.push(error) });
  const idle = (): Promise<void> => until(() => recorder.isIdle, { limit: 50_000 });
  return { clock, api, recorder, errors, idle, events: () => api.list<KubeObject & { series?: { count: number } }>(kind) };
}

describe('recording', () => {
  test('an event has the fields of events.k8s.io/v1, in the namespace of its object', async () => {
    const it = scene();
    it.recorder.record(facts({ note: 'ä'.repeat(2_000), reason: 'R'.repeat(200) }));
    await it.idle();
    const [event] = it.events();
    expect(event).toMatchObject({
      metadata: { namespace: 'shop', name: expect.stringMatching(/^orders\.[0-9a-f]+$/) }, eventTime: '2023-11-14T22:13:20.000000Z', reportingController: 'sallyport.dev/operator', reportingInstance: 'operator-0', type: 'Warning',
      action: 'Reconcile', reason: 'R'.repeat(128), regarding: facts().regarding,
    });
    expect(Buffer.byteLength((event as unknown as { note: string }).note)).toBe(1_024);
  });

  test('an object without a namespace is told of in default', async () => {
    const it = scene();
    it.recorder.record(facts({ regarding: { apiVersion: 'v1', kind: 'IdentityProvider', namespace: '', name: 'corp' } }));
    await it.idle();
    expect(it.events()[0]?.metadata.namespace).toBe('default');
  });

  test('the same again is one series, until 6 minutes passed; something else is another event', async () => {
    const it = scene();
    for (let index = 0; index < 3; index++) it.recorder.record(facts());
    it.recorder.record(facts({ reason: 'Invalid' }));
    await it.idle();
    expect(it.events().map((event) => event.series?.count ?? 1).sort()).toEqual([1, 3]);
    it.clock.advance(eventLimits.seriesMs + 1);
    it.recorder.record(facts());
    await it.idle();
    expect(it.events()).toHaveLength(3);
  });

  test('a series whose event is gone begins anew', async () => {
    const it = scene();
    it.recorder.record(facts());
    await it.idle();
    it.api.remove(kind, 'shop', it.events()[0]?.metadata.name ?? '');
    it.recorder.record(facts());
    await it.idle();
    expect([it.events().length, it.errors]).toEqual([1, []]);
  });

  test('one object causes 25 at once and then one per 5 minutes; others are not held up by it', async () => {
    const it = scene();
    const noisy = (word: string): void => {
      for (let index = 0; index < 40; index++) it.recorder.record(facts({ reason: `${word}${index}` }));
    };
    noisy('A');
    it.recorder.record(facts({ regarding: { ...facts().regarding, name: 'other' } }));
    await it.idle();
    expect([it.events().length, it.recorder.dropped()]).toEqual([26, 15]);
    it.clock.advance(eventLimits.refillMs);
    noisy('B');
    await it.idle();
    expect(it.events()).toHaveLength(27);
  });

  test('a slow API server holds up nobody: 1,000 wait, the oldest is dropped', async () => {
    const it = scene();
    it.api.faults.add({ fault: { kind: 'slow', delayMs: 1_000 } });
    const name = (index: number): string => `t${index}`;
    for (let index = 0; index < 1_101; index++) it.recorder.record(facts({ regarding: { ...facts().regarding, name: name(index) } }));
    // The first one is being sent.
    expect(it.recorder.dropped()).toBe(100);
    await settle();
    it.clock.advance(1_000);
    await it.idle();
    const seen = new Set(it.events().map((event) => event.metadata.name.split('.')[0]));
    expect([seen.size, seen.has(name(0)), seen.has(name(1)), seen.has(name(101)), seen.has(name(1_100))]).toEqual([1_001, true, false, true, true]);
  });

  test('a refused event is told to onError and is not tried again', async () => {
    const it = scene();
    it.api.faults.add({ fault: { kind: 'status', status: 403, reason: 'Forbidden' }, times: Number.POSITIVE_INFINITY });
    it.recorder.record(facts());
    await it.idle();
    it.clock.advance(60_000);
    await settle();
    expect([it.api.calls.length, it.errors.length]).toEqual([1, 1]);
  });

  test('the end waits for what is queued, but not longer than 5 s', async () => {
    const it = scene();
    it.recorder.record(facts());
    await it.recorder[Symbol.asyncDispose]();
    expect(it.events()).toHaveLength(1);
    it.recorder.record(facts({ reason: 'TooLate' }));
    expect(it.events()).toHaveLength(1);

    const stuck = scene();
    stuck.api.faults.add({ fault: { kind: 'hang' }, times: Number.POSITIVE_INFINITY });
    stuck.recorder.record(facts());
    const ended = stuck.recorder[Symbol.asyncDispose]();
    await settle();
    stuck.clock.advance(5_000);
    await ended;
    expect(stuck.clock.timers).toBe(0);
  });

  test('many objects cost bounded memory and stay right', async () => {
    let created = 0;
    const client: KubeClient = { request: () => Promise.resolve(created++), stream: () => { throw new Error('not here'); }, close: () => Promise.resolve() };
    const recorder = startEventRecorder({ client, clock: fakeClock(), controller: 'sallyport.dev/operator', instance: 'operator-0' });
    for (let index = 0; index < eventLimits.subjects + 50; index++) {
      recorder.record(facts({ regarding: { ...facts().regarding, name: `t${index}` } }));
      if (index % 500 === 0) await until(() => recorder.isIdle);
    }
    await until(() => recorder.isIdle);
    expect([recorder.dropped(), created]).toEqual([0, eventLimits.subjects + 50]);
  });
});
