import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { KubeRequest } from '../../../runtime/kube/kube-client.ts';
import { aLog, settle } from '../../../tools/testkit/cluster-config.ts';
import { type FakeClock, fakeClock } from '../../../tools/testkit/fake-clock.ts';
import { refused, type ScriptedClient, scriptedClient } from '../../../tools/testkit/scripted-client.ts';
import { type Acks, startAcks } from './ack.ts';
import type { AckEntry } from './ack-entry.ts';
import type { StoredAck } from './read-proxy-config.ts';

let clock: FakeClock;
let client: ScriptedClient;
let desired: AckEntry | null;
let stored: StoredAck | null;
let acks: Acks;
let failing: Error | null;

const entry = (revision: number): AckEntry => ({ pod: 'pod-a', podUID: 'u', revision, hash: 'h', state: 'Applied' });
const written = (): unknown[] => client.requests.flatMap(({ body }) => (body as { status: { proxies: { revision: number }[] } }).status.proxies.map(({ revision }) => revision));

beforeEach(() => {
  clock = fakeClock();
  client = scriptedClient();
  [desired, stored, failing] = [null, null, null];
  client.answer((request: KubeRequest) => {
    if (failing) throw failing;
    return request.body;
  });
  acks = startAcks({ client, namespace: 'payments', pod: 'pod-a', desired: () => desired, stored: () => stored, clock, random: () => 1, log: aLog() });
});
afterEach(async () => acks[Symbol.asyncDispose]());

describe('an acknowledgement is written', () => {
  test('as an apply of this pod\'s own entry, and of nothing else', async () => {
    desired = entry(1);
    acks.nudge();
    await settle();
    expect(client.requests).toEqual([expect.objectContaining({
      method: 'PATCH', path: '/apis/sallyport.dev/v1alpha1/namespaces/payments/proxyconfigs/sallyport-proxy/status', contentType: 'application/apply-patch+yaml', query: { fieldManager: 'sallyport-proxy/pod-a', force: 'true' },
      body: { apiVersion: 'sallyport.dev/v1alpha1', kind: 'ProxyConfig', metadata: { name: 'sallyport-proxy', namespace: 'payments' }, status: { proxies: [entry(1)] } },
    })]);
  });

  test('once, however often it is asked for, and again when it changes', async () => {
    desired = entry(1);
    for (let i = 0; i < 5; i++) {
      acks.nudge();
      await settle();
    }
    desired = entry(2);
    acks.nudge();
    await settle();
    expect(written()).toEqual([1, 2]);
  });

  test('not when it stands there already', async () => {
    desired = entry(1);
    stored = { state: 'Applied', hash: 'h', revision: 1, podUID: 'u', pod: 'pod-a' };
    acks.nudge();
    await settle();
    clock.advance(60_000);
    await settle();
    expect(client.requests).toEqual([]);
  });

  test('again when somebody removed it, once what is seen can no longer be older than the write', async () => {
    desired = entry(1);
    acks.nudge();
    await settle();
    stored = null;
    acks.nudge();
    await settle();
    expect(written()).toEqual([1]);
    clock.advance(10_000);
    await settle();
    expect(written()).toEqual([1, 1]);
  });

  test('again and again while the API server refuses, with pauses that grow to 30 s; then what is desired by then', async () => {
    failing = refused(500);
    desired = entry(1);
    acks.nudge();
    for (let ms = 0; ms < 300_000; ms += 250) {
      clock.advance(250);
      await settle();
    }
    expect(client.requests.length).toBeGreaterThan(10);
    expect(client.requests.length).toBeLessThan(20);
    failing = null;
    desired = entry(7);
    clock.advance(30_000);
    await settle();
    expect(written().at(-1)).toBe(7);
  });
});

test('whoever waits for it is told when it is written, or when their time is up', async () => {
  desired = entry(1);
  await acks.written(new AbortController().signal);
  expect(written()).toEqual([1]);
  failing = refused(500);
  desired = entry(2);
  const late = new AbortController();
  const waiting = acks.written(late.signal);
  late.abort();
  await waiting;
});
