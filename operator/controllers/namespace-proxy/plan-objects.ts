import type { ProxyConfigResource, TargetResource } from '../../../contract/api/v1alpha1.gen.ts';
import { proxyName, sshHostKeySecret, targetLabel } from '../../../contract/names.ts';
import type { ProxyConfig } from '../../../contract/proxy-config.ts';
import type { KubeObject } from '../../../runtime/kube/kube-client.ts';
import { renderCaConfigMap } from '../../render/ca-config-map.ts';
import { renderDeployment } from '../../render/deployment.ts';
import type { GeneratedObject, RenderPlace } from '../../render/generated-object.ts';
import { renderProxyNetworkPolicy, renderTargetNetworkPolicy, targetPolicyName } from '../../render/network-policies.ts';
import type { IsolationOutcome } from '../../render/network-policies.ts';
import { renderPodDisruptionBudget } from '../../render/pod-disruption-budget.ts';
import { renderRoleBindings } from '../../render/role-bindings.ts';
import { readHostKey } from '../../render/public-key.ts';
import { renderSecretsRole } from '../../render/role.ts';
import { renderServiceAccount } from '../../render/service-account.ts';
import { renderPeersService, renderTargetService, targetUidAnnotation } from '../../render/services.ts';
import { renderKnownHosts } from '../../render/ssh-known-hosts.ts';
import { ownService } from './check.ts';
import type { Verdict } from './check.ts';
import { ownSecrets, serviceNameOf } from './facts.ts';
import type { GeneratedKind, NamespaceFacts } from './facts.ts';
import { progressOf } from './progress.ts';

/** An object that should be as it says. */
export interface WantedObject {
  readonly kind: GeneratedKind;
  readonly object: GeneratedObject;
}

/** An object of ours that should not be there any more. */
export interface UnwantedObject {
  readonly kind: GeneratedKind;
  readonly object: KubeObject;
}

/** Annotation of our Secret `sallyport-proxy-tls`: the certificate that clients verify it by. Public, and readable without reading the Secret's value. */
export const caAnnotation = 'sallyport.dev/ca-certificate';

/** Annotation of our Secret `sallyport-proxy-ssh`: the public host keys, one a line, `TYPE BASE64`: those that are shown and those that come next. */
export const hostKeysAnnotation = 'sallyport.dev/ssh-host-keys';

/** Own Secrets that must be created: once, and never changed. A host key that clients remember is never made a second time (`isHostKeyMissing`). */
export function missingSecrets(facts: NamespaceFacts): readonly string[] {
  return ownSecrets.filter((name) => facts.secrets.get(name) === null && !(name === sshHostKeySecret && isHostKeyMissing(facts)));
}

/** Whether the SSH host key is gone though it was there: a new one would look like an attack to every client, so somebody has to decide. */
export function isHostKeyMissing({ secrets, proxyConfig }: NamespaceFacts): boolean {
  return secrets.get(sshHostKeySecret) === null && proxyConfig?.status?.sshHostKeyFingerprint !== undefined;
}

/** The public host keys that the Secret's annotation names; empty where there is no Secret, or one of somebody who did not name them. */
export function publicHostKeys({ secrets }: NamespaceFacts): readonly string[] {
  const lines = (secrets.get(sshHostKeySecret)?.annotations[hostKeysAnnotation] ?? '').split('\n').map(readHostKey);
  return lines.flatMap((line) => (line.outcome === 'key' ? [line.key] : []));
}

/** Services whose Target is gone, or is another one of the same name: to be removed before its listener closes. */
export function goneServices(facts: NamespaceFacts): readonly UnwantedObject[] {
  const uids = new Map(facts.targets.map(({ metadata }) => [metadata.name, metadata.uid ?? '']));
  return targetObjects(facts, 'service').filter(({ metadata }) => uids.get(metadata.labels?.[targetLabel] ?? '') !== metadata.annotations?.[targetUidAnnotation]).map((object) => ({ kind: 'service', object }));
}

/** What clients verify the listeners by; null and empty where the operator did not make it, or somebody else has the ConfigMap's name. */
export interface PublishedKeys {
  readonly caCertificate: string | null;
  readonly hostKeys: readonly string[];
}

