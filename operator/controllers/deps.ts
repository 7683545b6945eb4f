import type { OperatorSettings } from '../../contract/operator-settings.ts';
import type { RuntimeClock } from '../../runtime/clock.ts';
import type { EventRecorder } from '../../runtime/kube/events.ts';
import type { KubeClient } from '../../runtime/kube/kube-client.ts';
import type { Log } from '../../runtime/log.ts';
import type { Metrics } from '../../runtime/metrics.ts';
import type { Caches } from '../kube/caches.ts';
import type { OperatorMetrics } from '../kube/metrics.ts';

/** What every controller is given by `operator/main.ts`. Each exports `startXController(deps): Controller` (operator/kube/controller.ts). */
export interface ControllerDeps {
  /** Writes only while this replica leads. */
  readonly client: KubeClient;
  readonly settings: OperatorSettings;
  readonly caches: Caches;
  readonly events: EventRecorder;
  readonly metrics: OperatorMetrics;
  /** For the controller's own series. */
  readonly registry: Metrics;
  /** Whether this replica leads; controllers hand it to `startController`. */
  readonly mayWork: () => boolean;
  readonly log: Log;
  readonly clock: RuntimeClock;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
}
