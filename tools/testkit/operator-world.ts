import { operatorSettingsSchema } from '../../contract/operator-settings.ts';
import type { OperatorSettings } from '../../contract/operator-settings.ts';
import type { AccessPolicyResource, IdentityProviderResource, ProxyConfigResource, TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import { apiVersion, fieldManagers, managedByLabel, managedByValue, nameLabel, proxyName } from '../../contract/names.ts';
import type { KubeClient, KubeObject } from '../../runtime/kube/kube-client.ts';
import { applyObject } from '../../runtime/kube/verbs.ts';
import { createLog } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import type { ControllerDeps } from '../../operator/controllers/deps.ts';
import { namespaceKinds, startNamespaceProxyController } from '../../operator/controllers/namespace-proxy/start.ts';
import { startCaches } from '../../operator/kube/caches.ts';
import { kinds } from '../../operator/kube/kinds.ts';
import { createOperatorMetrics } from '../../operator/kube/metrics.ts';
import { type FakeApi, fakeApiServer } from './fake-api-server.ts';
import { type FakeClock, fakeClock } from './fake-clock.ts';
import { settle } from './settle.ts';

/** A fake API server, a clock, people and proxies, and as many operators as a test starts. */
export interface OperatorWorld {
  readonly api: FakeApi;
  readonly clock: FakeClock;
  readonly settings: OperatorSettings;
  /** Starts the namespace controller as an operator that leads. */
  start(client?: KubeClient): RunningOperator;
  put(object: TargetResource | AccessPolicyResource | IdentityProviderResource): void;
  secret(namespace: string, name: string): void;
  remove(kind: 'Target' | 'AccessPolicy' | 'ProxyConfig', namespace: string, name: string): void;
  /** Makes the pods that Deployments ask for, all ready, and lets each acknowledge the config of now. `only`: those pods alone. */
  proxiesAct(options?: { readonly only?: readonly string[]; readonly failed?: readonly { readonly name: string; readonly reason: string }[] }): Promise<void>;
  config(namespace: string): ProxyConfigResource | null;
  target(namespace: string, name: string): TargetResource;
  policy(namespace: string, name: string): AccessPolicyResource;
  services(namespace: string): readonly string[];
}

/** One operator process. */
export interface RunningOperator extends AsyncDisposable {
  /** Waits until nothing is left to do at this moment of the clock. */
  quiet(): Promise<void>;
  readonly lines: readonly string[];
  /** Events that it recorded, as `Reason Kind/name`. */
  readonly events: readonly string[];
}

/** An empty world; `settings.proxy` may be narrowed. */
export function operatorWorld(options: { readonly proxy?: Readonly<Record<string, unknown>>; readonly api?: Parameters<typeof fakeApiServer>[0] } = {}): OperatorWorld {
  const clock = fakeClock(1_800_000_000_000);
  const api = fakeApiServer({ clock, ...options.api });
  const settings = operatorSettingsSchema.parse({ namespace: 'sallyport-system', proxy: { image: 'sallyport:test', ...options.proxy } });
  const must = <T>(value: T | null): T => {
    if (value === null) throw new Error('there is no such object');
    return value;
  };
  return {
    api, clock, settings,
    start: (client = api.client('operator')) => startOperator(client, clock, settings),
    put: (object) => void api.put(kinds[kindKeys[object.kind]], object as KubeObject),
    secret: (namespace, name) => void api.put<KubeObject>(kinds.secret, { apiVersion: 'v1', kind: 'Secret', metadata: { namespace, name } }),
    remove: (kind, namespace, name) => api.remove(kinds[kindKeys[kind]], namespace, name),
    proxiesAct: (how = {}) => proxiesAct(api, clock, how),
    config: (namespace) => api.get<ProxyConfigResource>(kinds.proxyConfig, namespace, proxyName),
    target: (namespace, name) => must(api.get<TargetResource>(kinds.target, namespace, name)),
    policy: (namespace, name) => must(api.get<AccessPolicyResource>(kinds.accessPolicy, namespace, name)),
    services: (namespace) => api.list(kinds.service, namespace).map((service) => service.metadata.name).sort(),
  };
}

const kindKeys = { Target: 'target', AccessPolicy: 'accessPolicy', IdentityProvider: 'identityProvider', ProxyConfig: 'proxyConfig' } as const;

function startOperator(client: KubeClient, clock: FakeClock, settings: OperatorSettings): RunningOperator {
  const lines: string[] = [];
  const events: string[] = [];
  const registry = createMetrics({ process: false });
  const metrics = createOperatorMetrics(registry.registry);
  const log = createLog({ level: 'info', now: () => clock.now(), stream: { writableLength: 0, write: (line) => lines.push(line) } });
  const label = `${managedByLabel}=${managedByValue}`;
  const plans = namespaceKinds.map((kind) => ({ kind, ...(['target', 'accessPolicy', 'identityProvider', 'proxyConfig'].includes(kind) ? {} : { labelSelector: label }) }));
  const caches = startCaches({ client, clock, random: () => 0.5, metrics, log, namespaces: settings.watchNamespaces, plans });
  const deps: ControllerDeps = {
    client, settings, caches, metrics, registry, log, clock, random: () => 0.5, mayWork: () => caches.synced,
    events: { record: ({ reason, regarding }) => void events.push(`${reason} ${regarding.kind}/${regarding.name}`), dropped: () => 0, isIdle: true, [Symbol.asyncDispose]: () => Promise.resolve() },
  };
  const controller = startNamespaceProxyController(deps);
  void caches.whenSynced().then(() => controller.wake(), () => undefined);
  return {
    lines, events,
    async quiet() {
      // A reconcile that ran out of time comes again after 5 ms.
      for (let calm = 0; calm < 3;) {
        clock.advance(20);
        await settle(12);
        calm = caches.synced && controller.queue.isIdle ? calm + 1 : 0;
      }
    },
    async [Symbol.asyncDispose]() {
      await controller[Symbol.asyncDispose]();
      await caches[Symbol.asyncDispose]();
    },
  };
}

async function proxiesAct(api: FakeApi, clock: FakeClock, { only, failed = [] }: { readonly only?: readonly string[]; readonly failed?: readonly { readonly name: string; readonly reason: string }[] }): Promise<void> {
  for (const deployment of api.list<KubeObject & { readonly spec: { readonly replicas: number } }>(kinds.deployment)) {
    const { namespace = '', uid = '' } = deployment.metadata;
    const config = api.get<ProxyConfigResource>(kinds.proxyConfig, namespace, proxyName);
    for (let index = 0; index < deployment.spec.replicas; index++) {
      const name = `proxy-${index}`;
      if (only !== undefined && !only.includes(name)) continue;
      if (api.get(kinds.pod, namespace, name) === null) {
        api.put<KubeObject>(kinds.pod, {
          apiVersion: 'v1', kind: 'Pod', status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
          metadata: { namespace, name, labels: { [nameLabel]: proxyName, [managedByLabel]: managedByValue }, ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: proxyName, uid }] },
        });
      }
      const pod = api.get(kinds.pod, namespace, name);
      if (config === null || pod === null) continue;
      const entry = { pod: name, podUID: pod.metadata.uid, revision: config.spec.revision, hash: config.spec.hash, state: 'Applied', appliedAt: `${new Date(clock.now()).toISOString().slice(0, 19)}Z`, ...(failed.length === 0 ? {} : { failedTargets: failed }) };
      const body = { apiVersion, kind: 'ProxyConfig', metadata: { name: proxyName, namespace }, status: { proxies: [entry] } };
      await applyObject(api.client('proxy'), kinds.proxyConfig, body, { fieldManager: fieldManagers.proxy(name), force: true, subresource: 'status' });
    }
  }
}

/** A PostgreSQL Target. */
export function aTarget(namespace: string, name: string, spec: Partial<TargetResource['spec']> = {}, labels: Readonly<Record<string, string>> = { env: 'prod' }): TargetResource {
  return {
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'Target', metadata: { name, namespace, labels: { ...labels } },
    spec: { postgres: { host: 'db.example', port: 5432, tls: { mode: 'VerifyFull', channelBinding: 'Prefer' }, credentials: { secretRef: { name: 'gateway' } }, databases: ['app'] }, ...spec },
  };
}

/** A policy that lets everybody of a group read the Targets that a selector picks. */
export function aPolicy(namespace: string, name: string, spec: Partial<AccessPolicyResource['spec']> = {}): AccessPolicyResource {
  return {
    apiVersion: 'sallyport.dev/v1alpha1', kind: 'AccessPolicy', metadata: { name, namespace },
    spec: { subjects: [{ kind: 'Group', name: 'sre' }], targets: { selector: { matchLabels: { env: 'prod' } } }, access: { mode: 'Standing' }, rules: [{ name: 'reads', action: 'Allow', postgres: { statements: ['Select'] } }], ...spec },
  };
}
