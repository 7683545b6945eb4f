import { proxyName } from '../../contract/names.ts';
import { generatedMetadata } from './generated-object.ts';
import type { GeneratedObject, RenderPlace } from './generated-object.ts';

/** The proxy's account; pods get their token by a projected volume of their own. */
export function renderServiceAccount(place: RenderPlace): GeneratedObject {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: generatedMetadata(place, proxyName), automountServiceAccountToken: false };
}
