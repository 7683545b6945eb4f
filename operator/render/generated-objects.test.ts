import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { operatorSettingsSchema, proxyEnvironmentSchema } from '../../contract/operator-settings.ts';
import type { OperatorSettings } from '../../contract/operator-settings.ts';
import type { TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import type { ProxyConfig } from '../../contract/proxy-config.ts';
import { renderCaConfigMap } from './ca-config-map.ts';
import { proxyEnvironment, renderDeployment } from './deployment.ts';
import type { GeneratedObject } from './generated-object.ts';
import { renderProxyNetworkPolicy, renderTargetNetworkPolicy, serviceOfHost } from './network-policies.ts';
import type { UpstreamService } from './network-policies.ts';
import { renderPodDisruptionBudget } from './pod-disruption-budget.ts';
import { renderProxyConfig } from './proxy-config.ts';
import { renderRoleBindings } from './role-bindings.ts';
import { renderSecretsRole, secretsOf } from './role.ts';
import { renderServiceAccount } from './service-account.ts';
import { renderPeersService, renderTargetService } from './services.ts';
import { renderKnownHosts } from './ssh-known-hosts.ts';

const place = { namespace: 'payments', proxyConfigUid: 'uid-of-config' };
const settingsWith = (proxy: Readonly<Record<string, unknown>> = {}): OperatorSettings => operatorSettingsSchema.parse({ namespace: 'sallyport-system', identityAliases: { 'alice-admin': 'oidc:alice@bank.example' }, proxy: { image: 'sallyport@sha256:00', ...proxy } });
const aTarget = (name: string, change: Partial<TargetResource['spec']> = {}): TargetResource => ({
  apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata: { name, namespace: 'payments', uid: `uid-${name}`, generation: 1, labels: { env: 'prod', team: 'user-mark' } },
  spec: { postgres: { host: 'orders-rw.payments.svc', port: 5432, tls: { mode: 'VerifyFull', channelBinding: 'Prefer', caSecretRef: { name: 'orders-ca', key: 'ca.crt' } }, credentials: { secretRef: { name: 'orders-gateway' } }, databases: ['orders'] }, ...change },
});
const anSshTarget = (name: string, change: Partial<TargetResource['spec']> = {}): TargetResource => {
  const { postgres: _, ...spec } = aTarget(name).spec;
  return { ...aTarget(name), spec: { ...spec, ssh: { host: 'web.payments.svc', port: 2222, hostKeys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJCdgLuBAbRQCxc/UMH51DYRWJH6TwNbcVB7F1FW4qHE'], credentials: { secretRef: { name: 'web' } }, accounts: ['deploy'], accountCredentials: [{ account: 'deploy', secretRef: { name: 'web-deploy' } }], level: 'Exec' }, ...change } };
};
const upstream: UpstreamService = { name: 'orders-rw', selector: { cluster: 'orders', role: 'primary' }, ports: [{ port: 5432, targetPort: 'pg' }] };
const configOf = (...targets: readonly TargetResource[]): ProxyConfig => renderProxyConfig({ namespace: 'payments', targets, policies: [], identityProviders: [], listenPorts: new Map(targets.map(({ metadata }, index) => [metadata.name, 20_000 + index])) }).config;

function everything(settings: OperatorSettings): readonly GeneratedObject[] {
  const isolation = renderTargetNetworkPolicy(place, aTarget('orders-db', { isolation: { mode: 'ProxyOnly', alsoAllow: [{ podSelector: { matchLabels: { cluster: 'orders' } } }, {}] } }), upstream);
  return [
    renderServiceAccount(place), renderSecretsRole(place, configOf(aTarget('orders-db'))), ...renderRoleBindings(place), renderCaConfigMap(place, 'PEM'), renderPeersService(place),
    renderTargetService(place, { serviceName: 'orders-db', target: aTarget('orders-db'), listenPort: 20_017 }), renderTargetService(place, { serviceName: 'web', target: anSshTarget('web-1'), listenPort: 20_018 }),
    renderKnownHosts(place, ['ssh-ed25519 AAAA', 'ssh-ed25519 BBBB']), renderDeployment(place, settings),
    renderPodDisruptionBudget(place, settings.proxy.replicas), renderProxyNetworkPolicy(place, settings.proxy), ...(isolation.outcome === 'policy' ? [isolation.object] : []),
  ];
}

test('everything that is generated for one Target is as the golden file says', () => {
  const text = `${JSON.stringify(everything(settingsWith()), null, 1)}\n`;
  const golden = new URL('testdata-generated/payments.json', import.meta.url);
  if (process.env['SALLYPORT_WRITE_TESTDATA'] === '1') writeFileSync(golden, text);
  expect(text).toBe(readFileSync(golden, 'utf8'));
});

test('everything bears our label, belongs to the ProxyConfig and stays in its namespace', () => {
  for (const { metadata } of everything(settingsWith())) {
    expect(metadata.labels['app.kubernetes.io/managed-by']).toBe('sallyport');
    expect(metadata.namespace).toBe('payments');
    expect(metadata.ownerReferences).toEqual([{ apiVersion: 'sallyport.dev/v1alpha1', kind: 'ProxyConfig', name: 'sallyport-proxy', uid: 'uid-of-config', controller: true, blockOwnerDeletion: true }]);
  }
});

describe('the pods', () => {
  interface PodSpec {
    readonly automountServiceAccountToken: boolean;
    readonly terminationGracePeriodSeconds: number;
    readonly securityContext: Readonly<Record<string, unknown>>;
    readonly volumes: readonly Readonly<Record<string, unknown>>[];
    readonly containers: readonly { readonly securityContext: unknown; readonly env: readonly { readonly name: string; readonly value?: string }[]; readonly ports: unknown; readonly resources: unknown }[];
    readonly hostNetwork?: unknown;
    readonly hostPID?: unknown;
    readonly nodeSelector?: unknown;
    readonly tolerations?: unknown;
    readonly imagePullSecrets?: unknown;
  }
  const specOf = (settings: OperatorSettings): { readonly replicas: number; readonly strategy: { readonly type: string }; readonly template: { readonly spec: PodSpec } } => renderDeployment(place, settings).spec as never;

  test('fit the pod security standard restricted', () => {
    const { spec } = specOf(settingsWith()).template;
    expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(spec.containers.map((container) => container.securityContext)).toEqual([{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, runAsNonRoot: true, capabilities: { drop: ['ALL'] } }]);
    expect([spec.hostNetwork, spec.hostPID, spec.automountServiceAccountToken]).toEqual([undefined, undefined, false]);
    expect(spec.volumes.flatMap((volume) => Object.keys(volume).filter((key) => key !== 'name')).filter((type) => !['projected', 'emptyDir', 'persistentVolumeClaim'].includes(type))).toEqual([]);
  });
  test('get 60 s more than the drain takes', () => {
    expect(specOf(settingsWith({ drainSeconds: 300 })).template.spec.terminationGracePeriodSeconds).toBe(360);
  });
  test('read their settings from one variable, as the proxy parses it', () => {
    const settings = settingsWith({ staleness: 'DenyNew', maxSessions: 7 });
    const value = specOf(settings).template.spec.containers[0]?.env.find((variable) => variable.name === 'SALLYPORT_PROXY')?.value;
    expect(proxyEnvironmentSchema.parse(JSON.parse(value ?? ''))).toEqual(proxyEnvironment(settings));
    expect(proxyEnvironment(settings)).toMatchObject({ staleness: 'DenyNew', maxSessions: 7, persistentState: false, identityAliases: { 'alice-admin': 'oidc:alice@bank.example' } });
  });
  test('with a claim are replaced one after the other, because a claim is not shared', () => {
    const settings = settingsWith({ stateClaim: 'spool', replicas: 1 });
    expect([specOf(settings).strategy, specOf(settings).template.spec.volumes[1], proxyEnvironment(settings).persistentState]).toEqual([{ type: 'Recreate' }, { name: 'state', persistentVolumeClaim: { claimName: 'spool' } }, true]);
  });
  test('take placement and resources from the settings, and nothing where there is none', () => {
    const { spec } = specOf(settingsWith({ nodeSelector: { pool: 'gateway' }, tolerations: [{ key: 'a', operator: 'Exists' }], imagePullSecrets: ['registry'], resources: {} })).template;
    expect([spec.nodeSelector, spec.tolerations, spec.imagePullSecrets, spec.containers[0]?.resources]).toEqual([{ pool: 'gateway' }, [{ key: 'a', operator: 'Exists' }], [{ name: 'registry' }], {}]);
    expect(['nodeSelector', 'tolerations', 'imagePullSecrets'].filter((field) => field in specOf(settingsWith()).template.spec)).toEqual([]);
  });
  test('declare no listen port, so the template is the same whatever Targets there are', () => {
    expect(specOf(settingsWith()).template.spec.containers[0]?.ports).toEqual([{ name: 'health', containerPort: 8081, protocol: 'TCP' }, { name: 'metrics', containerPort: 8080, protocol: 'TCP' }]);
  });
});

describe('the Role of the proxy', () => {
  test('names exactly the Secrets of the config, each once', () => {
    expect(secretsOf(configOf(aTarget('a'), aTarget('b')))).toEqual(['orders-ca', 'orders-gateway']);
  });
  test('has no rule without a Secret: a rule without names would open all of them', () => {
    expect(renderSecretsRole(place, configOf())).toMatchObject({ rules: [] });
  });
});

test('a single proxy does not block the drain of its node', () => {
  expect([renderPodDisruptionBudget(place, 2).spec, renderPodDisruptionBudget(place, 1).spec]).toMatchObject([{ minAvailable: 1 }, { maxUnavailable: 1 }]);
});

test('without a namespace for metrics nobody reaches the metrics port', () => {
  const { ingress } = renderProxyNetworkPolicy(place, settingsWith({ metricsNamespaces: [] }).proxy).spec as { readonly ingress: readonly { readonly ports: readonly { readonly port: number }[] }[] };
  expect(ingress.flatMap((rule) => rule.ports.map((port) => port.port))).toEqual([20_000, 8443]);
});

describe('isolation', () => {
  const isolated = (...[of, service]: [TargetResource['spec']['isolation'], UpstreamService | null]): ReturnType<typeof renderTargetNetworkPolicy> => renderTargetNetworkPolicy(place, aTarget('a', of === undefined ? {} : { isolation: of }), service);
  test('lets the proxy reach the pods\' own port, which the Service\'s may not be', () => {
    expect(isolated({ mode: 'ProxyOnly' }, upstream)).toMatchObject({ object: { spec: { podSelector: { matchLabels: upstream.selector }, ingress: [{ ports: [{ protocol: 'TCP', port: 'pg' }], from: [{ podSelector: { matchLabels: { 'app.kubernetes.io/name': 'sallyport-proxy' } } }] }] } } });
  });
  test('never writes an empty list of peers: it would mean everybody', () => {
    const { object } = isolated({ mode: 'ProxyOnly', alsoAllow: [{}] }, upstream) as { readonly object: { readonly spec: { readonly ingress: readonly unknown[] } } };
    expect(object.spec.ingress.length).toBe(1);
  });
  test.each([
    ['the host is elsewhere', null, /no Service of this namespace/],
    ['the Service selects nothing', { ...upstream, selector: {} }, /selects no pods/],
    ['the Service has another port', { ...upstream, ports: [{ port: 1, targetPort: 1 }] }, /no port 5432/],
  ])('is not expressible when %s', (_name, service, message) => {
    expect(isolated({ mode: 'ProxyOnly' }, service)).toEqual({ outcome: 'not-expressible', message: expect.stringMatching(message) });
  });
  test.each([
    ['orders-rw', 'orders-rw'], ['orders-rw.payments', 'orders-rw'], ['orders-rw.payments.svc', 'orders-rw'], ['Orders-RW.payments.svc.cluster.local.', 'orders-rw'],
    ['orders-rw.billing.svc', null], ['orders-rw.payments.example', null], ['10.0.0.1', null], ['fd00::1', null], ['db.payments.svc.evil.example', null],
  ])('takes host %s for Service %s of the namespace payments', (host, service) => {
    expect(serviceOfHost(host, 'payments')).toBe(service);
  });
});

test('an SSH Target needs its Secrets readable, and is isolated at its own port', () => {
  expect(secretsOf(configOf(anSshTarget('web-1')))).toEqual(['web', 'web-deploy']);
  const isolated = anSshTarget('web-1', { isolation: { mode: 'ProxyOnly' } });
  const service = { name: 'web', selector: { app: 'web' }, ports: [{ port: 2222, targetPort: 22 }] };
  expect(renderTargetNetworkPolicy(place, isolated, service)).toMatchObject({ outcome: 'policy', object: { spec: { podSelector: { matchLabels: { app: 'web' } }, ingress: [{ ports: [{ protocol: 'TCP', port: 22 }] }] } } });
  expect(renderTargetNetworkPolicy(place, isolated, upstream)).toEqual({ outcome: 'not-expressible', message: 'Service orders-rw has no port 2222' });
});
