import type { Metrics } from '../runtime/metrics.ts';
import type { SessionRegistry } from './core/session/registry.ts';
import type { Tally } from './core/session/tally.ts';

/** What is counted as it happens; everything else is read from the registry and the tally when somebody asks. */
export interface ConnectionCounters {
  readonly connection: (labels: { readonly protocol: 'postgres' | 'ssh'; readonly outcome: 'opened' | 'denied' | 'failed' | 'cancel' | 'closed' }) => void;
  readonly accepted: (labels: { readonly outcome: 'accepted' | 'refused_process' | 'refused_address' }) => void;
}

/** Declares the metrics of a proxy (docs/operations.md). Every label is a closed set of ours. */
export function declareMetrics(metrics: Metrics, registry: SessionRegistry, tally: Tally): ConnectionCounters {
  metrics.gauge({ name: 'sallyport_sessions', help: 'Sessions that are open now.', labels: {} }, () => registry.size);
  metrics.gauge({ name: 'sallyport_holds_pending', help: 'Statements and logins that wait for an approval now.', labels: {} }, () => tally.heldLogins + registry.list().filter((session) => session.isHeld()).length);
  metrics.tally({ name: 'sallyport_session_ends_total', help: 'Sessions that ended, by reason.', label: 'reason' }, tally.sessionEnds);
  metrics.tally({ name: 'sallyport_statements_total', help: 'Statements by what became of them.', label: 'decision' }, tally.statements);
  metrics.tally({ name: 'sallyport_denials_total', help: 'Refusals of logins, statements and sessions, by error code; each limit has its own.', label: 'code' }, tally.denials);
  metrics.tally({ name: 'sallyport_parse_failures_total', help: 'Statements that could not be read, by error code.', label: 'code' }, tally.parseFailures);
  metrics.tally({ name: 'sallyport_recorder_failures_total', help: 'Times that records could not be written, by error code.', label: 'code' }, tally.recorderFailures);
  metrics.tally({ name: 'sallyport_masked_cells_total', help: 'Cells of masked columns that were sent masked.', label: 'protocol' }, { get postgres() { return tally.maskedCells; } });
  return {
    connection: metrics.counter({ name: 'sallyport_sessions_total', help: 'Connections by what became of them.', labels: { protocol: ['postgres', 'ssh'], outcome: ['opened', 'denied', 'failed', 'cancel', 'closed'] } }),
    accepted: metrics.counter({ name: 'sallyport_connections_total', help: 'Accepted connections and those refused at accept.', labels: { outcome: ['accepted', 'refused_process', 'refused_address'] } }),
  };
}
