import { canonicalJson } from '../canonical-json.ts';
import { digestOf } from '../digest.ts';
import { resourceKinds } from './schemas.gen.ts';
import type { StructuralSchema } from './structural-schema.ts';
import type { SallyportResource } from './v1alpha1.gen.ts';
import { isRecord, propertyOf } from './validate-schema.ts';

/**
 * The digest of a resource's spec, `sha256:<hex>`: equal for specs that differ only in the order of keys, of set lists or of list-map entries,
 * because those orders have no meaning. Other lists keep their order.
 */
export function specDigest(resource: SallyportResource): string {
  const schema = resourceKinds[resource.kind].schema.properties?.['spec'];
  return digestOf(schema === undefined ? resource.spec : ordered(schema, resource.spec));
}

function ordered(schema: StructuralSchema, value: unknown): unknown {
  if (Array.isArray(value) && schema.items !== undefined) {
    const items = schema.items;
    const inner = value.map((item) => ordered(items, item));
    const listType = schema['x-kubernetes-list-type'];
    if (listType !== 'set' && listType !== 'map') return inner;
    return inner.map((item) => ({ item, key: canonicalJson(item) })).sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ item }) => item);
  }
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => {
    const property = propertyOf(schema, name);
    return [name, property === undefined ? inner : ordered(property, inner)];
  }));
}
