import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parse, parseAllDocuments } from 'yaml';
import { readResource } from '../contract/api/read-resource.ts';
import { operatorSettingsSchema } from '../contract/operator-settings.ts';
import { findAsset } from '../tools/e2e-assets.ts';
import { helmTemplate, renderChart } from '../tools/testkit/chart.ts';
import type { ManifestObject, RenderOptions } from '../tools/testkit/chart.ts';

const helms = (['helm', 'helm3'] as const).map((name) => findAsset(name)).filter((asset) => asset !== null);

describe.each(helms)('the chart under $name', ({ path: helm }) => {
  const render = (values?: RenderOptions['values'], more: Partial<RenderOptions> = {}): readonly ManifestObject[] => renderChart({ helm, values: values ?? {}, ...more });
  const refusal = (values: RenderOptions['values'], more: Partial<RenderOptions> = {}): string => {
    const { status, stderr } = helmTemplate({ helm, values: values ?? {}, ...more });
    expect(status).not.toBe(0);
    return stderr;
  };

  test('labels every object as one release, and common labels and annotations reach every one', () => {
    const objects = render({ ...everything, commonLabels: { team: 'platform' }, commonAnnotations: { owner: 'platform@bank.example' } });
    expect(objects.length).toBeGreaterThan(45);
    for (const { kind, metadata } of objects) {
      expect([kind, metadata.name, metadata.labels]).toEqual([kind, metadata.name, expect.objectContaining({
        'app.kubernetes.io/name': 'sallyport-operator', 'app.kubernetes.io/instance': 'sallyport', 'app.kubernetes.io/managed-by': 'Helm', 'app.kubernetes.io/part-of': 'sallyport', team: 'platform',
      })]);
      expect([kind, metadata.name, metadata.annotations]).toEqual([kind, metadata.name, expect.objectContaining({ owner: 'platform@bank.example' })]);
    }
  });

  test('runs the operator under the restricted pod security standard, with its own short-lived token', () => {
    const { spec } = templateOf(render());
    expect(spec).toMatchObject({
      serviceAccountName: 'sallyport-operator', automountServiceAccountToken: false, enableServiceLinks: false,
      securityContext: { runAsNonRoot: true, runAsUser: 65_532, seccompProfile: { type: 'RuntimeDefault' } },
    });
    expect(spec).not.toHaveProperty('hostNetwork');
    expect(spec.containers).toHaveLength(1);
    expect(spec.containers[0]).toMatchObject({ command: ['node', '/app/dist/operator/main.js'], securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } } });
    expect(spec.volumes.map((volume) => Object.keys(volume).filter((key) => key !== 'name'))).toEqual([['configMap'], ['projected'], ['emptyDir']]);
  });

  test('names the image by digest where one is given, for operator and proxies alike', () => {
    const digest = `sha256:${'ab'.repeat(32)}`;
    const objects = render({ image: { repository: 'registry.bank.example/sallyport', tag: 'v9', digest, pullSecrets: ['pull'] }, global: { imagePullSecrets: [{ name: 'everyone' }] } });
    expect(templateOf(objects).spec.containers[0]).toMatchObject({ image: `registry.bank.example/sallyport@${digest}`, imagePullPolicy: 'IfNotPresent' });
    expect(templateOf(objects).spec).toMatchObject({ imagePullSecrets: [{ name: 'everyone' }, { name: 'pull' }] });
    expect(settingsOf(objects).proxy).toMatchObject({ image: `registry.bank.example/sallyport@${digest}`, imagePullSecrets: ['everyone', 'pull'] });
    expect(templateOf(render({ global: { imageRegistry: 'mirror.bank.example/' } })).spec.containers[0]).toMatchObject({ image: `mirror.bank.example/sallyport:${appVersion}` });
  });

  test('grants no wildcard, no right to change Secrets, and every verb that a rule names is one that exists', () => {
    for (const { kind, metadata, rules } of [...render(), ...render({ watchNamespaces: ['payments'] })].filter((object) => /Role$/.test(object.kind)) as unknown as readonly RoleObject[]) {
      for (const rule of rules) {
        const where = `${kind} ${metadata.name}`;
        expect([where, [...rule.apiGroups, ...rule.resources, ...rule.verbs].filter((word) => word.includes('*'))]).toEqual([where, []]);
        if (rule.resources.includes('secrets')) expect([where, rule.verbs.filter((verb) => !['get', 'create'].includes(verb))]).toEqual([where, []]);
        expect(rule.verbs.filter((verb) => !/^(get|list|watch|create|update|patch|delete|bind|approve|requestonbehalf|terminate)$/.test(verb))).toEqual([]);
      }
    }
  });

  test('serves listed namespaces by Roles: nothing that is bound cluster-wide names a resource that lives in a namespace', () => {
    const objects = render({ watchNamespaces: ['payments', 'ledger', 'payments'] });
    const bound = objects.filter((object) => object.kind === 'ClusterRoleBinding').map((object) => (object as unknown as BindingObject).roleRef.name);
    expect(bound).toEqual(['sallyport-operator']);
    const clusterWide = (objects.filter((object) => object.kind === 'ClusterRole' && bound.includes(object.metadata.name)) as unknown as readonly RoleObject[]).flatMap((role) => role.rules);
    expect(clusterWide.flatMap((rule) => rule.resources).sort()).toEqual(['identityproviders', 'identityproviders/status', 'validatingadmissionpolicies', 'validatingadmissionpolicybindings']);
    const roles = objects.filter((object) => object.kind === 'Role').map((object) => `${object.metadata.namespace ?? ''}/${object.metadata.name}`);
    expect(roles.sort()).toEqual(['default/sallyport-operator-events', 'ledger/sallyport-operator-served', 'payments/sallyport-operator-served', 'sallyport-system/sallyport-operator']);
    const everywhere = (render().find((object) => object.kind === 'ClusterRole' && object.metadata.name === 'sallyport-operator') as RoleObject).rules;
    const listed = (objects.find((object) => object.kind === 'Role' && object.metadata.namespace === 'payments') as RoleObject).rules;
    expect(everywhere).toEqual([...clusterWide, ...listed]);
    expect(settingsOf(objects).watchNamespaces).toEqual(['payments', 'ledger']);
  });

  test.each([
    [{ proxy: { replica: 3 } }, "at '/proxy': additional properties 'replica' not allowed"],
    [{ proxy: { drainSeconds: 0 } }, "at '/proxy/drainSeconds': minimum: got 0, want 1"],
    [{ proxy: { staleness: 'Keep' } }, "at '/proxy/staleness': value must be one of 'KeepLast', 'DenyWrites', 'DenyNew'"],
    [{ operator: { replicas: '2' } }, "at '/operator/replicas': got string, want integer"],
    [{ image: { digest: 'sha256:abc' } }, "at '/image/digest': 'sha256:abc' does not match pattern"],
    [{ watchNamespaces: ['Payments'] }, "at '/watchNamespaces/0': 'Payments' does not match pattern"],
    [{ commonLabels: { 'app.kubernetes.io/name': 'x' } }, 'commonLabels must not have app.kubernetes.io/name, because the chart sets what begins so'],
    [{ watchNamespace: ['payments'] }, "additional properties 'watchNamespace' not allowed"],
    [{ proxy: { stateClaim: 'spool' } }, 'proxy.stateClaim needs proxy.replicas: 1, because a claim is not shared'],
    [{ operator: { leaderElection: false } }, 'operator.leaderElection: false needs operator.replicas: 1'],
    [{ proxy: { listenPorts: { first: 30_000 } } }, 'proxy.listenPorts.last must not be below proxy.listenPorts.first'],
    [{ monitoring: { service: { create: false }, serviceMonitor: { create: true } } }, 'monitoring.serviceMonitor.create needs monitoring.service.create: true'],
  ])('refuses %j in words', (values, words) => {
    expect(refusal(values)).toContain(words);
  });

  test('accepts what a parent chart shares', () => {
    expect(render({ global: { anything: { of: 'theirs' } } }).length).toBeGreaterThan(40);
  });

  test('refuses a cluster that is too old, and takes the oldest supported one with or without a vendor suffix', () => {
    expect(refusal({}, { kubeVersion: '1.29.9' })).toContain('chart requires kubeVersion: >=1.30.0-0');
    expect(refusal({}, { kubeVersion: '1.29.9', chart: 'sallyport-crds' })).toContain('chart requires kubeVersion: >=1.30.0-0');
    expect(render({}, { kubeVersion: '1.30.0' }).length).toBe(render({}, { kubeVersion: '1.30.4-eks-a18cd3a' }).length);
  });

  test('writes settings that the operator reads, whatever the values are', () => {
    fc.assert(fc.property(someValues, fc.constantFrom('sallyport-system', 'access'), (values, namespace) => {
      const settings = settingsOf(render(values, { namespace }));
      const { proxy = {}, retention = {}, operator = {} } = values as Readonly<Record<string, Readonly<Record<string, unknown>>>>;
      expect(settings).toMatchObject({ namespace, retention, proxy: { ...proxy, ...(proxy['resources'] === undefined ? {} : { resources: expect.anything() }) } });
      expect(settings.integrityProbeSeconds).toBe(operator['integrityProbeSeconds'] ?? 300);
    }), { numRuns: 40 });
  }, 120_000);

  test('can set every setting that the operator has, and changes none of its defaults but the image', () => {
    const defaults = operatorSettingsSchema.parse({ namespace: 'sallyport-system', proxy: { image: `sallyport:${appVersion}` } });
    expect(rawSettingsOf(render())).toEqual(defaults);
  });

  test('restarts the operator when its settings change, and only then', () => {
    const checksum = (values: RenderOptions['values']): unknown => templateOf(render(values)).metadata.annotations?.['checksum/settings'];
    expect(checksum({ proxy: { maxSessions: 400 } })).not.toBe(checksum({}));
    expect(checksum({ operator: { podAnnotations: { a: 'b' } }, monitoring: { podMonitor: { create: true } } })).toBe(checksum({}));
  });

  test('never lets additions to the pods replace what selects them', () => {
    const template = templateOf(render({ operator: { podLabels: { team: 'a', tier: 'b' }, podAnnotations: { note: 'c', 'checksum/settings': 'mine' } }, commonLabels: { team: 'z' } }));
    expect(template.metadata.labels).toMatchObject({ 'app.kubernetes.io/name': 'sallyport-operator', team: 'z', tier: 'b' });
    expect(template.metadata.annotations).toMatchObject({ note: 'c', 'checksum/settings': expect.stringMatching(/^[0-9a-f]{64}$/) });
  });

  test('places the operator as the values say', () => {
    const spread = [{ maxSkew: 2, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule' }];
    const placed = { nodeSelector: { disk: 'ssd' }, tolerations: [{ key: 'access', operator: 'Exists', effect: 'NoSchedule' }], affinity: { nodeAffinity: {} }, priorityClassName: 'high', topologySpreadConstraints: spread };
    expect(templateOf(render({ operator: placed })).spec).toMatchObject(placed);
    expect(templateOf(render()).spec).toMatchObject({ topologySpreadConstraints: [{ topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway' }] });
  });

  test('has a disruption budget only where it cannot block a drain', () => {
    const budgets = (values: RenderOptions['values']): number => render(values).filter((object) => object.kind === 'PodDisruptionBudget').length;
    expect([budgets({}), budgets({ operator: { replicas: 1 } }), budgets({ operator: { podDisruptionBudget: { create: false } } })]).toEqual([1, 0, 0]);
  });

  test('lets nobody reach the operator but who reads its metrics', () => {
    const policy = (values: RenderOptions['values']): unknown => render(values).find((object) => object.kind === 'NetworkPolicy')?.['spec'];
    const from = [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }];
    expect(policy({})).toMatchObject({ policyTypes: ['Ingress'], ingress: [{ ports: [{ port: 'metrics' }], from }] });
    expect(policy({ operator: { networkPolicy: { metricsNamespaces: [], egress: [{ ports: [{ port: 443 }] }] } } })).toMatchObject({ policyTypes: ['Ingress', 'Egress'], ingress: [], egress: [{ ports: [{ port: 443 }] }] });
    expect(policy({ operator: { networkPolicy: { create: false } } })).toBeUndefined();
  });

  test('has no hook, and nothing of a kind that it brings', () => {
    const objects = render(everything);
    expect(objects.filter((object) => Object.keys(object.metadata.annotations ?? {}).some((key) => key.startsWith('helm.sh/hook')))).toEqual([]);
    expect(objects.filter((object) => object.apiVersion.startsWith('sallyport.dev/'))).toEqual([]);
  });

  test('brings the definitions of crds/, nothing left out and nothing changed but blanks in descriptions', () => {
    const sources = sourcesIn('crds/');
    expect(stripped(render().filter((object) => object.kind === 'CustomResourceDefinition'))).toEqual(sources);
    expect(stripped(render({}, { chart: 'sallyport-crds' }))).toEqual(sources);
  });

  test('brings the admission policies of crds/admission/, for the operator of this release', () => {
    const sources = sourcesIn('crds/admission/');
    expect(sources.length).toBeGreaterThanOrEqual(24);
    const admission = (namespace: string): readonly ManifestObject[] => stripped(render({}, { namespace }).filter((object) => object.kind.startsWith('ValidatingAdmissionPolicy')));
    expect(admission('sallyport-system')).toEqual(sources);
    expect(admission('access')).toEqual(JSON.parse(JSON.stringify(sources).replaceAll('serviceaccount:sallyport-system:', 'serviceaccount:access:')));
    expect(JSON.stringify(admission('access'))).not.toContain('sallyport-system');
  });

  test('keeps definitions on uninstall unless told otherwise, and brings none where told so', () => {
    const policies = (values: RenderOptions['values'], more: Partial<RenderOptions> = {}): ReadonlySet<unknown> =>
      new Set(render(values, more).filter((object) => object.kind === 'CustomResourceDefinition').map((object) => object.metadata.annotations?.['helm.sh/resource-policy']));
    expect(policies({})).toEqual(new Set(['keep']));
    expect(policies({ crds: { keep: false } })).toEqual(new Set([undefined]));
    expect(policies({ crds: { install: false } })).toEqual(new Set());
    expect(policies({}, { chart: 'sallyport-crds' })).toEqual(new Set(['keep']));
    expect(policies({ keep: false }, { chart: 'sallyport-crds' })).toEqual(new Set([undefined]));
  });

  test('leaves out what the values switch off', () => {
    const kinds = (values: RenderOptions['values']): readonly string[] => [...new Set(render(values).map((object) => object.kind))].sort();
    expect(kinds({ crds: { install: false }, admission: { install: false }, rbac: { create: false, people: false }, operator: { podDisruptionBudget: { create: false }, networkPolicy: { create: false } }, monitoring: { service: { create: false } } }))
      .toEqual(['ConfigMap', 'Deployment', 'ServiceAccount']);
    expect(render({ rbac: { aggregateToView: false } }).find((object) => object.metadata.name === 'sallyport-view')?.metadata.labels).not.toHaveProperty(['rbac.authorization.k8s.io/aggregate-to-view']);
  });

  test('needs less than a third of the megabyte that a release may have', () => {
    const { stdout } = helmTemplate({ helm, values: everything });
    const files = readdirSync('helm/sallyport', { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => readFileSync(`${entry.parentPath}/${entry.name}`, 'base64'));
    // A release is gzip of JSON that holds the manifest and the chart's files in base64, and a Secret holds that in base64 twice.
    const bytes = gzipSync(JSON.stringify([stdout, files])).length * (16 / 9);
    expect(bytes).toBeLessThan(1_048_576 / 3);
  });
});

describe('what Artifact Hub shows', () => {
  const { annotations } = parse(readFileSync('helm/sallyport/Chart.yaml', 'utf8')) as { readonly annotations: Readonly<Record<string, string>> };
  const listed = (key: string): readonly { readonly kind: string; readonly name: string; readonly version: string }[] => parse(annotations[`artifacthub.io/${key}`] ?? '') as readonly { readonly kind: string; readonly name: string; readonly version: string }[];
  const definitions = sourcesIn('crds/').map((object) => ({ name: object.metadata.name, ...(object['spec'] as { readonly names: { readonly kind: string }; readonly versions: readonly [{ readonly name: string }] }) }));

  test('names every kind that the chart brings', () => {
    expect(listed('crds').map(({ kind, name, version }) => `${kind} ${name} ${version}`).sort()).toEqual(definitions.map(({ name, names, versions }) => `${names.kind} ${name} ${versions[0].name}`).sort());
  });

  test('shows examples that the schemas accept', () => {
    const problems = listed('crdsExamples').map((example) => readResource(example)).filter((read) => read.outcome !== 'read');
    expect(problems).toEqual([]);
  });

  test('says the image that the values name', () => {
    expect(listed('images')).toEqual([{ name: 'sallyport', image: `sallyport:${appVersion}` }]);
  });
});

interface RoleObject extends ManifestObject {
  readonly rules: readonly { readonly apiGroups: readonly string[]; readonly resources: readonly string[]; readonly verbs: readonly string[] }[];
}
interface BindingObject {
  readonly roleRef: { readonly name: string };
}
interface PodTemplate {
  readonly metadata: ManifestObject['metadata'];
  readonly spec: { readonly containers: readonly object[]; readonly volumes: readonly object[] };
}

const { version: appVersion } = JSON.parse(readFileSync('package.json', 'utf8')) as { readonly version: string };
/** Every optional object switched on. */
const everything = { monitoring: { serviceMonitor: { create: true }, podMonitor: { create: true }, alerts: { create: true }, dashboard: { create: true } } };

const hostName = fc.stringMatching(/^[a-z]([-a-z0-9]{0,20}[a-z0-9])?$/);
const quantity = fc.oneof(fc.constantFrom('100m', '1', '2Gi', '1e3'), fc.integer({ min: 1, max: 4_000_000_000 }));
const resources = fc.record({ requests: fc.dictionary(fc.constantFrom('cpu', 'memory'), quantity), limits: fc.dictionary(fc.constantFrom('cpu', 'memory', 'ephemeral-storage'), quantity) });
const aWord = fc.stringMatching(/^[\x20-\x7e\u{e9}\u{4e16}\u{1f600}]{1,30}$/u);
const someValues = fc.record({
  watchNamespaces: fc.uniqueArray(hostName, { maxLength: 4 }),
  image: fc.record({ repository: fc.constantFrom('a', 'r.example:5000/b/c'), tag: fc.constantFrom('', 'v1', '20261124') }, { requiredKeys: [] }),
  identity: fc.record({ aliases: fc.dictionary(aWord, aWord, { maxKeys: 4 }) }),
  operator: fc.record({ integrityProbeSeconds: fc.integer({ min: 5, max: 900 }), logLevel: fc.constantFrom('error', 'info', 'debug') }, { requiredKeys: [] }),
  retention: fc.record({ sessionHours: fc.integer({ min: 1, max: 720 }), sessionsPerCluster: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), requestsPerNamespace: fc.integer({ min: 1, max: 5_000_000 }) }, { requiredKeys: [] }),
  proxy: fc.record({
    replicas: fc.integer({ min: 1, max: 32 }), drainSeconds: fc.integer({ min: 1, max: 7_200 }), staleness: fc.constantFrom('KeepLast', 'DenyWrites', 'DenyNew'),
    maxSessions: fc.integer({ min: 1, max: 100_000 }), sessionObjects: fc.constantFrom('All', 'Notable', 'None'), resources, nodeSelector: fc.dictionary(hostName, hostName, { maxKeys: 3 }),
    tolerations: fc.array(fc.record({ key: hostName, operator: fc.constant('Exists'), tolerationSeconds: fc.integer({ min: 0, max: 2_000_000_000 }) }), { maxLength: 3 }), metricsNamespaces: fc.array(hostName, { maxLength: 3 }),
  }, { requiredKeys: [] }),
}, { requiredKeys: [] });

function templateOf(objects: readonly ManifestObject[]): PodTemplate {
  return (objects.find((object) => object.kind === 'Deployment') as unknown as { readonly spec: { readonly template: PodTemplate } }).spec.template;
}

function rawSettingsOf(objects: readonly ManifestObject[]): unknown {
  const file = objects.find((object) => object.kind === 'ConfigMap' && object.metadata.name === 'sallyport-operator')?.['data'] as { readonly 'settings.json': string };
  return JSON.parse(file['settings.json']);
}

function settingsOf(objects: readonly ManifestObject[]): ReturnType<typeof operatorSettingsSchema.parse> {
  return operatorSettingsSchema.parse(rawSettingsOf(objects));
}

/** Objects of a folder as the charts must bring them, in a fixed order: blanks in descriptions collapsed. */
function sourcesIn(directory: string): readonly ManifestObject[] {
  const objects = readdirSync(directory).filter((name) => name.endsWith('.yaml')).flatMap((name) => parseAllDocuments(readFileSync(`${directory}${name}`, 'utf8')).map((document) => document.toJS() as ManifestObject | null));
  return stripped(objects.filter((object) => object !== null));
}

function stripped(objects: readonly ManifestObject[]): readonly ManifestObject[] {
  const sorted = objects.toSorted((a, b) => `${a.kind} ${a.metadata.name}`.localeCompare(`${b.kind} ${b.metadata.name}`));
  const one = (object: ManifestObject): ManifestObject => ({ ...object, metadata: { name: object.metadata.name } });
  return JSON.parse(JSON.stringify(sorted.map(one), (key, value: unknown) => (key === 'description' && typeof value === 'string' ? value.replaceAll(/\s+/g, ' ').trim() : value))) as readonly ManifestObject[];
}
