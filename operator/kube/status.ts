import type { KubeClient, KubeKind, KubeObject } from '../../runtime/kube/kube-client.ts';
import { mergePatch } from '../../runtime/kube/verbs.ts';

/**
 * Writes those top-level fields of `status` that differ, as one merge patch; none when all are equal. Fields that `wanted` does not name stay as they are, null removes one.
 * The patch is bound to the object's uid: a new object of the same name is left alone (409).
 *
 * @param current the object as cached.
 * @returns whether something was written.
 */
export async function writeStatus(client: KubeClient, kind: KubeKind, current: KubeObject, wanted: Readonly<Record<string, unknown>>, options: { readonly fieldManager: string; readonly signal?: AbortSignal }): Promise<boolean> {
  const before = (current.status ?? {}) as Readonly<Record<string, unknown>>;
  const changes = Object.entries(wanted).filter(([name, value]) => !isEqual(own(before, name) ?? null, value ?? null)).map(([name, value]) => [name, patchOf(own(before, name), value)] as const);
  if (changes.length === 0) return false;
  const { name, namespace, uid } = current.metadata;
  const patch = { metadata: { ...(uid === undefined ? {} : { uid }) }, status: Object.fromEntries(changes) };
  await mergePatch(client, kind, namespace ?? null, name, patch, { subresource: 'status', ...options });
  return true;
}

/** A merge patch would keep inner fields that are gone from an object, so those are named. */
function patchOf(before: unknown, wanted: unknown): unknown {
  if (!isObject(before) || !isObject(wanted)) return wanted ?? null;
  const removed = Object.keys(before).filter((name) => own(wanted, name) === undefined).map((name) => [name, null] as const);
  return Object.fromEntries([...removed, ...Object.entries(wanted).filter(([name, value]) => !isEqual(own(before, name), value)).map(([name, value]) => [name, patchOf(own(before, name), value)] as const)]);
}

/** Whether two JSON values say the same: order of keys and undefined members do not count. */
export function isEqual(left: unknown, right: unknown): boolean {
  if (Array.isArray(left) || Array.isArray(right)) return Array.isArray(left) && Array.isArray(right) && left.length === right.length && left.every((item, index) => isEqual(item, right[index]));
  if (!isObject(left) || !isObject(right)) return left === right;
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].every((name) => isEqual(own(left, name), own(right, name)));
}

/** A member may bear the name of something that every object inherits, `valueOf` for one. */
function own(object: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
