import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { RuntimeClock } from '../../runtime/clock.ts';
import type { KubeClient, KubeObject } from '../../runtime/kube/kube-client.ts';
import { createObject } from '../../runtime/kube/verbs.ts';
import { type FakeApi, fakeApiServer } from '../../tools/testkit/fake-api-server.ts';
import { type FakeClock, fakeClock } from '../../tools/testkit/fake-clock.ts';
import { pass, settle } from '../../tools/testkit/settle.ts';
import { kinds } from './kinds.ts';
import { writesOnlyAsLeader } from './leader-client.ts';
import { type Election, leaseTimes, startElection } from './lease.ts';

interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly leaseTransitions?: number;
}

/** A process: it can be stopped and continued, its wall clock set, its network cut. */
interface Process {
  readonly identity: string;
  readonly election: Election;
  readonly client: KubeClient;
  isPaused: boolean;
  skewMs: number;
  isCut: boolean;
  elected: number;
  lost: number;
}

function start(api: FakeApi, time: FakeClock, identity: string): Process {
  const waiting: (() => void)[] = [];
  const process = { identity, isCut: false, skewMs: 0, elected: 0, lost: 0 } as unknown as { -readonly [Key in keyof Process]: Process[Key] };
  let isPaused = false;
  const whenRunning = (act: () => void): void => {
    if (isPaused) waiting.push(act);
    else act();
  };
  Object.defineProperty(process, 'isPaused', { get: () => isPaused, set(value: boolean) {
    isPaused = value;
    if (!value) for (const act of waiting.splice(0)) act();
  } });
  // Monotonic time passes while a process is stopped; its timers and answers wait.
  const clock: RuntimeClock = { now: () => time.now() + process.skewMs, monotonicMs: () => time.monotonicMs() + 77_777, after: (delayMs, fire) => time.after(delayMs, () => whenRunning(fire)) };
  const inner = api.client(identity);
  process.client = {
    ...inner,
    async request(request) {
      const result = await inner.request(request).then((value) => ({ value }), (error: unknown) => ({ error }));
      await new Promise<void>((resolve) => whenRunning(resolve));
      if ('error' in result) throw result.error;
      return result.value;
    },
  };
  process.election = startElection({
    client: process.client, namespace: 'sys', name: 'operator', identity, clock, random: () => 0.5, onElected: () => void process.elected++, onLost: () => void process.lost++,
  });
  return process;
}

function scene() {
  const clock = fakeClock();
  const api = fakeApiServer({ clock });
  return { clock, api, start: (identity: string) => start(api, clock, identity), spec: () => api.get(kinds.lease, 'sys', 'operator')?.spec as LeaseSpec | undefined };
}

