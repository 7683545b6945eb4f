import { digestOf } from '../../../contract/digest.ts';
import type { KubeObject } from '../../../runtime/kube/kube-client.ts';
import type { GeneratedObject } from '../../render/generated-object.ts';

/** Annotation of every generated object: digest of what was applied, so that a field that is wanted no longer is noticed. */
export const appliedAnnotation = 'sallyport.dev/applied';

/** The object with the digest of itself. */
export function withAppliedDigest(object: GeneratedObject): GeneratedObject {
  return { ...object, metadata: { ...object.metadata, annotations: { ...object.metadata.annotations, [appliedAnnotation]: digestOf(object) } } };
}

/**
 * Whether a stored object has everything that is wanted, as it is wanted. Fields that the API server or others added do not count; nor does another spelling of a quantity.
 *
 * @param wanted from `withAppliedDigest`.
 */
export function isApplied(wanted: GeneratedObject, live: KubeObject): boolean {
  const { ownerReferences, ...metadata } = wanted.metadata;
  const owners = live.metadata.ownerReferences ?? [];
  return covers(live, { ...wanted, metadata }) && ownerReferences.every((owner) => owners.some((each) => covers(each, owner)));
}

function covers(live: unknown, wanted: unknown, how: { readonly isQuantity: boolean; readonly isExact: boolean } = { isQuantity: false, isExact: false }): boolean {
  const { isQuantity, isExact } = how;
  if (Array.isArray(wanted)) {
    // The API server may write an empty list as null, or not at all.
    const items: unknown = live ?? [];
    return Array.isArray(items) && items.length === wanted.length && wanted.every((item, index) => covers(items[index], item, how));
  }
  if (typeof wanted === 'object' && wanted !== null) {
    if (typeof live !== 'object' || live === null) return Object.keys(wanted).length === 0;
    const fields = live as Readonly<Record<string, unknown>>;
    if (isExact && Object.keys(fields).length !== Object.keys(wanted).length) return false;
    return Object.entries(wanted).every(([name, value]) => value === undefined || covers(fields[name], value, { isQuantity: isQuantity || quantityFields.has(name), isExact: selectorFields.has(name) }));
  }
  if (isQuantity && typeof wanted === 'string' && typeof live === 'string') return quantity(live) === quantity(wanted);
  return live === wanted;
}

/** One label more selects other pods. */
const selectorFields: ReadonlySet<string> = new Set(['selector', 'matchLabels']);
const quantityFields: ReadonlySet<string> = new Set(['requests', 'limits', 'sizeLimit']);
const factors: Readonly<Record<string, number>> = { n: 1e-9, u: 1e-6, m: 1e-3, '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 };

/** The number behind a quantity such as `1Gi` or `0.5`; a text that is none stands for itself. */
function quantity(text: string): number | string {
  const parts = /^([0-9.]+(?:[eE][-+]?[0-9]+)?)(|[numkMGTPE]|[KMGTPE]i)$/.exec(text);
  return parts === null ? text : Number(parts[1]) * (factors[parts[2] ?? ''] ?? Number.NaN);
}
