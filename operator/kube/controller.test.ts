import { describe, expect, test } from '@jest/globals';
import { KubeError } from '../../runtime/kube/kube-client.ts';
import { createLog } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { fakeClock } from '../../tools/testkit/fake-clock.ts';
import { settle, until } from '../../tools/testkit/settle.ts';
import { type Controller, type ControllerOptions, startController, TerminalError } from './controller.ts';
import { createOperatorMetrics } from './metrics.ts';

function scene(reconcile: ControllerOptions['reconcile'], options: Partial<ControllerOptions> = {}) {
  const clock = fakeClock();
  const { registry } = createMetrics({ process: false });
  const lines: string[] = [];
  const log = createLog({ level: 'debug', now: () => 0, stream: { writableLength: 0, write: (text) => lines.push(text) } });
  const controller = startController({ name: 'test', reconcile, metrics: createOperatorMetrics(registry), log, clock, ...options });
  const value = async (name: string, labels: object = {}): Promise<number> => {
    const found = await registry.getSingleMetric(name)?.get();
    return found?.values.find((each) => Object.entries(labels).every(([key, wanted]) => (each.labels as Record<string, unknown>)[key] === wanted))?.value ?? 0;
  };
  return { clock, registry, lines, controller, value };
}

async function quiet(controller: Controller): Promise<void> {
  await until(() => controller.queue.isIdle);
}