describe('an election', () => {
  test('the first candidate leads at once, the second waits as long as the first renews', async () => {
    const it = scene();
    const a = it.start('a');
    await settle();
    const b = it.start('b');
    await pass(it.clock, 120_000);
    expect([a.election.isLeader(), b.election.isLeader(), it.spec()]).toMatchObject([true, false, { holderIdentity: 'a', leaseDurationSeconds: 15, leaseTransitions: 0 }]);
    await Promise.all([a.election[Symbol.asyncDispose](), b.election[Symbol.asyncDispose]()]);
  });

  test('a Lease that is given back is taken within 3 s', async () => {
    const it = scene();
    const a = it.start('a');
    await settle();
    const b = it.start('b');
    await pass(it.clock, 20_300, 100);
    await a.election[Symbol.asyncDispose]();
    expect([a.election.isLeader(), it.spec()]).toMatchObject([false, { holderIdentity: '', leaseDurationSeconds: 1 }]);
    const fromMs = it.clock.monotonicMs();
    while (!b.election.isLeader()) await pass(it.clock, 100, 100);
    expect(it.clock.monotonicMs() - fromMs).toBeLessThanOrEqual(3_000);
    expect([a.lost, b.elected, it.spec()?.leaseTransitions]).toEqual([0, 1, 1]);
    await b.election[Symbol.asyncDispose]();
  });

  test('a holder that dies is followed 15 to 20 s later', async () => {
    const it = scene();
    const a = it.start('a');
    await settle();
    const b = it.start('b');
    await pass(it.clock, 5_000);
    a.isPaused = true;
    const fromMs = it.clock.monotonicMs();
    while (!b.election.isLeader()) await pass(it.clock, 100, 100);
    expect(it.clock.monotonicMs() - fromMs).toBeGreaterThanOrEqual(12_000);
    expect(it.clock.monotonicMs() - fromMs).toBeLessThanOrEqual(20_000);
    a.isPaused = false;
    await settle();
    expect([a.lost, a.election.isLeader()]).toEqual([1, false]);
    await Promise.all([a.election[Symbol.asyncDispose](), b.election[Symbol.asyncDispose]()]);
    expect(it.spec()?.holderIdentity).toBe('');
  });

  test('a holder that cannot renew stops 10 s after its last renewal began, and says so once', async () => {
    const it = scene();
    const a = it.start('a');
    await pass(it.clock, 4_500, 100);
    it.api.faults.add({ fault: { kind: 'hang' }, times: Number.POSITIVE_INFINITY });
    await pass(it.clock, 9_000, 100);
    expect(a.election.isLeader()).toBe(true);
    await pass(it.clock, 1_500, 100);
    expect([a.election.isLeader(), a.lost]).toEqual([false, 1]);
    await pass(it.clock, 60_000);
    expect(a.lost).toBe(1);
    await a.election[Symbol.asyncDispose]();
  });

  test('one failed renewal costs nothing, also when the server acted and only its answer was lost', async () => {
    const it = scene();
    const a = it.start('a');
    await pass(it.clock, 4_500, 100);
    it.api.faults.add({ fault: { kind: 'reset-after' }, when: (call) => call.verb === 'update' });
    await pass(it.clock, 2_200, 100);
    it.api.faults.add({ fault: { kind: 'status', status: 500 }, when: (call) => call.verb === 'update' });
    await pass(it.clock, 60_000, 100);
    expect([a.election.isLeader(), a.lost, it.spec()?.leaseTransitions]).toEqual([true, 0, 0]);
    await a.election[Symbol.asyncDispose]();
  });

  test('whoever’s Lease is taken by force no longer leads as soon as it sees so', async () => {
    const it = scene();
    const a = it.start('a');
    await settle();
    it.api.put(kinds.lease, { metadata: { name: 'operator', namespace: 'sys' }, spec: { holderIdentity: 'somebody', leaseDurationSeconds: 15 } });
    await pass(it.clock, 2_500, 100);
    expect([a.election.isLeader(), a.lost]).toEqual([false, 1]);
    await a.election[Symbol.asyncDispose]();
    expect(it.spec()?.holderIdentity).toBe('somebody');
  });

  test('a candidate that stands down before it was elected leaves no request and no timer', async () => {
    const it = scene();
    it.api.put(kinds.lease, { metadata: { name: 'operator', namespace: 'sys' }, spec: { holderIdentity: 'other', leaseDurationSeconds: 15 } });
    const a = it.start('a');
    const waiting = a.election.whenLeader();
    await settle();
    await a.election[Symbol.asyncDispose]();
    await expect(waiting).rejects.toMatchObject({ reason: 'Aborted' });
    const before = it.api.calls.length;
    await pass(it.clock, 60_000);
    expect([it.api.calls.length, it.clock.timers]).toEqual([before, 0]);
  });
});

