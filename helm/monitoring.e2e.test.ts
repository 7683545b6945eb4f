import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { findAsset } from '../tools/e2e-assets.ts';
import { renderChart } from '../tools/testkit/chart.ts';

const helm = findAsset('helm') ?? findAsset('helm3');

(helm === null ? describe.skip : describe)('what the chart shows of metrics', () => {
  const objects = renderChart({ helm: helm?.path ?? '', values: { monitoring: { serviceMonitor: { create: true }, podMonitor: { create: true }, alerts: { create: true, labels: { prometheus: 'main' }, alertLabels: { team: 'access' } }, dashboard: { create: true, namespace: 'grafana', annotations: { folder: 'Access' } } } } });
  const object = (kind: string, name: string): Readonly<Record<string, unknown>> => objects.find((each) => each.kind === kind && each.metadata.name === name) ?? {};
  const groups = (object('PrometheusRule', 'sallyport')['spec'] as { readonly groups: readonly { readonly rules: readonly Rule[] }[] }).groups;
  const dashboard = JSON.parse((object('ConfigMap', 'sallyport-dashboard')['data'] as { readonly 'sallyport.json': string })['sallyport.json']) as { readonly panels: readonly Panel[] };
  const alertQueries = groups.flatMap((group) => group.rules.map((rule) => rule.expr));
  const panelQueries = dashboard.panels.flatMap((panel) => (panel.targets ?? []).map((target) => target.expr));

  test('are metrics that Sallyport or what it stands on has', () => {
    const ours = declaredMetrics();
    const known = (name: string): boolean => ours.has(name.replace(/_(bucket|count|sum)$/, '')) || /^(kube_deployment_(status_replicas_available|spec_replicas)|process_resident_memory_bytes|nodejs_eventloop_lag_p99_seconds)$/.test(name);
    const named = [...alertQueries, ...panelQueries].flatMap((query) => metricsIn(query));
    expect(named.length).toBeGreaterThan(40);
    expect([...new Set(named.filter((name) => !known(name)))]).toEqual([]);
  });

  test('shows every metric that Sallyport declares', () => {
    const shown = new Set([...alertQueries, ...panelQueries].flatMap((query) => metricsIn(query)).map((name) => name.replace(/_bucket$/, '')));
    const left = ['controller_runtime_active_workers', 'controller_runtime_max_concurrent_reconciles', 'controller_runtime_terminal_reconcile_errors_total', 'workqueue_adds_total', 'workqueue_longest_running_processor_seconds', 'workqueue_retries_total', 'workqueue_unfinished_work_seconds', 'workqueue_work_duration_seconds'];
    expect([...declaredMetrics()].filter((name) => !shown.has(name)).sort()).toEqual(left);
  });

  test('names only controllers that the operator has', () => {
    const controllers = sources(['operator/controllers']).flatMap((text) => [...text.matchAll(/startController\(\{\s*name: '([a-z-]+)'/g)].map((match) => match[1])).sort();
    const named = new Set([...alertQueries, ...panelQueries].flatMap((query) => [...query.matchAll(/controller=~"([^"]+)"/g)].map((match) => match[1])));
    expect([...named]).toEqual([controllers.join('|')]);
  });

  test('has a summary and a remedy for every alert, its severity, and the labels of the values', () => {
    const rules = groups.flatMap((group) => group.rules);
    expect(rules.map((rule) => rule.alert).sort()).toEqual([
      'SallyportApprovalIntegrityLost', 'SallyportApprovalsWaiting', 'SallyportCertificateExpiring', 'SallyportConfigStale', 'SallyportNoLeader', 'SallyportNoProxyReady', 'SallyportOperatorCutOff',
      'SallyportProgrammingSlow', 'SallyportProxyNotReady', 'SallyportReconcileErrors', 'SallyportRecorderFailing',
    ]);
    for (const rule of rules) {
      expect(rule).toMatchObject({ labels: { severity: expect.stringMatching(/^(critical|warning|info)$/), team: 'access' }, annotations: { summary: expect.stringMatching(/\S/), description: expect.stringMatching(/\S/) } });
    }
    expect(object('PrometheusRule', 'sallyport')['metadata']).toMatchObject({ labels: { prometheus: 'main' } });
    const plain = parse(readFileSync('helm/sallyport/files/alerts.yaml', 'utf8')) as { readonly groups: readonly { readonly rules: readonly Rule[] }[] };
    expect(alertQueries).toEqual(plain.groups.flatMap((group) => group.rules.map((rule) => rule.expr)));
    expect(rules.map((rule) => rule.annotations)).toEqual(plain.groups.flatMap((group) => group.rules.map((rule) => rule.annotations)));
  });

  test('puts no panel on another, and explains each', () => {
    const taken = new Set<string>();
    for (const { type, title, description, gridPos: { x, y, w, h } } of dashboard.panels) {
      expect([title, x + w <= 24]).toEqual([title, true]);
      if (type !== 'row') expect([title, description]).toEqual([title, expect.stringMatching(/\S/)]);
      for (let column = x; column < x + w; column++) for (let row = y; row < y + h; row++) expect([title, taken.size]).not.toEqual([title, taken.add(`${column}/${row}`).size]);
    }
    expect(new Set(dashboard.panels.map((panel) => panel.id)).size).toBe(dashboard.panels.length);
    expect(object('ConfigMap', 'sallyport-dashboard')['metadata']).toMatchObject({ namespace: 'grafana', labels: { grafana_dashboard: '1' }, annotations: { folder: 'Access' } });
  });

  test('is scraped where it is served', () => {
    const ports = (object('Deployment', 'sallyport-operator')['spec'] as { readonly template: { readonly spec: { readonly containers: readonly { readonly ports: readonly object[] }[] } } }).template.spec.containers[0]?.ports;
    expect(ports).toContainEqual({ name: 'metrics', containerPort: 8080, protocol: 'TCP' });
    const service = object('Service', 'sallyport-operator-metrics') as { readonly metadata?: { readonly labels: object }; readonly spec?: object };
    const { selector, endpoints } = object('ServiceMonitor', 'sallyport-operator')['spec'] as { readonly selector: { readonly matchLabels: object }; readonly endpoints: readonly object[] };
    expect(service.metadata?.labels).toMatchObject(selector.matchLabels);
    expect(service.spec).toMatchObject({ ports: [{ name: 'metrics', targetPort: 'metrics' }] });
    expect(endpoints).toEqual([{ port: 'metrics', path: '/metrics', interval: '30s' }]);
    expect(object('PodMonitor', 'sallyport-proxy')['spec']).toMatchObject({ namespaceSelector: { any: true }, selector: { matchLabels: { 'app.kubernetes.io/name': 'sallyport-proxy' } }, podMetricsEndpoints: [{ port: 'metrics' }] });
  });
});

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: object;
  readonly annotations: object;
}
interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string }[];
}

/** Every metric name that the sources declare. */
function declaredMetrics(): ReadonlySet<string> {
  const ours = /'((?:sallyport|controller_runtime|workqueue|rest_client|leader_election)_[a-z_]+)'/g;
  return new Set(sources(['operator', 'sidecar', 'runtime']).flatMap((text) => [...text.matchAll(ours)].map((match) => match[1] ?? '')));
}

function sources(directories: readonly string[]): readonly string[] {
  return directories.flatMap((directory) => readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts')).map((path) => readFileSync(`${directory}/${path}`, 'utf8')));
}

/** Names of metrics in a query: words with an underscore that are no label. */
function metricsIn(query: string): readonly string[] {
  const bare = query.replaceAll(/\{[^}]*\}|"[^"]*"|\[[^\]]*\]|\b(?:by|on)\s*\([^)]*\)/g, ' ');
  return [...bare.matchAll(/\b[a-z]+(?:_[a-z0-9]+)+\b/g)].map((match) => match[0]).filter((name) => !['histogram_quantile', 'min_over_time'].includes(name));
}
