import type { KubeObject } from '../../../runtime/kube/kube-client.ts';

/** A JSON object. */
export type Json = Record<string, unknown>;

/** An object as the store keeps it: complete metadata. */
export type Stored = KubeObject & Json & { readonly metadata: KubeObject['metadata'] & Json & { readonly uid: string; readonly resourceVersion: string } };

/** Whether a value is a JSON object: not null, not an array. */
export function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A deep copy whose parts are objects of this realm: what `structuredClone` makes under Jest are not, and CEL takes them for unequal. */
export function copyOf<T>(value: T): T {
  return value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T);
}

/** JSON with sorted keys, so that equal values have equal texts. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (!isJson(value)) return JSON.stringify(value) ?? 'null';
  return `{${Object.keys(value).filter((key) => value[key] !== undefined).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`;
}

/** RFC 7386. */
export function mergePatched(target: unknown, patch: unknown): unknown {
  if (!isJson(patch)) return patch;
  const result: Json = isJson(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = mergePatched(result[key], value);
  }
  return result;
}