describe('a controller', () => {
  test('1,000 events about a key cost at most two reconciles, never at the same time', async () => {
    let running = 0;
    let most = 0;
    let runs = 0;
    const it = scene(async () => {
      runs++;
      most = Math.max(most, ++running);
      await settle(5);
      running--;
    });
    for (let index = 0; index < 1_000; index++) it.controller.enqueue('shop/a');
    await settle(1);
    for (let index = 0; index < 1_000; index++) it.controller.enqueue('shop/a');
    await quiet(it.controller);
    expect([runs, most]).toEqual([2, 1]);
    await it.controller[Symbol.asyncDispose]();
  });

  test('works on four keys at once and no more', async () => {
    let running = 0;
    let most = 0;
    const it = scene(async () => {
      most = Math.max(most, ++running);
      await settle(5);
      running--;
    });
    for (let index = 0; index < 20; index++) it.controller.enqueue(`k${index}`);
    await quiet(it.controller);
    expect(most).toBe(4);
    await it.controller[Symbol.asyncDispose]();
  });

  test('a failing key is tried again with back-off, is counted, and holds up no other', async () => {
    const seen: string[] = [];
    let failures = 3;
    const it = scene(async (key) => {
      seen.push(key);
      if (key === 'bad' && failures-- > 0) throw new KubeError({ status: 500, reason: 'InternalError', message: 'down' });
    }, { workers: 1 });
    it.controller.enqueue('bad');
    it.controller.enqueue('good');
    await until(() => seen.filter((key) => key === 'bad').length === 4, { clock: it.clock, stepMs: 5 });
    expect(seen.slice(0, 2)).toEqual(['bad', 'good']);
    expect([await it.value('controller_runtime_reconcile_errors_total'), await it.value('controller_runtime_reconcile_total', { result: 'success' }), await it.value('workqueue_retries_total')]).toEqual([3, 2, 3]);
    await it.controller[Symbol.asyncDispose]();
  });

  test('a success forgets the failures before it: the next one is tried again soon', async () => {
    let runs = 0;
    const it = scene(async () => {
      runs++;
      if (runs !== 11) throw new Error('down');
    });
    it.controller.enqueue('a');
    await until(() => runs === 11, { clock: it.clock, stepMs: 50 });
    await quiet(it.controller);
    it.controller.enqueue('a');
    await until(() => runs === 12);
    await settle();
    it.clock.advance(10);
    await settle();
    expect(runs).toBe(13);
    await it.controller[Symbol.asyncDispose]();
  });

  test.each([
    ['an error', new Error('x'), 0], ['a bug', new TypeError('undefined is not a function'), 1], ['something thrown that is no error', 'text', 0],
  ])('%s ends neither the process nor the controller', async (_name, thrown, panics) => {
    let runs = 0;
    const it = scene(() => {
      if (runs++ === 0) throw thrown;
      return Promise.resolve();
    });
    it.controller.enqueue('a');
    await until(() => runs === 2, { clock: it.clock, stepMs: 5 });
    expect([await it.value('controller_runtime_reconcile_errors_total'), await it.value('controller_runtime_reconcile_panics_total')]).toEqual([1, panics]);
    await it.controller[Symbol.asyncDispose]();
  });

  test('a terminal error is logged and counted and not tried again until the key changes', async () => {
    let runs = 0;
    const it = scene(async () => {
      runs++;
      throw new TerminalError('the spec makes no sense');
    });
    it.controller.enqueue('a');
    await until(() => runs === 1);
    it.clock.advance(3_600_000);
    await settle();
    expect([runs, await it.value('controller_runtime_terminal_reconcile_errors_total'), it.lines.filter((line) => line.includes('for good')).length]).toEqual([1, 1, 1]);
    it.controller.enqueue('a');
    await until(() => runs === 2);
    await it.controller[Symbol.asyncDispose]();
  });

  test('a conflict is no error for people, and Retry-After is waited for', async () => {
    let runs = 0;
    const it = scene(async () => {
      if (runs++ === 0) throw new KubeError({ status: 409, reason: 'Conflict', message: 'newer', retryAfterMs: 5_000 });
    });
    it.controller.enqueue('a');
    await until(() => runs === 1);
    it.clock.advance(4_900);
    await settle();
    expect([runs, it.lines.filter((line) => line.includes('"error"')).length]).toEqual([1, 0]);
    it.clock.advance(200);
    await until(() => runs === 2);
    await it.controller[Symbol.asyncDispose]();
  });

  test('requeueAfter comes again at its time, once, and a change in between does not add another', async () => {
    const times: number[] = [];
    const clockOf = { now: 0 };
    const it = scene(async () => {
      times.push(clockOf.now);
      return times.length < 3 ? { requeueAfterMs: 60_000 } : undefined;
    });
    it.controller.enqueue('a');
    await until(() => times.length === 1);
    for (let second = 1; second <= 200; second++) {
      clockOf.now = second;
      it.clock.advance(1_000);
      await settle(2);
      if (second === 30) it.controller.enqueue('a');
      await settle(2);
    }
    // The wish for 60 s was the earlier one and stays.
    expect(times).toEqual([0, 30, 60]);
    await it.controller[Symbol.asyncDispose]();
  });

  test('a replica that does not lead keeps what was added and works on it once it leads', async () => {
    let isLeader = false;
    const seen: string[] = [];
    const it = scene(async (key) => void seen.push(key), { mayWork: () => isLeader });
    it.controller.enqueue('a');
    await settle();
    expect(seen).toEqual([]);
    isLeader = true;
    it.controller.wake();
    await until(() => seen.length === 1);
    isLeader = false;
    it.controller.enqueue('b');
    it.controller.enqueue('c');
    await settle();
    expect(seen).toEqual(['a']);
    isLeader = true;
    it.controller.wake();
    await until(() => seen.length === 3);
    await it.controller[Symbol.asyncDispose]();
  });

  test('a drain lets running work end and begins nothing; after its deadline the signal aborts', async () => {
    const gate = Promise.withResolvers<void>();
    const seen: string[] = [];
    const it = scene(async (key, signal) => {
      seen.push(key);
      await Promise.race([gate.promise, new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))]);
      seen.push(signal.aborted ? `${key} aborted` : `${key} done`);
    }, { workers: 1 });
    it.controller.enqueue('a');
    it.controller.enqueue('b');
    await settle();
    const drained = it.controller.drain(20_000);
    await settle();
    expect(seen).toEqual(['a']);
    it.clock.advance(20_000);
    await drained;
    expect(seen).toEqual(['a', 'a aborted']);
  });

  test('a replica that never led drains at once, with keys that wait for a leader', async () => {
    let runs = 0;
    const it = scene(async () => void runs++, { mayWork: () => false });
    it.controller.enqueue('shop/a');
    await settle(3);
    let drained = false;
    void it.controller.drain(20_000).then(() => { drained = true; });
    await until(() => drained);
    expect(runs).toBe(0);
  });

  test('shows its queue and workers under controller-runtime’s names', async () => {
    const gate = Promise.withResolvers<void>();
    const it = scene(() => gate.promise, { workers: 1 });
    it.controller.enqueue('a');
    it.controller.enqueue('b');
    await settle();
    it.clock.advance(3_000);
    const names = ['controller_runtime_active_workers', 'controller_runtime_max_concurrent_reconciles', 'workqueue_depth', 'workqueue_adds_total', 'workqueue_unfinished_work_seconds', 'workqueue_longest_running_processor_seconds'];
    expect(await Promise.all(names.map((name) => it.value(name)))).toEqual([1, 1, 1, 2, 3, 3]);
    gate.resolve();
    await quiet(it.controller);
    expect((await it.registry.metrics()).match(/^# TYPE (\S+)/gm)?.map((line) => line.slice(7)).sort()).toEqual([
      'controller_runtime_active_workers', 'controller_runtime_max_concurrent_reconciles', 'controller_runtime_reconcile_errors_total', 'controller_runtime_reconcile_panics_total', 'controller_runtime_reconcile_time_seconds',
      'controller_runtime_reconcile_total', 'controller_runtime_terminal_reconcile_errors_total', 'leader_election_master_status', 'rest_client_requests_total', 'sallyport_reflector_last_contact_seconds', 'sallyport_reflector_relists_total',
      'workqueue_adds_total', 'workqueue_depth', 'workqueue_longest_running_processor_seconds', 'workqueue_queue_duration_seconds', 'workqueue_retries_total', 'workqueue_unfinished_work_seconds', 'workqueue_work_duration_seconds',
    ]);
    await it.controller[Symbol.asyncDispose]();
  });
});
