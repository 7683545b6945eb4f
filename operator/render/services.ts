import type { TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import { peersService, proxyPorts, targetLabel } from '../../contract/names.ts';
import { generatedMetadata, proxyPodLabels } from './generated-object.ts';
import type { GeneratedObject, RenderPlace } from './generated-object.ts';

/** Annotation of a Target's Service: the uid of the Target that the port was given to. */
export const targetUidAnnotation = 'sallyport.dev/target-uid';

/** Port of a Target's Service: its protocol's own, whatever the upstream's is, so that stock tools need no option. */
export function servicePortOf({ spec }: TargetResource): number {
  return spec.ssh === undefined ? 5432 : 22;
}

/** The host name that clients use, in front of the Target's listener. */
export interface TargetService {
  readonly serviceName: string;
  readonly target: TargetResource;
  readonly listenPort: number;
}

/** The Service of one Target (D11). Its port on the pods is a number and not declared there, so a new Target restarts no pod. */
export function renderTargetService(place: RenderPlace, service: TargetService): GeneratedObject {
  const isSsh = service.target.spec.ssh !== undefined;
  return {
    apiVersion: 'v1', kind: 'Service',
    metadata: generatedMetadata(place, service.serviceName, { [targetLabel]: service.target.metadata.name }, { [targetUidAnnotation]: service.target.metadata.uid ?? '' }),
    spec: {
      type: 'ClusterIP', selector: proxyPodLabels,
      ports: [{ name: isSsh ? 'ssh' : 'postgres', port: servicePortOf(service.target), targetPort: service.listenPort, protocol: 'TCP', appProtocol: isSsh ? 'ssh' : 'postgresql' }],
    },
  };
}

/** How replicas find each other for cancel keys; draining pods must stay reachable. */
export function renderPeersService(place: RenderPlace): GeneratedObject {
  return {
    apiVersion: 'v1', kind: 'Service', metadata: generatedMetadata(place, peersService),
    spec: { type: 'ClusterIP', clusterIP: 'None', publishNotReadyAddresses: true, selector: proxyPodLabels, ports: [{ name: 'peers', port: proxyPorts.peers, targetPort: proxyPorts.peers, protocol: 'TCP' }] },
  };
}
