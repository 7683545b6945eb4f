import { caConfigMap } from '../../contract/names.ts';
import { generatedMetadata } from './generated-object.ts';
import type { GeneratedObject, RenderPlace } from './generated-object.ts';

/** The certificate by which clients verify the listeners, where the operator made it. */
export function renderCaConfigMap(place: RenderPlace, caCertificate: string): GeneratedObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: generatedMetadata(place, caConfigMap), data: { 'ca.crt': caCertificate } };
}
