import { proxyName } from '../../contract/names.ts';
import { generatedMetadata, proxyPodLabels } from './generated-object.ts';
import type { GeneratedObject, RenderPlace } from './generated-object.ts';

/** One proxy stays while nodes are drained. With a single replica that would block the drain for good, so there it may go. */
export function renderPodDisruptionBudget(place: RenderPlace, replicas: number): GeneratedObject {
  return {
    apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata: generatedMetadata(place, proxyName),
    spec: { ...(replicas > 1 ? { minAvailable: 1 } : { maxUnavailable: 1 }), unhealthyPodEvictionPolicy: 'AlwaysAllow', selector: { matchLabels: proxyPodLabels } },
  };
}
