import { Refusal } from './answers.ts';
import { applied, leavesOf, type ListKeys, type Step, withoutLeaves } from './field-paths.ts';
import { canonical, isJson, type Json } from './json.ts';

/** Who owns which leaves of one object: `manager/operation/subresource` -> texts of paths. */
export type Owners = ReadonlyMap<string, ReadonlyMap<string, readonly Step[]>>;

/** One owner. */
export function ownerId(manager: string, operation: 'Apply' | 'Update', subresource: string | null): string {
  return JSON.stringify([manager, operation, subresource ?? '']);
}

/**
 * Server-side apply: merges what is wanted, takes out what this owner had and gave up, refuses what others own with another value unless forced.
 *
 * @throws Refusal 409 `Conflict` that names the owners and fields.
 */
export function applyFields(input: { readonly live: Json; readonly wanted: Json; readonly owners: Owners; readonly owner: string; readonly force: boolean; readonly keys: ListKeys }): { readonly object: Json; readonly owners: Owners } {
  const { live, owners, owner, keys } = input;
  const wanted = leavesOf(owned(input.wanted), keys);
  const liveLeaves = leavesOf(owned(live), keys);
  const conflicts = [...owners].filter(([other]) => managerOf(other) !== managerOf(owner) || other !== owner).flatMap(([other, paths]) => [...wanted]
    .filter(([text, { value }]) => paths.has(text) && canonical(liveLeaves.get(text)?.value) !== canonical(value)).map(([text]) => ({ other, text })));
  if (conflicts.length > 0 && !input.force) {
    throw new Refusal(409, 'Conflict', `Apply failed with ${conflicts.length} conflict(s): ${conflicts.map(({ other, text }) => `conflict with ${managerOf(other)}: ${text}`).join('; ')}`);
  }
  const next = new Map([...owners].map(([other, paths]) => [other, new Map([...paths].filter(([text]) => !conflicts.some((each) => each.other === other && each.text === text)))]));
  const givenUp = [...(owners.get(owner) ?? [])].filter(([text]) => !wanted.has(text) && ![...next].some(([other, paths]) => other !== owner && paths.has(text)));
  next.set(owner, new Map([...wanted].map(([text, { path }]) => [text, path])));
  const without = withoutLeaves(live, new Set(givenUp.map(([text]) => text)), keys);
  return { object: applied(without, input.wanted, keys) as Json, owners: next };
}

/** After a create, update or patch: what changed belongs to who changed it. */
export function updateFields(input: { readonly before: Json; readonly after: Json; readonly owners: Owners; readonly owner: string; readonly keys: ListKeys }): Owners {
  const before = leavesOf(owned(input.before), input.keys);
  const after = leavesOf(owned(input.after), input.keys);
  const changed = [...after].filter(([text, { value }]) => canonical(before.get(text)?.value) !== canonical(value));
  const next = new Map([...input.owners].map(([other, paths]) => [other, new Map([...paths].filter(([text]) => after.has(text) && (other === input.owner || !changed.some(([each]) => each === text))))]));
  next.set(input.owner, new Map([...(next.get(input.owner) ?? []), ...changed.map(([text, { path }]) => [text, path] as const)]));
  return next;
}

/** `metadata.managedFields`, with the paths in words instead of FieldsV1's encoding. */
export function managedFieldsOf(owners: Owners): readonly Json[] {
  return [...owners].filter(([, paths]) => paths.size > 0).map(([owner, paths]) => {
    const [manager, operation, subresource] = JSON.parse(owner) as [string, string, string];
    return { manager, operation, ...(subresource === '' ? {} : { subresource }), fieldsType: 'FieldsV1', fieldsV1: Object.fromEntries([...paths.keys()].map((text) => [text, {}])) };
  });
}

function managerOf(owner: string): string {
  return (JSON.parse(owner) as [string])[0];
}

/** Identity and bookkeeping belong to nobody. */
function owned(object: Json): Json {
  const { apiVersion: _a, kind: _k, metadata, ...rest } = object;
  if (!isJson(metadata)) return rest;
  const kept = Object.fromEntries(['labels', 'annotations', 'ownerReferences', 'finalizers'].filter((name) => metadata[name] !== undefined).map((name) => [name, metadata[name]]));
  return Object.keys(kept).length === 0 ? rest : { ...rest, metadata: kept };
}
