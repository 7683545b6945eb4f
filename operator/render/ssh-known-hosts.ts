import { sshKnownHostsConfigMap } from '../../contract/names.ts';
import { generatedMetadata } from './generated-object.ts';
import type { GeneratedObject, RenderPlace } from './generated-object.ts';

/** The host keys that the SSH listeners of a namespace show or will show, as lines of a known_hosts file for every name that its Services have. */
export function renderKnownHosts(place: RenderPlace, publicKeys: readonly string[]): GeneratedObject {
  const names = [`*.${place.namespace}`, `*.${place.namespace}.svc`, `*.${place.namespace}.svc.cluster.local`].join(',');
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: generatedMetadata(place, sshKnownHostsConfigMap), data: { known_hosts: publicKeys.map((key) => `${names} ${key}\n`).join('') } };
}