test('two candidates under stops, partitions, lost answers, delays, restarts and clocks that jump by an hour never lead at the same time, and somebody leads again afterwards', async () => {
  const who = fc.constantFrom(0, 1);
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 100, max: 25_000 }) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('pause' as const, 'cut' as const, 'hang' as const), who }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('lost-answer' as const, 'delay' as const, 'error' as const, 'restart' as const), who }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('skew' as const), who, ms: fc.constantFrom(-3_600_000, 3_600_000, 0) }) },
  );
  let handovers = 0;
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
    const it = scene();
    const processes = [it.start('p0-0'), it.start('p1-0')];
    let generation = 0;
    let last: string | null = null;
    const writes: string[] = [];
    let moment = 0;
    const check = async (): Promise<void> => {
      const now = ++moment;
      const leading = processes.filter((process) => process.election.isLeader()).map((process) => process.identity);
      expect(leading.length).toBeLessThanOrEqual(1);
      if (leading[0] !== undefined && leading[0] !== last) {
        handovers += last === null ? 0 : 1;
        last = leading[0];
      }
      // Each running process tries to write all the time, as controllers do; the server sees one writer per moment.
      for (const process of processes) {
        if (process.isPaused) continue;
        const write = createObject(writesOnlyAsLeader(it.api.client(process.identity), process.election), kinds.configMap, 'sys', { metadata: { name: `w${writes.length}`, namespace: 'sys' } }, { dryRun: true });
        void write.then(() => writes.push(`${now} ${process.identity}`), () => {});
      }
      await settle(2);
    };
    const rules = { hang: { kind: 'hang' }, cut: { kind: 'reset' }, 'lost-answer': { kind: 'reset-after' }, delay: { kind: 'slow', delayMs: 3_000 }, error: { kind: 'status', status: 500 } } as const;
    for (const each of steps) {
      const process = processes['who' in each ? each.who : 0];
      if (process === undefined) continue;
      switch (each.do) {
        case 'wait':
          for (let passed = 0; passed < each.ms; passed += 100) {
            it.clock.advance(100);
            await settle(2);
            await check();
          }
          break;
        case 'pause': process.isPaused = !process.isPaused; break;
        case 'cut': case 'hang':
          process.isCut = !process.isCut;
          if (process.isCut) it.api.faults.add({ fault: rules[each.do], when: (call) => process.isCut && call.user === process.identity && call.resource === 'leases', times: Number.POSITIVE_INFINITY });
          break;
        case 'lost-answer': case 'delay': case 'error': it.api.faults.add({ fault: rules[each.do], when: (call) => call.user === process.identity && call.resource === 'leases' }); break;
        case 'skew': process.skewMs = each.ms; break;
        case 'restart':
          if (!process.isPaused) {
            void process.election[Symbol.asyncDispose]();
            await settle(2);
            processes[each.who] = it.start(`p${each.who}-${++generation}`);
          }
          break;
        default: each satisfies never;
      }
      await check();
    }
    const moments = new Map<string, Set<string>>();
    for (const [when = '', identity = ''] of writes.map((line) => line.split(' '))) moments.set(when, (moments.get(when) ?? new Set()).add(identity));
    expect([...moments.values()].every((identities) => identities.size === 1)).toBe(true);
    // Everything is well again: of those that did not lose and exit, or of new ones, one leads.
    it.api.faults.clear();
    for (const [index, process] of processes.entries()) {
      process.isPaused = false;
      process.isCut = false;
      if (process.lost > 0) processes[index] = it.start(`p${index}-end`);
    }
    await pass(it.clock, 60_000, 500);
    for (const [index, process] of processes.entries()) if (process.lost > 0) processes[index] = it.start(`p${index}-end2`);
    await pass(it.clock, 40_000, 500);
    expect(processes.filter((process) => process.election.isLeader())).toHaveLength(1);
    await Promise.all(processes.map((process) => process.election[Symbol.asyncDispose]()));
  }), { numRuns: 120 });
  // Not in vain: leadership did change hands.
  expect(handovers).toBeGreaterThan(10);
}, 120_000);

describe('a client that writes only as leader', () => {
  const config: KubeObject = { metadata: { name: 'a', namespace: 'sys' } };

  test('reads pass, writes of a follower never reach the server', async () => {
    const api = fakeApiServer();
    const client = writesOnlyAsLeader(api.client(), { isLeader: () => false, remainingMs: () => 0 });
    await client.request({ method: 'GET', path: '/api/v1/configmaps' });
    await expect(createObject(client, kinds.configMap, 'sys', config)).rejects.toMatchObject({ reason: 'NotLeader' });
    expect(api.writes()).toEqual([]);
  });

  test('a write is checked again right before it is sent, and given up when leadership ends', async () => {
    const clock = fakeClock();
    const api = fakeApiServer({ clock });
    let asked = 0;
    const fading = writesOnlyAsLeader(api.client(), { isLeader: () => asked++ === 0, remainingMs: () => 5_000 });
    await expect(createObject(fading, kinds.configMap, 'sys', config)).rejects.toMatchObject({ reason: 'NotLeader' });
    expect([asked, api.calls.length]).toEqual([2, 0]);
    api.faults.add({ fault: { kind: 'hang' } });
    const slow = createObject(writesOnlyAsLeader(api.client(), { isLeader: () => true, remainingMs: () => 3_000 }), kinds.configMap, 'sys', config).catch((error: unknown) => error);
    await settle();
    await pass(clock, 3_000, 500);
    expect(await slow).toMatchObject({ reason: 'Timeout' });
  });
});

test('the times are those of client-go', () => {
  expect(leaseTimes).toEqual({ leaseMs: 15_000, renewDeadlineMs: 10_000, retryMs: 2_000, jitter: 1.2 });
});
