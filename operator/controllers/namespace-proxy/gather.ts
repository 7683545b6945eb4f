import type { AccessPolicyResource, IdentityProviderResource, ProxyConfigResource, TargetResource } from '../../../contract/api/v1alpha1.gen.ts';
import { caConfigMap, managedByLabel, managedByValue, nameLabel, peersService, proxyName, proxySecretsRole, sshKnownHostsConfigMap } from '../../../contract/names.ts';
import { parseProxyConfig } from '../../../contract/proxy-config.ts';
import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import type { KubeObject } from '../../../runtime/kube/kube-client.ts';
import { serviceOfHost } from '../../render/network-policies.ts';
import type { UpstreamService } from '../../render/network-policies.ts';
import type { ControllerDeps } from '../deps.ts';
import { generatedKey, ownSecrets, serviceNameOf } from './facts.ts';
import type { GeneratedKind, NamespaceFacts, ProxyPod, SecretFacts } from './facts.ts';
import { inParallel } from './in-parallel.ts';
import type { Lookups } from './lookups.ts';
import { secretNames } from './statuses.ts';
import type { WriteMemory } from './write-memory.ts';

/** Generated kinds that a reflector follows, by our label. */
export const watchedKinds = ['serviceAccount', 'role', 'roleBinding', 'service', 'deployment', 'podDisruptionBudget', 'networkPolicy'] as const;

/** Objects that the proxy needs under fixed names: somebody else's there stops the whole namespace. */
const fixedNames: readonly (readonly [GeneratedKind, string])[] = [
  ['serviceAccount', proxyName], ['role', proxySecretsRole], ['roleBinding', proxyName], ['roleBinding', proxySecretsRole], ['service', peersService],
  ['deployment', proxyName], ['podDisruptionBudget', proxyName], ['networkPolicy', proxyName],
];

/**
 * What decides the config: the caches, and whether names that we want and do not have are somebody else's. `secrets` and `upstreams` are empty until `completeFacts`:
 * taking access away must not wait for them.
 */
export async function gatherNamespace(deps: ControllerDeps, lookups: Lookups, memory: WriteMemory, namespace: string, signal: AbortSignal): Promise<NamespaceFacts> {
  const { caches } = deps;
  const targets = present(caches.of<TargetResource>('target').inNamespace(namespace));
  const proxyConfig = memory.newest(caches.of<ProxyConfigResource>('proxyConfig').get(namespace, proxyName), namespace);
  // No ProxyConfig: perhaps a namespace of an old name. What was found in the old one, our own Secrets above all, is not there.
  if (proxyConfig === null) lookups.forgetNamespace(namespace);
  const generated = new Map<string, KubeObject>(watchedKinds.flatMap((kind) => caches.of(kind).inNamespace(namespace).map((object) => [generatedKey(kind, object.metadata.name), object] as const)));
  return {
    namespace, nowMs: deps.clock.now(), settings: deps.settings, targets, policies: present(caches.of<AccessPolicyResource>('accessPolicy').inNamespace(namespace)),
    identityProviders: present(caches.of<IdentityProviderResource>('identityProvider').list()), proxyConfig, lastGood: parseStored(proxyConfig),
    pods: caches.of('pod').inNamespace(namespace).filter((pod) => pod.metadata.labels?.[nameLabel] === proxyName).map(podFacts), generated,
    secrets: new Map<string, SecretFacts | null>(), upstreams: new Map<string, UpstreamService | null>(),
    foreignServices: await foreignServices(lookups, namespace, targets, generated, signal),
    foreignObjects: targets.length === 0 && proxyConfig === null ? [] : await foreignObjects(lookups, namespace, generated, signal),
  };
}

/** Adds what the objects and statuses need beside: Secrets by their metadata, the Services behind isolated Targets, our ConfigMaps. */
export async function completeFacts(facts: NamespaceFacts, lookups: Lookups, signal: AbortSignal): Promise<NamespaceFacts> {
  const { namespace, targets, generated } = facts;
  return {
    ...facts, generated: await withConfigMaps(generated, lookups, namespace, signal), secrets: await readSecrets(lookups, namespace, targets, signal), upstreams: await readUpstreams(lookups, namespace, targets, signal),
  };
}

