import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { RequestFacts } from '../../runtime/kube/http-client.ts';
import type { WorkQueue } from './work-queue.ts';

/** How a reconcile ended, in controller-runtime's words. */
export type ReconcileResult = 'success' | 'error' | 'requeue' | 'requeue_after';

/** What one controller counts. */
export interface ControllerMetrics {
  started(): void;
  ended(result: ReconcileResult, durationMs: number): void;
  terminalError(): void;
  panic(): void;
  added(): void;
  waited(waitedMs: number): void;
  worked(workedMs: number): void;
  retried(): void;
  /** Depth and unfinished work are read from it when scraped. */
  observe(queue: WorkQueue, now: () => number): void;
}

/** The operator's metrics under controller-runtime's names, so that its dashboards and alerts work unchanged. */
export interface OperatorMetrics {
  /** For `onRequest` of a client. */
  request(facts: RequestFacts): void;
  controller(name: string, workers: number): ControllerMetrics;
  leader(name: string, isLeader: () => boolean): void;
  /** Follows one reflector; several of one kind show their oldest contact. `now` is monotonic ms. */
  reflector(kind: string, lastContactMs: () => number, now: () => number): { relisted(reason: string): void };
}

/** Registers the metrics; once per registry. */
export function createOperatorMetrics(registry: Registry): OperatorMetrics {
  const registers = [registry];
  const requests = new Counter({ name: 'rest_client_requests_total', help: 'Requests to the API server, by status code, method and host.', labelNames: ['code', 'method', 'host'], registers });
  const reconcile = reconcileMetrics(registry);
  const queue = queueMetrics(registry);
  const leaders = new Map<string, () => boolean>();
  new Gauge({
    name: 'leader_election_master_status', help: '1 on the replica that holds the Lease.', labelNames: ['name'], registers,
    collect() {
      for (const [name, isLeader] of leaders) this.set({ name }, isLeader() ? 1 : 0);
    },
  });
  const contacts = new Map<string, (() => number)[]>();
  new Gauge({
    name: 'sallyport_reflector_last_contact_seconds', help: 'Seconds since the API server last sent anything about a kind.', labelNames: ['kind'], registers,
    collect() {
      for (const [kind, ages] of contacts) this.set({ kind }, Math.max(...ages.map((age) => age())) / 1_000);
    },
  });
  const relists = new Counter({ name: 'sallyport_reflector_relists_total', help: 'Complete lists, by kind and reason.', labelNames: ['kind', 'reason'], registers });
  return {
    request: ({ code, method, host }) => requests.inc({ code, method, host }),
    controller(name, workers) {
      reconcile.workers.set({ controller: name }, workers);
      return { ...reconcile.of(name), ...queue.of(name) };
    },
    leader: (name, isLeader) => void leaders.set(name, isLeader),
    reflector(kind, lastContactMs, now) {
      const startedMs = now();
      contacts.set(kind, [...(contacts.get(kind) ?? []), () => now() - (lastContactMs() === 0 ? startedMs : lastContactMs())]);
      return { relisted: (reason) => relists.inc({ kind, reason }) };
    },
  };
}

function reconcileMetrics(registry: Registry): { readonly workers: Gauge; of(name: string): Pick<ControllerMetrics, 'started' | 'ended' | 'terminalError' | 'panic'> } {
  const registers = [registry];
  const labelNames = ['controller'] as const;
  const total = new Counter({ name: 'controller_runtime_reconcile_total', help: 'Reconciles, by controller and result.', labelNames: ['controller', 'result'], registers });
  const errors = new Counter({ name: 'controller_runtime_reconcile_errors_total', help: 'Reconciles that failed.', labelNames, registers });
  const terminal = new Counter({ name: 'controller_runtime_terminal_reconcile_errors_total', help: 'Reconciles that failed and are not tried again.', labelNames, registers });
  const panics = new Counter({ name: 'controller_runtime_reconcile_panics_total', help: 'Reconciles that ended in a bug (TypeError, RangeError, …).', labelNames, registers });
  const time = new Histogram({
    name: 'controller_runtime_reconcile_time_seconds', help: 'Duration of a reconcile.', labelNames, registers, buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
  });
  const workers = new Gauge({ name: 'controller_runtime_max_concurrent_reconciles', help: 'Workers of a controller.', labelNames, registers });
  const active = new Gauge({ name: 'controller_runtime_active_workers', help: 'Workers that reconcile now.', labelNames, registers });
  return {
    workers,
    of(controller) {
      const labels = { controller };
      for (const result of ['success', 'error', 'requeue', 'requeue_after']) total.inc({ controller, result }, 0);
      for (const counter of [errors, terminal, panics]) counter.inc(labels, 0);
      active.set(labels, 0);
      return {
        started: () => active.inc(labels),
        ended(result, durationMs) {
          active.dec(labels);
          total.inc({ controller, result });
          time.observe(labels, durationMs / 1_000);
          if (result === 'error') errors.inc(labels);
        },
        terminalError: () => terminal.inc(labels),
        panic: () => panics.inc(labels),
      };
    },
  };
}

function queueMetrics(registry: Registry): { of(name: string): Pick<ControllerMetrics, 'added' | 'waited' | 'worked' | 'retried' | 'observe'> } {
  const registers = [registry];
  const labelNames = ['name', 'controller'] as const;
  const buckets = [0.000_01, 0.0001, 0.001, 0.01, 0.1, 1, 10, 100];
  const queues = new Map<string, { readonly queue: WorkQueue; readonly now: () => number }>();
  const gauge = (name: string, help: string, read: (queue: WorkQueue, nowMs: number) => number): void => void new Gauge({
    name, help, labelNames, registers,
    collect() {
      for (const [controller, { queue, now }] of queues) this.set({ name: controller, controller }, read(queue, now()));
    },
  });
  const ages = (queue: WorkQueue, nowMs: number): number[] => [...queue.processing.values()].map((takenMs) => (nowMs - takenMs) / 1_000);
  gauge('workqueue_depth', 'Keys that wait for a worker.', (queue) => queue.depth);
  gauge('workqueue_unfinished_work_seconds', 'Seconds of work in progress, over all workers.', (queue, nowMs) => ages(queue, nowMs).reduce((sum, age) => sum + age, 0));
  gauge('workqueue_longest_running_processor_seconds', 'Seconds that the oldest work in progress has run.', (queue, nowMs) => Math.max(0, ...ages(queue, nowMs)));
  const adds = new Counter({ name: 'workqueue_adds_total', help: 'Keys added.', labelNames, registers });
  const retries = new Counter({ name: 'workqueue_retries_total', help: 'Keys added again after a failure.', labelNames, registers });
  const waited = new Histogram({ name: 'workqueue_queue_duration_seconds', help: 'Time from adding a key to its work.', labelNames, buckets, registers });
  const worked = new Histogram({ name: 'workqueue_work_duration_seconds', help: 'Time of work on a key.', labelNames, buckets, registers });
  return {
    of(name) {
      const labels = { name, controller: name };
      adds.inc(labels, 0);
      retries.inc(labels, 0);
      return {
        added: () => adds.inc(labels), retried: () => retries.inc(labels),
        waited: (waitedMs) => waited.observe(labels, waitedMs / 1_000), worked: (workedMs) => worked.observe(labels, workedMs / 1_000),
        observe: (queue, now) => void queues.set(name, { queue, now }),
      };
    },
  };
}
