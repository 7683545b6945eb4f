import type { TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import type { ProxySettings } from '../../contract/operator-settings.ts';
import { proxyName, proxyPorts, targetLabel } from '../../contract/names.ts';
import { generatedMetadata, proxyPodLabels } from './generated-object.ts';
import type { GeneratedObject, RenderPlace } from './generated-object.ts';

/** Who may connect to the proxy: anybody to the listeners (the proxy authenticates), its replicas to each other, chosen namespaces to the metrics. */
export function renderProxyNetworkPolicy(place: RenderPlace, settings: ProxySettings): GeneratedObject {
  const { listenPorts, metricsNamespaces } = settings;
  return {
    apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: generatedMetadata(place, proxyName),
    spec: {
      podSelector: { matchLabels: proxyPodLabels }, policyTypes: ['Ingress'],
      ingress: [
        { ports: [{ protocol: 'TCP', port: listenPorts.first, endPort: listenPorts.last }] },
        { ports: [{ protocol: 'TCP', port: proxyPorts.peers }], from: [{ podSelector: { matchLabels: proxyPodLabels } }] },
        ...(metricsNamespaces.length === 0 ? [] : [{
          ports: [{ protocol: 'TCP', port: proxyPorts.metrics }],
          from: [{ namespaceSelector: { matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'In', values: [...metricsNamespaces].sort() }] } }],
        }]),
      ],
    },
  };
}

/** The part of a Service that isolation needs: whom it selects and where it sends a port. */
export interface UpstreamService {
  readonly name: string;
  readonly selector: Readonly<Record<string, string>>;
  readonly ports: readonly { readonly port: number; readonly targetPort: number | string }[];
}

/** A policy for the pods behind a Target, or why none can be written. */
export type IsolationOutcome = { readonly outcome: 'policy'; readonly object: GeneratedObject } | { readonly outcome: 'not-expressible'; readonly message: string };

/**
 * With `isolation: {mode: ProxyOnly}`: only the proxy and `alsoAllow` reach the pods behind the Target's host.
 *
 * @param upstream the Service that the host names, where it is one of the same namespace; else null.
 */
export function renderTargetNetworkPolicy(place: RenderPlace, target: TargetResource, upstream: UpstreamService | null): IsolationOutcome {
  const { postgres, ssh, isolation } = target.spec;
  const wanted = (postgres ?? ssh)?.port;
  if (upstream === null) return notExpressible('the host is no Service of this namespace, so no NetworkPolicy can select what is behind it');
  if (Object.keys(upstream.selector).length === 0) return notExpressible(`Service ${upstream.name} selects no pods`);
  const port = upstream.ports.find((each) => each.port === wanted);
  if (port === undefined) return notExpressible(`Service ${upstream.name} has no port ${wanted ?? 'of this protocol'}`);
  const peers = (isolation?.alsoAllow ?? []).filter((peer) => peer.podSelector !== undefined || peer.namespaceSelector !== undefined);
  return {
    outcome: 'policy',
    object: {
      apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: generatedMetadata(place, targetPolicyName(target.metadata.name), { [targetLabel]: target.metadata.name }),
      spec: {
        podSelector: { matchLabels: upstream.selector }, policyTypes: ['Ingress'],
        ingress: [
          { ports: [{ protocol: 'TCP', port: port.targetPort }], from: [{ podSelector: { matchLabels: proxyPodLabels } }] },
          // A list of no peers would mean everybody.
          ...(peers.length === 0 ? [] : [{ from: peers }]),
        ],
      },
    },
  };
}

/** Name of the NetworkPolicy that isolates a Target. */
export function targetPolicyName(target: string): string {
  return `sallyport-target-${target}`;
}

/** Name of the Service of a namespace that a host means, or null where the host is something else. */
export function serviceOfHost(host: string, namespace: string): string | null {
  const [name = '', second, ...rest] = host.toLowerCase().replace(/\.$/, '').split('.');
  const suffix = rest.join('.');
  if (!/^[a-z]([-a-z0-9]*[a-z0-9])?$/.test(name)) return null;
  if (second === undefined) return name;
  return second === namespace && ['', 'svc', 'svc.cluster.local'].includes(suffix) ? name : null;
}

function notExpressible(message: string): IsolationOutcome {
  return { outcome: 'not-expressible', message };
}
