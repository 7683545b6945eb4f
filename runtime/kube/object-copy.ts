import type { KubeObject } from './kube-client.ts';

const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration';

/** The object without managedFields and without kubectl's copy of what was applied: half of an object's bytes, and nothing that we read. */
export function withoutBookkeeping<T extends KubeObject>(object: T): T {
  const metadata = object.metadata as T['metadata'] & { readonly managedFields?: unknown };
  const hasLastApplied = metadata.annotations !== undefined && Object.hasOwn(metadata.annotations, lastApplied);
  if (metadata.managedFields === undefined && !hasLastApplied) return object;
  const { managedFields: _, annotations, ...rest } = metadata;
  const { [lastApplied]: __, ...otherAnnotations } = annotations ?? {};
  return { ...object, metadata: { ...rest, ...(annotations === undefined ? {} : { annotations: otherAnnotations }) } };
}
