/** A dashboard as Grafana imports it. */
export interface Dashboard {
  readonly uid: string;
  readonly panels: readonly object[];
  readonly [field: string]: unknown;
}

/** The Grafana dashboard of Sallyport: what users meet, what the proxies do, what the operator does. Every panel says what a person should look for. */
export function grafanaDashboard(): Dashboard {
  return {
    uid: 'sallyport', title: 'Sallyport', tags: ['sallyport'], schemaVersion: 39, version: 1, editable: true, refresh: '30s', time: { from: 'now-6h', to: 'now' }, timezone: '', graphTooltip: 1,
    templating: { list: [
      { name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Data source' },
      { name: 'namespace', type: 'query', label: 'Namespace', datasource, query: { query: 'label_values(sallyport_sessions, namespace)', refId: 'namespaces' }, includeAll: true, multi: true, allValue: '.*', current: { text: 'All', value: '$__all' }, refresh: 2, sort: 1 },
    ] },
    panels: layOut(rows),
  };
}

interface Panel {
  readonly title: string;
  readonly text: string;
  readonly kind?: 'stat' | 'timeseries';
  readonly unit?: 's' | 'ops' | 'reqps' | 'bytes' | 'short' | 'bool';
  /** A stat turns red at this value, or at or below it with `redBelow`. */
  readonly red?: number;
  readonly redBelow?: boolean;
  /** Legend of each query, and the query. */
  readonly series: readonly (readonly [string, string])[];
}

const datasource = { type: 'prometheus', uid: '$datasource' };
const of = 'namespace=~"$namespace"';
const rate = (metric: string, by: string): string => `sum by (${by}) (rate(${metric}{${of}}[$__rate_interval]))`;
/** Other operators export controller-runtime's metrics too. */
const controllers = 'controller=~"access-request|access-session|identity-provider|integrity|namespace-proxy"';
const controllerRate = (metric: string, by: string): string => `sum by (${by}) (rate(${metric}{${controllers}}[$__rate_interval]))`;
const onOperator = 'and on (namespace, pod) sallyport_approval_integrity';
const quantile = (q: string, metric: string, filter = ''): string => `histogram_quantile(${q}, sum by (le${filter === '' ? '' : ', controller'}) (rate(${metric}_bucket${filter === '' ? '' : `{${filter}}`}[$__rate_interval])))`;

const rows: readonly { readonly title: string; readonly panels: readonly Panel[] }[] = [
  { title: 'Now', panels: [
    { title: 'Open sessions', text: 'Sessions that are open now.', kind: 'stat', series: [['', `sum(sallyport_sessions{${of}})`]] },
    { title: 'Waiting for an approval', text: 'Statements and logins that people must decide.', kind: 'stat', red: 20, series: [['', `sum(sallyport_holds_pending{${of}})`]] },
    { title: 'Denials in the last hour', text: 'Refused logins, statements and sessions.', kind: 'stat', series: [['', `sum(increase(sallyport_denials_total{${of}}[1h]))`]] },
    { title: 'Approvals count', text: '1 while the admission policies are present, unchanged and effective. At 0 nothing that is held is released.', kind: 'stat', unit: 'bool', red: 0, redBelow: true, series: [['', 'max(sallyport_approval_integrity)']] },
    { title: 'Age of the oldest config', text: 'The longest time since the API server confirmed a proxy\'s config. From 15 minutes on approvals are refused.', kind: 'stat', unit: 's', red: 300, series: [['', `max(sallyport_proxy_config_stale_seconds{${of}})`]] },
    { title: 'Recorder failures in the last hour', text: 'Above 0 something was not forwarded because it could not be recorded.', kind: 'stat', red: 1, series: [['', `sum(increase(sallyport_recorder_failures_total{${of}}[1h]))`]] },
  ] },
  { title: 'Access', panels: [
    { title: 'Sessions by namespace', text: 'Open sessions.', series: [['{{namespace}}', `sum by (namespace) (sallyport_sessions{${of}})`]] },
    { title: 'What became of connections', text: 'opened, denied, failed, cancel, closed.', unit: 'ops', series: [['{{outcome}}', rate('sallyport_sessions_total', 'outcome')]] },
    { title: 'Denials by code', text: 'Each limit and each rule has its own code; docs/errors.md says what to do.', unit: 'ops', series: [['{{code}}', `topk(10, ${rate('sallyport_denials_total', 'code')})`]] },
    { title: 'Statements by decision', text: 'allowed, approved, denied, held.', unit: 'ops', series: [['{{decision}}', rate('sallyport_statements_total', 'decision')]] },
    { title: 'Waiting for an approval', text: 'A plateau means that nobody looks.', series: [['{{namespace}}', `sum by (namespace) (sallyport_holds_pending{${of}})`]] },
    { title: 'Why sessions ended', text: 'A burst of Revoked follows a change of policy.', unit: 'ops', series: [['{{reason}}', rate('sallyport_session_ends_total', 'reason')]] },
    { title: 'Masked cells', text: 'Cells that were sent masked.', unit: 'ops', series: [['{{namespace}}', rate('sallyport_masked_cells_total', 'namespace')]] },
    { title: 'Statements that could not be read', text: 'They were refused.', unit: 'ops', series: [['{{code}}', rate('sallyport_parse_failures_total', 'code')]] },
  ] },
  { title: 'Proxies', panels: [
    { title: 'Recorder failures', text: 'By code. Nothing is forwarded meanwhile.', unit: 'ops', series: [['{{code}}', rate('sallyport_recorder_failures_total', 'code')]] },
    { title: 'Age of the config', text: 'Time since the API server confirmed it; saw teeth below 30 s are normal.', unit: 's', series: [['{{namespace}}/{{pod}}', `max by (namespace, pod) (sallyport_proxy_config_stale_seconds{${of}})`]] },
    { title: 'Certificate of the listeners', text: 'Time until the first one ends.', unit: 's', series: [['{{namespace}}', `min by (namespace) (sallyport_listener_certificate_expiration_timestamp_seconds{${of}}) - time()`]] },
    { title: 'Session objects', text: 'AccessSessions that wait to be written, and those given up because too many waited; the records have them all.', series: [['waiting {{namespace}}', `sum by (namespace) (sallyport_session_objects_waiting{${of}})`], ['dropped {{namespace}}', `sum by (namespace) (sallyport_session_objects_dropped{${of}})`]] },
    { title: 'Accepted and refused connections', text: 'Refused at accept: a limit of the process or of an address.', unit: 'ops', series: [['{{outcome}}', rate('sallyport_connections_total', 'outcome')]] },
    { title: 'Event loop delay', text: 'p99 of a proxy; above 0.1 s sessions feel it.', unit: 's', series: [['{{namespace}}/{{pod}}', `max by (namespace, pod) (nodejs_eventloop_lag_p99_seconds{${of}} and on (namespace, pod) sallyport_sessions)`]] },
    { title: 'Memory', text: 'Resident memory of a proxy.', unit: 'bytes', series: [['{{namespace}}/{{pod}}', `max by (namespace, pod) (process_resident_memory_bytes{${of}} and on (namespace, pod) sallyport_sessions)`]] },
  ] },
  { title: 'Operator', panels: [
    { title: 'Programming latency', text: 'From compiling a config to the last ready proxy that applied it.', unit: 's', series: [['p50', quantile('0.5', 'sallyport_programming_seconds')], ['p99', quantile('0.99', 'sallyport_programming_seconds')]] },
    { title: 'Reconciles', text: 'By controller and result.', unit: 'ops', series: [['{{controller}} {{result}}', controllerRate('controller_runtime_reconcile_total', 'controller, result')]] },
    { title: 'Reconcile errors', text: 'Tried again with a back-off; panics are bugs.', unit: 'ops', series: [['{{controller}}', controllerRate('controller_runtime_reconcile_errors_total', 'controller')], ['{{controller}} panic', controllerRate('controller_runtime_reconcile_panics_total', 'controller')]] },
    { title: 'Reconcile time', text: 'p99 by controller.', unit: 's', series: [['{{controller}}', quantile('0.99', 'controller_runtime_reconcile_time_seconds', controllers)]] },
    { title: 'Queue depth', text: 'Keys that wait for a worker.', series: [['{{controller}}', `sum by (controller) (workqueue_depth{${controllers}})`]] },
    { title: 'Wait in the queue', text: 'p99 by controller.', unit: 's', series: [['{{controller}}', quantile('0.99', 'workqueue_queue_duration_seconds', controllers)]] },
    { title: 'Requests to the API server', text: 'By status code.', unit: 'reqps', series: [['{{code}}', `sum by (code) (rate(rest_client_requests_total[$__rate_interval]) ${onOperator})`]] },
    { title: 'Last word of the API server', text: 'Oldest by kind.', unit: 's', series: [['{{kind}}', 'max by (kind) (sallyport_reflector_last_contact_seconds)']] },
    { title: 'Complete lists', text: 'By reason; a steady stream other than Periodic means trouble with watches.', unit: 'ops', series: [['{{kind}} {{reason}}', 'sum by (kind, reason) (rate(sallyport_reflector_relists_total[$__rate_interval]))']] },
    { title: 'Leaders', text: 'Exactly one replica leads.', series: [['{{pod}}', 'max by (pod) (leader_election_master_status{name="sallyport-operator"})']] },
  ] },
];

/** Rows one below the other: stats six in a row, graphs three in a row. */
function layOut(all: typeof rows): readonly object[] {
  const placed: object[] = [];
  let y = 0;
  for (const { title, panels } of all) {
    placed.push({ id: placed.length + 1, type: 'row', title, collapsed: false, gridPos: { x: 0, y, w: 24, h: 1 }, panels: [] });
    y += 1;
    const isStats = panels.every((panel) => panel.kind === 'stat');
    const [columns, w, h] = isStats ? [6, 4, 4] : [3, 8, 8];
    panels.forEach((panel, index) => void placed.push({ id: placed.length + 1, ...drawn(panel), gridPos: { x: (index % columns) * w, y: y + Math.floor(index / columns) * h, w, h } }));
    y += Math.ceil(panels.length / columns) * h;
  }
  return placed;
}

function drawn({ title, text, kind = 'timeseries', unit = 'short', red, redBelow = false, series }: Panel): object {
  const steps = red === undefined ? [{ color: 'green', value: null }] : redBelow ? [{ color: 'red', value: null }, { color: 'green', value: red + 1 }] : [{ color: 'green', value: null }, { color: 'red', value: red }];
  return {
    type: kind, title, description: text, datasource,
    fieldConfig: { defaults: { unit: unit === 'bool' ? 'bool_yes_no' : unit, min: 0, thresholds: { mode: 'absolute', steps }, ...(kind === 'stat' ? { decimals: unit === 's' ? 1 : 0 } : { custom: { fillOpacity: 10, showPoints: 'never' } }) }, overrides: [] },
    options: kind === 'stat' ? { colorMode: 'value', graphMode: 'area', reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false } } : { legend: { displayMode: 'list', placement: 'bottom', showLegend: true }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: series.map(([legendFormat, expr], index) => ({ refId: String.fromCharCode(65 + index), datasource, expr, legendFormat, range: true })),
  };
}
