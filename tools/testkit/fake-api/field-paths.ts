import type { StructuralSchema } from '../../../contract/api/structural-schema.ts';
import { canonical, isJson, type Json } from './json.ts';

/** One step into a value: a field's name, or the key fields of a list item. */
export type Step = string | { readonly key: Json };

/** Keys of a list that is merged by them; null for a list that is one value. */
export type ListKeys = (path: readonly Step[]) => readonly string[] | null;

/** List keys as a CRD's schema says. */
export function keysOfSchema(schema: StructuralSchema): ListKeys {
  return (path) => {
    const at = path.reduce<StructuralSchema | undefined>((inner, step) => (typeof step === 'string' ? inner?.properties?.[step] ?? inner?.additionalProperties : inner?.items), schema);
    return at?.['x-kubernetes-list-type'] === 'map' ? at['x-kubernetes-list-map-keys'] ?? null : null;
  };
}

/** List keys of the built-in kinds that we write. */
export const keysOfBuiltins: ListKeys = (path) => {
  const last = path.at(-1);
  if (typeof last !== 'string') return null;
  if (last === 'ports') return path.some((step) => step === 'containers') ? ['containerPort', 'protocol'] : path.includes('ingress') || path.includes('egress') ? null : ['port', 'protocol'];
  return builtinKeys[last] ?? null;
};

const builtinKeys: Readonly<Record<string, readonly string[]>> = {
  containers: ['name'], initContainers: ['name'], volumes: ['name'], volumeMounts: ['mountPath'], env: ['name'], conditions: ['type'], ownerReferences: ['uid'], imagePullSecrets: ['name'],
  topologySpreadConstraints: ['topologyKey', 'whenUnsatisfiable'],
};

/** Every leaf of a value, as `path text -> value`; an item of a keyed list is entered by its keys. */
export function leavesOf(value: unknown, keys: ListKeys, path: readonly Step[] = []): Map<string, { readonly path: readonly Step[]; readonly value: unknown }> {
  const result = new Map<string, { readonly path: readonly Step[]; readonly value: unknown }>();
  const enter = (inner: unknown, at: readonly Step[]): void => {
    const itemKeys = Array.isArray(inner) ? keys(at) : null;
    if (isJson(inner) && Object.keys(inner).length > 0) for (const [name, each] of Object.entries(inner)) enter(each, [...at, name]);
    else if (Array.isArray(inner) && itemKeys !== null) for (const item of inner) enter(item, [...at, { key: keyOfItem(item, itemKeys) }]);
    else result.set(canonical(at), { path: at, value: inner });
  };
  enter(value, path);
  return result;
}

/** The key fields of a list item; `protocol` has the default that the API server gives it. */
export function keyOfItem(item: unknown, keys: readonly string[]): Json {
  return Object.fromEntries(keys.map((key) => [key, isJson(item) ? item[key] ?? (key === 'protocol' ? 'TCP' : null) : null]));
}

/** The value without some leaves, named by the texts of their paths; what becomes empty by that goes too. */
export function withoutLeaves(value: unknown, leaves: ReadonlySet<string>, keys: ListKeys, at: readonly Step[] = []): unknown {
  if (leaves.has(canonical(at))) return undefined;
  if (isJson(value)) {
    const kept = Object.entries(value).map(([name, inner]) => [name, withoutLeaves(inner, leaves, keys, [...at, name])] as const).filter(([, inner]) => inner !== undefined);
    return kept.length === 0 && Object.keys(value).length > 0 && at.length > 0 ? undefined : Object.fromEntries(kept);
  }
  const itemKeys = Array.isArray(value) ? keys(at) : null;
  if (!Array.isArray(value) || itemKeys === null) return value;
  const kept = value.map((item) => withoutLeaves(item, leaves, keys, [...at, { key: keyOfItem(item, itemKeys) }])).filter((item) => item !== undefined);
  return kept.length === 0 && value.length > 0 ? undefined : kept;
}

/** Server-side apply's merge: objects by field, keyed lists by key, everything else replaced. */
export function applied(live: unknown, wanted: unknown, keys: ListKeys, at: readonly Step[] = []): unknown {
  if (isJson(wanted)) {
    const base: Json = isJson(live) ? live : {};
    return { ...base, ...Object.fromEntries(Object.entries(wanted).map(([name, inner]) => [name, applied(base[name], inner, keys, [...at, name])])) };
  }
  const itemKeys = Array.isArray(wanted) ? keys(at) : null;
  if (!Array.isArray(wanted) || itemKeys === null || !Array.isArray(live)) return wanted;
  const [before, next] = [live as readonly unknown[], wanted as readonly unknown[]];
  const text = (item: unknown): string => canonical(keyOfItem(item, itemKeys));
  const merged = before.map((item) => {
    const other = next.find((each) => text(each) === text(item));
    return other === undefined ? item : applied(item, other, keys, [...at, { key: keyOfItem(item, itemKeys) }]);
  });
  return [...merged, ...next.filter((item) => !before.some((each) => text(each) === text(item)))];
}