/** Everything that the proxy needs before it can run, in the order in which it is applied. Pure; Targets change the Role alone. */
export function planObjects(facts: NamespaceFacts, proxyConfig: ProxyConfigResource, config: ProxyConfig, { caCertificate, hostKeys }: PublishedKeys): readonly WantedObject[] {
  const place = placeOf(facts, proxyConfig);
  return [
    { kind: 'serviceAccount', object: renderServiceAccount(place) },
    { kind: 'role', object: renderSecretsRole(place, config) },
    ...renderRoleBindings(place).map((object): WantedObject => ({ kind: 'roleBinding', object })),
    ...(caCertificate === null ? [] : [{ kind: 'configMap', object: renderCaConfigMap(place, caCertificate) } as const]),
    ...(hostKeys.length === 0 ? [] : [{ kind: 'configMap', object: renderKnownHosts(place, hostKeys) } as const]),
    { kind: 'service', object: renderPeersService(place) },
    { kind: 'networkPolicy', object: renderProxyNetworkPolicy(place, facts.settings.proxy) },
    { kind: 'podDisruptionBudget', object: renderPodDisruptionBudget(place, facts.settings.proxy.replicas) },
    { kind: 'deployment', object: renderDeployment(place, facts.settings) },
  ];
}

/** The Services of Targets: of each that has one already, and of each whose port every ready proxy has opened. */
export function planServices(facts: NamespaceFacts, verdict: Verdict, proxyConfig: ProxyConfigResource): readonly WantedObject[] {
  const place = placeOf(facts, proxyConfig);
  return facts.targets.flatMap((target): readonly WantedObject[] => {
    const { name } = target.metadata;
    const listenPort = verdict.ports.ports.get(name);
    const existing = ownService(facts, name);
    if (listenPort === undefined) return [];
    const isRefused = verdict.refusals.get(`Target/${name}`)?.reason === 'NameConflict';
    // A Target that cannot have its new name keeps the old one.
    const serviceName = isRefused ? existing : serviceNameOf(target);
    if (serviceName === null || (existing === null && !isOpenEverywhere(facts, target, proxyConfig))) return [];
    return [{ kind: 'service', object: renderTargetService(place, { serviceName, target, listenPort }) }];
  });
}

/** Policies for the Targets that ask for isolation, by Target. */
export function planIsolation(facts: NamespaceFacts, proxyConfig: ProxyConfigResource): ReadonlyMap<string, IsolationOutcome> {
  const place = placeOf(facts, proxyConfig);
  return new Map(facts.targets.filter((target) => target.spec.isolation?.mode === 'ProxyOnly')
    .map((target) => [target.metadata.name, renderTargetNetworkPolicy(place, target, facts.upstreams.get(target.metadata.name) ?? null)]));
}

/** Services and NetworkPolicies of Targets that nothing wants any more: of another name, of no isolation. */
export function leftovers(facts: NamespaceFacts, wanted: readonly WantedObject[], isolation: ReadonlyMap<string, IsolationOutcome>): readonly UnwantedObject[] {
  const names = new Set(wanted.map(({ kind, object }) => `${kind}/${object.metadata.name}`));
  const unwantedService = (object: KubeObject): boolean => {
    const target = object.metadata.labels?.[targetLabel] ?? '';
    // It stays until the Service of the new name is wanted.
    return !names.has(`service/${object.metadata.name}`) && wanted.some((other) => other.kind === 'service' && other.object.metadata.labels[targetLabel] === target);
  };
  const policies = new Set([...isolation].filter(([, outcome]) => outcome.outcome === 'policy').map(([target]) => targetPolicyName(target)));
  return [
    ...targetObjects(facts, 'service').filter(unwantedService).map((object) => ({ kind: 'service', object }) as const),
    ...targetObjects(facts, 'networkPolicy').filter((object) => !policies.has(object.metadata.name)).map((object) => ({ kind: 'networkPolicy', object }) as const),
  ];
}

function targetObjects(facts: NamespaceFacts, kind: GeneratedKind): readonly KubeObject[] {
  return [...facts.generated].filter(([key, object]) => key.startsWith(`${kind}/`) && object.metadata.name !== proxyName && object.metadata.labels?.[targetLabel] !== undefined).map(([, object]) => object);
}

function isOpenEverywhere(facts: NamespaceFacts, target: TargetResource, proxyConfig: ProxyConfigResource): boolean {
  const entry = proxyConfig.spec.compiled?.find((each) => each.kind === 'Target' && each.uid === target.metadata.uid);
  const { ready, applied } = progressOf(proxyConfig, facts.pods, { sinceRevision: entry === undefined ? null : entry.revision ?? proxyConfig.spec.revision, target: target.metadata.name });
  return ready > 0 && applied === ready;
}

function placeOf(facts: NamespaceFacts, proxyConfig: ProxyConfigResource): RenderPlace {
  return { namespace: facts.namespace, proxyConfigUid: proxyConfig.metadata.uid ?? '' };
}