/** What a stored ProxyConfig serves; null where nobody can read it (another version wrote it). */
function parseStored(proxyConfig: ProxyConfigResource | null): ProxyConfig | null {
  if (proxyConfig === null) return null;
  try {
    const parsed = parseProxyConfig(JSON.parse(proxyConfig.spec.config));
    return parsed.outcome === 'parsed' ? parsed.config : null;
  } catch {
    return null;
  }
}

function present<T extends KubeObject>(objects: readonly T[]): readonly T[] {
  return objects.filter((object) => object.metadata.deletionTimestamp === undefined);
}

function podFacts({ metadata, status }: KubeObject): ProxyPod {
  const conditions = (status as { readonly conditions?: readonly { readonly type: string; readonly status: string }[] } | undefined)?.conditions ?? [];
  return { name: metadata.name, uid: metadata.uid ?? '', isReady: conditions.some((condition) => condition.type === 'Ready' && condition.status === 'True'), isTerminating: metadata.deletionTimestamp !== undefined };
}

async function withConfigMaps(generated: ReadonlyMap<string, KubeObject>, lookups: Lookups, namespace: string, signal: AbortSignal): Promise<ReadonlyMap<string, KubeObject>> {
  const found = await inParallel([caConfigMap, sshKnownHostsConfigMap], async (name) => ({ name, object: await lookups.object('configMap', namespace, name, signal) }));
  return new Map([...generated, ...found.flatMap(({ name, object }) => (object?.metadata.labels?.[managedByLabel] === managedByValue ? [[generatedKey('configMap', name), object] as const] : []))]);
}

async function readSecrets(lookups: Lookups, namespace: string, targets: readonly TargetResource[], signal: AbortSignal): Promise<ReadonlyMap<string, SecretFacts | null>> {
  const names = [...new Set([...ownSecrets, ...targets.flatMap(secretNames)])];
  return new Map(await inParallel(names, async (name) => [name, await lookups.secret(namespace, name, signal)] as const));
}

async function foreignServices(lookups: Lookups, namespace: string, targets: readonly TargetResource[], generated: ReadonlyMap<string, KubeObject>, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const names = [...new Set(targets.map(serviceNameOf))].filter((name) => !generated.has(generatedKey('service', name)));
  const answers = await inParallel(names, async (name) => ({ name, isForeign: await lookups.isForeign('service', namespace, name, signal) }));
  return new Set(answers.filter(({ isForeign }) => isForeign).map(({ name }) => name));
}

async function foreignObjects(lookups: Lookups, namespace: string, generated: ReadonlyMap<string, KubeObject>, signal: AbortSignal): Promise<readonly string[]> {
  const missing = fixedNames.filter(([kind, name]) => !generated.has(generatedKey(kind, name)));
  const answers = await inParallel(missing, async ([kind, name]) => ({ text: `${kindNames[kind]} ${name}`, isForeign: await lookups.isForeign(kind, namespace, name, signal) }));
  return answers.filter(({ isForeign }) => isForeign).map(({ text }) => text);
}

const kindNames: Readonly<Record<GeneratedKind, string>> = {
  serviceAccount: 'ServiceAccount', role: 'Role', roleBinding: 'RoleBinding', service: 'Service', deployment: 'Deployment', podDisruptionBudget: 'PodDisruptionBudget', networkPolicy: 'NetworkPolicy', configMap: 'ConfigMap',
};

async function readUpstreams(lookups: Lookups, namespace: string, targets: readonly TargetResource[], signal: AbortSignal): Promise<ReadonlyMap<string, UpstreamService | null>> {
  const isolated = targets.filter((target) => target.spec.isolation?.mode === 'ProxyOnly');
  return new Map(await inParallel(isolated, async (target) => {
    const service = serviceOfHost((target.spec.postgres ?? target.spec.ssh)?.host ?? '', namespace);
    return [target.metadata.name, service === null ? null : await lookups.service(namespace, service, signal)] as const;
  }));
}
