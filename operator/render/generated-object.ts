import { apiVersion, managedByLabel, managedByValue, nameLabel, proxyName } from '../../contract/names.ts';

/** An object that the operator applies: raw JSON with owned fields only. */
export interface GeneratedObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: GeneratedMetadata;
  readonly spec?: unknown;
  readonly [field: string]: unknown;
}

/** Its metadata. Nothing of a user's labels or annotations is ever in it: a GitOps tool would take the object for its own and prune it. */
export interface GeneratedMetadata {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences: readonly OwnerReference[];
}

/** How garbage collection finds what goes with the ProxyConfig. */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller: boolean;
  readonly blockOwnerDeletion: boolean;
}

/** Where generated objects go and to which ProxyConfig they belong. */
export interface RenderPlace {
  readonly namespace: string;
  readonly proxyConfigUid: string;
}

/** Labels that the proxy's pods bear and that everything else selects them by. */
export const proxyPodLabels: Readonly<Record<string, string>> = { [nameLabel]: proxyName };

/** Metadata of a generated object in a place: the label of all that we generate, and the owner. */
export function generatedMetadata(place: RenderPlace, name: string, labels: Readonly<Record<string, string>> = {}, annotations?: Readonly<Record<string, string>>): GeneratedMetadata {
  return {
    name, namespace: place.namespace, labels: { ...labels, [managedByLabel]: managedByValue }, ...(annotations === undefined ? {} : { annotations }),
    ownerReferences: [{ apiVersion, kind: 'ProxyConfig', name: proxyName, uid: place.proxyConfigUid, controller: true, blockOwnerDeletion: true }],
  };
}
